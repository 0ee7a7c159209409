"""A node's ledger over the wire: whom it serves, and whom its callers take for it."""

from pathlib import Path

import pytest

from rescind.daemon import NotTheOrganization, ServerCheck, organization_check
from rescind.ledger import Ledger, load_key
from rescind.node.config import NodeConfig
from rescind.node.disclosing import LedgerService, ask, cosigned
from rescind.wire import LedgerClient, NotAMember, NotAnAuditor, serve_ledger
from tests.aggregator.scene import open_scene
from tests.node.stage import node_config, open_node
from tests.support.chain import Anvil

NAMES = ("first", "second", "third")


def ledger_of(config: NodeConfig) -> Ledger:
    assert config.ledger.dir is not None
    return Ledger.open(config.ledger.dir, load_key(config.ledger.key_file, None))


def test_a_ledger_serves_active_members_and_its_callers_know_it(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path, names=NAMES) as scene:
        first, second, third = scene.members
        caller = node_config(scene, second)
        with open_node(scene, first) as node, ledger_of(caller) as ledger:
            session = node.session
            serve = NodeConfig.model_validate(
                {
                    **session.config.model_dump(),
                    "ledger": {
                        **session.config.ledger.model_dump(),
                        "serve": {"listen": "127.0.0.1:0"},
                    },
                }
            )
            session.config = serve
            server = serve_ledger(LedgerService(session), "127.0.0.1:0", first.tls)
            address = f"localhost:{server.port}"
            try:
                ledger.append("consent", {"event": "given"}, subject="Ada")
                assert cosigned(second.record, ledger, address, caller).size == ledger.size
                # An auditor's question reaches the organization that it is for, and no other.
                with pytest.raises(NotTheOrganization, match=third.account.address):
                    ask(
                        second.record, second.account, second.tls, address, third.account.address, 0
                    )
                with pytest.raises(NotAnAuditor):
                    ask(
                        second.record, second.account, second.tls, address, first.account.address, 0
                    )
                check = ServerCheck(
                    second.record, organization_check(first.account.address), seconds=0.0
                )
                with LedgerClient(address, second.tls, check=check) as client:
                    key = client.checkpoint()[1]
                    assert client.seen(key) == 0
                    second.record.resign()
                    with pytest.raises(NotAMember, match="is left, and only active members"):
                        client.seen(key)
                # The witness left: its node's word is worth nothing to the others.
                first.record.resign()
                with pytest.raises(NotTheOrganization, match="no active member"):
                    cosigned(second.record, ledger, address, caller)
            finally:
                server.stop(0)
