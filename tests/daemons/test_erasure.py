"""After a removal among real daemons the old model and the contribution are gone everywhere."""

import shutil
from pathlib import Path

import pytest

from rescind.audit import Inputs, verify
from rescind.cli.toml_files import load_config
from rescind.contracts import Consortium
from rescind.core import ArtifactStore
from rescind.devnet import RunFolder
from rescind.ledger import Ledger, load_key
from rescind.node import NodeConfig
from rescind.wire import AggregatorClient, NotPublished
from tests.support.daemons import consortium, finals, start_nodes, wait_for
from tests.support.withdrawals import adapter, ask, certified, closed, settled

pytestmark = pytest.mark.slow


def erasures(run: RunFolder, name: str) -> list[dict[str, object]]:
    folder = run.organization(name)
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        return [each.payload for each in ledger.records() if each.type == "erasure"]


def member(run: RunFolder, name: str) -> AggregatorClient:
    config = load_config(run.organization(name) / "node.toml", NodeConfig)
    return AggregatorClient(config.aggregator.address, config.identity.tls)


def left_of(record: Consortium, leaver: str) -> set[str]:
    """Return the files that must be gone: those of model 1, and what the leaver contributed."""
    stated = record.publications(1)[-1]
    own = [each for each in record.contributions(1) if each.organization == leaver]
    return {stated.adapter_id, stated.opening_id, *own[0].parts.artifact_ids}


def test_a_removal_leaves_no_copy_at_any_daemon(tmp_path: Path) -> None:
    with consortium(tmp_path / "run", 1, organizations=3, keep_withdrawn=False) as opened:
        run, record, daemons = opened
        names, aggregator = list(run.facts().organizations), daemons["aggregator"]
        start_nodes(run, daemons)
        aggregator.start("erase", "before")
        wait_for("a round", lambda: finals(record) == 1)
        adapter(record)
        wait_for("settlements", lambda: all(settled(run, name, 1) for name in names))
        absent, _, leaver = names
        daemons[absent].stop()
        withdrawal = ask(run, leaver, "--method", "removal")
        wait_for("the removal", lambda: closed(record, withdrawal))
        aggregator.die()
        aggregator.start()
        gone = left_of(record, run.facts().organizations[leaver])
        store = ArtifactStore(run.store)
        wait_for("the erasure", lambda: not any(store.has(each) for each in gone))
        daemons[absent].start()
        for name in names:
            wait_for(f"the record of {name}", lambda name=name: erasures(run, name))
            own = ArtifactStore(run.node_state(name) / "store")
            assert not [each for each in gone if own.has(each)]
            recorded = erasures(run, name)
            assert {each["withdrawal"] for each in recorded} == {withdrawal}
            erased = {file for each in recorded for file in each["files"]}
            assert erased <= gone
        stated = record.publications(1)[-1]
        with member(run, absent) as client:
            with pytest.raises(NotPublished):
                client.model(1)
            with pytest.raises(NotPublished):
                client.download(stated.adapter_id, 2**24)
        checked = certified(run, record, withdrawal)
        assert checked.exit_code == 0, checked
        assert checked.verdict == (
            "accepted as far as it was checked; not checked: "
            f"the withdrawn contributions (1 {leaver}), "
            "the sum of model 1, the model before, which was taken from the chain"
        )
        alone = tmp_path / "certificate.json"
        shutil.copy(run.root / f"certificate-{withdrawal}.json", alone)
        stranger = verify(alone, rpc_url=record.chain.rpc_url, inputs=Inputs())
        assert stranger.exit_code == 0, stranger
