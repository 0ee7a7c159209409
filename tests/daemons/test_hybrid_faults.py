"""A hybrid consortium under faults: killed in a withdrawal, erased, and rebuilt from its members."""

from collections.abc import Collection
from pathlib import Path

import pytest

from rescind.contracts import Consortium
from rescind.core import STATISTICS, ArtifactStore, block, encode
from rescind.core.statistics_tensors import named_statistics
from tests.support.daemons import finals, start_nodes, wait_for
from tests.support.desk import AGREED, ROWS, sums_of
from tests.support.desk_consortium import desk_consortium
from tests.support.handover import replace_aggregator
from tests.support.withdrawals import accepted, adapter, ask, closed, settled

pytestmark = pytest.mark.slow
ALL = sums_of(ROWS["aurora"] + ROWS["borealis"])
LEFT = [row for row in ROWS["aurora"] if row.subject != "Ann Lee"] + ROWS["borealis"]


def served(store: Path, adapter_id: str) -> bytes:
    """Return the bytes of the summed rows in an adapter of a store."""
    tensors = ArtifactStore(store).load(adapter_id)
    return encode(named_statistics(AGREED, block(tensors, STATISTICS))["desk"].tensors())


def statistics_of(record: Consortium, rounds: Collection[int], organization: str) -> set[str]:
    """Return the statistics that an organization contributed to rounds."""
    return {
        each.parts.artifact_ids[1]
        for number in rounds
        for each in record.contributions(number)
        if each.organization == organization
    }


@pytest.mark.parametrize("kill", [("retrain", "after"), ("offer", "after"), ("deposit", "before")])
def test_a_node_that_is_killed_in_a_person_s_withdrawal_goes_on(
    tmp_path: Path, kill: tuple[str, str]
) -> None:
    with desk_consortium(tmp_path, 1) as (run, record, daemons):
        daemons["aggregator"].start()
        daemons["borealis"].start()
        daemons["aurora"].start(*kill)
        wait_for("a round", lambda: finals(record) == 1)
        wait_for("settled", lambda: all(settled(run, name, 1) for name in ROWS))
        number = ask(run, "aurora", "--method", "replacement", "--subject", "Ann Lee")
        daemons["aurora"].die()
        daemons["aurora"].start()
        wait_for("the withdrawal", lambda: closed(record, number))
        assert served(run.store, adapter(record)) == encode(sums_of(LEFT).tensors())
        assert accepted(run, record, number)["heads"] == "passed"


def test_no_statistics_of_a_person_are_left_anywhere(tmp_path: Path) -> None:
    with desk_consortium(tmp_path, 2, keep_withdrawn=False) as (run, record, daemons):
        daemons["aggregator"].start()
        start_nodes(run, daemons)
        wait_for("two rounds", lambda: finals(record) == 2)
        wait_for("settled", lambda: all(settled(run, name, 2) for name in ROWS))
        number = ask(run, "aurora", "--method", "replacement", "--subject", "Ann Lee")
        wait_for("the withdrawal", lambda: closed(record, number))
        old = statistics_of(record, (1, 2), run.facts().organizations["aurora"])
        stores = [ArtifactStore(run.store), ArtifactStore(run.node_state("aurora") / "store")]
        for store in stores:
            wait_for("the erasure", lambda: not any(store.has(each) for each in old))  # noqa: B023
        assert served(run.store, adapter(record)) == encode(sums_of(LEFT).tensors())


def test_another_aggregator_rebuilds_blocks_and_sums_from_the_members(tmp_path: Path) -> None:
    with desk_consortium(tmp_path / "run", 2) as (run, record, daemons):
        daemons["aggregator"].start()
        start_nodes(run, daemons)
        wait_for("two rounds", lambda: finals(record) == 2)
        lost = adapter(record)
        replace_aggregator(run, record, daemons, rebuilt=2)
        assert adapter(record) == lost
        wait_for("a third round", lambda: finals(record) == 3)
        assert served(run.root / "successor" / "store", adapter(record)) == encode(ALL.tensors())
