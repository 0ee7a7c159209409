"""SIGKILL at every step of a round, of a node and of the aggregator, then start again.

One consortium plays one round for each step and moment; the library plays as many rounds
undisturbed. Both must end with the same adapter, byte for byte.
"""

from pathlib import Path

import pytest

from rescind.ledger import Ledger, load_key
from tests.support.daemons import (
    Daemon,
    consortium,
    finals,
    wait_for,
)
from tests.support.library import adapter_of, play
from tests.support.withdrawals import adapter

NODE_STEPS = ("decide", "train", "commit", "upload", "reveal", "adopt", "settle")
AGGREGATOR_STEPS = ("post-bond", "open", "close-commits", "close-reveals", "aggregate", "prove")
KILLS = [(step, moment) for step in NODE_STEPS for moment in ("before", "after")]
AGGREGATOR_KILLS = [(step, moment) for step in AGGREGATOR_STEPS for moment in ("before", "after")]
VICTIM = "aurora"


@pytest.mark.slow
def test_a_daemon_killed_at_any_step_finishes_the_round(tmp_path: Path) -> None:
    rounds = len(KILLS)
    with consortium(tmp_path / "killed", rounds) as (run, record, daemons):
        for name in record_names(daemons):
            daemons[name].start(*(KILLS[0] if name == VICTIM else ()))
        pending = list(AGGREGATOR_KILLS)
        victim, boss = daemons[VICTIM], daemons["aggregator"]
        boss.start(*pending.pop(0))

        def over_with(done) -> bool:
            """Start the aggregator again whenever it was killed, until `done`."""
            if not boss.runs:
                boss.die()
                boss.start(*(pending.pop(0) if pending else ()))
            return done()

        for kill in [*KILLS[1:], ()]:
            wait_for("a kill", lambda: over_with(lambda: not victim.runs))
            victim.die()
            victim.start(*kill)
        wait_for("the last round", lambda: over_with(lambda: finals(record) == rounds))
        assert not pending, "the aggregator was not killed at every step"
        assert record.current_round_id() == rounds, "a round was lost"
        for number in range(1, rounds + 1):
            members = [c.organization for c in record.contributions(number)]
            assert len(members) == len(set(members)) == 2, f"round {number}: {members}"
        address = run.facts().organizations[VICTIM]
        wait_for("the last anchor", lambda: record.anchor(address).size >= 4 * rounds)
        for daemon in daemons.values():
            daemon.stop()
        folder = run.organization(VICTIM)
        with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
            kinds = [entry.type for entry in ledger.records()]
            assert (
                kinds.count("decision")
                == kinds.count("training-run")
                == kinds.count("reward")
                == rounds
            )
            anchor = record.anchor(address)
            assert ledger.verify([(anchor.size, anchor.root)]).sound
        disturbed = adapter(record)
    assert adapter_of(play(run, tmp_path / "calm", rounds)) == disturbed


def record_names(daemons: dict[str, Daemon]) -> list[str]:
    return [name for name in daemons if name != "aggregator"]
