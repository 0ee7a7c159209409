"""The aggregator's store is deleted, and the members vote another aggregator in."""

import shutil
import tomllib
from collections.abc import Mapping
from pathlib import Path

import pytest
import tomli_w

from rescind.contracts import Consortium
from rescind.core import Coupling
from rescind.devnet import RunFolder
from rescind.devnet.setup import load_account, make_identity, take_certificate
from rescind.wire import CertificateAuthority
from tests.support.daemons import (
    Daemon,
    consortium,
    finals,
    play_until,
    rpc,
    start_nodes,
    wait_for,
)
from tests.support.library import adapter_of, play
from tests.support.withdrawals import adapter

pytestmark = pytest.mark.slow
ETHER = 10**18


@pytest.mark.parametrize("coupling", ["isolated", "federated"])
def test_another_aggregator_rebuilds_the_model_from_the_members_and_goes_on(
    tmp_path: Path, coupling: Coupling
) -> None:
    with consortium(tmp_path / "run", 3, coupling=coupling) as (run, record, daemons):
        play_until(run, 2)
        daemons["aggregator"].start()
        start_nodes(run, daemons)
        wait_for("two rounds", lambda: finals(record) == 2)
        lost = adapter(record)
        daemons["aggregator"].stop()
        shutil.rmtree(run.store)
        shutil.rmtree(run.aggregator / "state")

        successor = new_aggregator(run, record)
        vote_in(run, record, successor)
        new = Daemon("aggregator", run.root / "successor" / "aggregator.toml", tmp_path / "log")
        daemons["successor"] = new
        new.start()
        wait_for("the rebuilt files", lambda: publishers(record, 2) == [successor], 150)
        assert adapter(record) == lost, "the same contributions come to the same bytes"
        wait_for("a third round", lambda: finals(record) == 3)
        last = adapter(record)
        for daemon in daemons.values():
            daemon.stop()
    assert adapter_of(play(run, tmp_path / "library", 3)) == last


def publishers(record: Consortium, model_id: int) -> list[str]:
    """Return who stated a model's files after the first aggregator."""
    return [each.publisher for each in record.publications(model_id)][1:]


def new_aggregator(run: RunFolder, record: Consortium) -> str:
    """Set an aggregator up at the address of the one before; return its account."""
    folder, authority = run.root / "successor", CertificateAuthority.load(run.authority)
    address, request = make_identity(folder, "successor")
    take_certificate(folder, authority.issue(request), authority.pem)
    rpc(record, "anvil_setBalance", address, hex(1000 * ETHER))
    content = tomllib.loads((run.aggregator / "aggregator.toml").read_text())
    content["aggregator"] |= {"rounds": 3, "store": str(folder / "store")}
    (folder / "aggregator.toml").write_text(tomli_w.dumps(content))
    return address


def vote_in(run: RunFolder, record: Consortium, aggregator: str) -> None:
    members: Mapping[str, Consortium] = {
        name: Consortium(record.chain, record.deployment, load_account(run.organization(name)))
        for name in run.facts().organizations
    }
    proposal = members["aurora"].propose_aggregator(aggregator)
    members["borealis"].vote(proposal)
    members["aurora"].execute(proposal)
