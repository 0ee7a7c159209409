"""The aggregator is switched off when an organization asks to be removed."""

from pathlib import Path

import pytest

from rescind.contracts import MemberStatus
from rescind.node.facts import AdoptedModel, open_journal
from tests.support.daemons import (
    consortium,
    finals,
    pass_time,
    play_until,
    start_nodes,
    wait_for,
)
from tests.support.withdrawals import accepted, ask, closed

pytestmark = pytest.mark.slow
ETHER = 10**18


def test_the_nodes_fold_and_close_a_removal_and_the_aggregator_serves_it_later(
    tmp_path: Path,
) -> None:
    with consortium(tmp_path, 2, organizations=3) as (run, record, daemons):
        aggregator = daemons["aggregator"]
        play_until(run, 1)
        aggregator.start()
        start_nodes(run, daemons)
        wait_for("a round", lambda: finals(record) == 1)
        aggregator.stop()

        leaver, before = run.facts().organizations["aurora"], record.latest_model_id()
        number = ask(run, "aurora")
        assert record.excluded_by(leaver), "the organization is out with the request"
        assert record.is_stale(before)
        pass_time(record, 120)
        wait_for("the fold by a node", lambda: record.latest_model_id() > before)
        pass_time(record, 120)
        wait_for("the end of the withdrawal", lambda: closed(record, number))
        model = record.latest_model_id()
        assert record.is_clean(model, leaver)
        assert record.member(leaver).status is MemberStatus.WITHDRAWN
        assert record.publications(model) == []
        assert accepted(run, record, number)["commitments"] == "passed"

        play_until(run, 2)
        aggregator.start()
        journal = open_journal(run.node_state("borealis"))
        wait_for("the files", lambda: AdoptedModel.load(journal, model))
        wait_for("a round after it", lambda: finals(record) == 2)
        assert record.aggregator_bond() == 10 * ETHER
