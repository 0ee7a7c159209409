"""Replays in a federated consortium, by real daemons that are killed in the middle: the same bytes as a
run that the organization never joined, or that never had the data subject."""

from pathlib import Path

import pytest

from rescind.contracts import MemberStatus
from rescind.devnet.data import generated
from tests.support.daemons import consortium, finals, wait_for
from tests.support.library import adapter_of, play
from tests.support.withdrawals import (
    accepted,
    adapter,
    ask,
    attest,
    closed,
)

ROUNDS = 3
pytestmark = pytest.mark.slow


def test_a_replay_is_the_run_that_was_never_joined(tmp_path: Path) -> None:
    subject = generated(3, seed=1).organizations["borealis"][0].subject
    with consortium(tmp_path / "run", ROUNDS, organizations=3, coupling="federated") as (
        run,
        record,
        daemons,
    ):
        kills = {"borealis": "retrain", "cirrus": "offer", "aggregator": "carry-out"}
        for name, daemon in daemons.items():
            daemon.start(*((kills[name], "after") if name in kills else ()))
        wait_for("the rounds", lambda: finals(record) == ROUNDS)
        before = adapter(record)

        whole = ask(run, "aurora", "--method", "replay")
        for name in ("borealis", "cirrus"):
            daemons[name].die()
            daemons[name].start()
        assert {"starts", "arithmetic", "adapter"} <= set(attest(run, record, whole, 1, 2))
        daemons["aggregator"].die()
        daemons["aggregator"].start()
        wait_for("the replay", lambda: closed(record, whole))
        assert accepted(run, record, whole)["attested"] == "passed"
        leaver = run.facts().organizations["aurora"]
        assert record.is_clean(record.latest_model_id(), leaver)
        assert record.member(leaver).status is MemberStatus.WITHDRAWN
        replayed = adapter(record)
        assert replayed != before

        one = ask(run, "borealis", "--method", "replay", "--subject", subject)
        attest(run, record, one, 1, 2)
        wait_for("the replay for one subject", lambda: closed(record, one))
        accepted(run, record, one)
        without_both = adapter(record)
        for daemon in daemons.values():
            daemon.stop()
    never_joined = play(run, tmp_path / "absent", ROUNDS, absent="aurora")
    assert adapter_of(never_joined) == replayed
    never_had = play(run, tmp_path / "without", ROUNDS, absent="aurora", without=[subject])
    assert adapter_of(never_had) == without_both
