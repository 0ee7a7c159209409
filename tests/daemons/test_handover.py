"""The aggregator's store is deleted, and the members vote another aggregator in."""

from pathlib import Path

import pytest

from rescind.core import Coupling
from tests.support.daemons import consortium, finals, play_until, start_nodes, wait_for
from tests.support.handover import replace_aggregator
from tests.support.library import adapter_of, play
from tests.support.withdrawals import adapter

pytestmark = pytest.mark.slow


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
        replace_aggregator(run, record, daemons, rebuilt=2)
        assert adapter(record) == lost, "the same contributions come to the same bytes"
        wait_for("a third round", lambda: finals(record) == 3)
        last = adapter(record)
        for daemon in daemons.values():
            daemon.stop()
    assert adapter_of(play(run, tmp_path / "library", 3)) == last
