"""SIGKILL at every step of a round, of a node and of the aggregator, then start again.

One consortium plays one round for each step and moment; the library plays as many rounds
undisturbed. Both must end with the same adapter, byte for byte.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.contracts import Consortium
from rescind.devnet import RunFolder
from rescind.ledger import Ledger, load_key
from tests.support.daemons import consortium, finals, wait_for
from tests.support.library import adapter_of, play
from tests.support.withdrawals import adapter

NODE_STEPS = ("decide", "train", "commit", "upload", "reveal", "adopt", "settle")
AGGREGATOR_STEPS = (
    "post-bond",
    "open",
    "close-commits",
    "close-reveals",
    "judge",
    "send-piece",
    "build",
    "publish",
)
KILLS = [(step, moment) for step in NODE_STEPS for moment in ("before", "after")]
AGGREGATOR_KILLS = [(step, moment) for step in AGGREGATOR_STEPS for moment in ("before", "after")]
ROUNDS = len(KILLS)
VICTIM = "aurora"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Story:
    """All rounds were played; `unused` are the kills of the aggregator that never came about."""

    run: RunFolder
    record: Consortium
    unused: list[tuple[str, str]]

    @property
    def victim(self) -> str:
        return self.run.facts().organizations[VICTIM]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    with consortium(tmp_path_factory.mktemp("killed"), ROUNDS) as (run, record, daemons):
        for name, daemon in daemons.items():
            if name != "aggregator":
                daemon.start(*(KILLS[0] if name == VICTIM else ()))
        pending = list(AGGREGATOR_KILLS)
        victim, boss = daemons[VICTIM], daemons["aggregator"]
        boss.start(*pending.pop(0))

        def restarting(done: Callable[[], bool]) -> bool:
            """Start the aggregator again if it was killed; return whether `done`."""
            if not boss.runs:
                boss.die()
                boss.start(*(pending.pop(0) if pending else ()))
            return done()

        for kill in [*KILLS[1:], ()]:
            wait_for("a kill", lambda: restarting(lambda: not victim.runs))
            victim.die()
            victim.start(*kill)
        wait_for("the last round", lambda: restarting(lambda: finals(record) == ROUNDS))
        story = Story(run, record, pending)
        wait_for("the last anchor", lambda: record.anchor(story.victim).size >= 4 * ROUNDS)
        for daemon in daemons.values():
            daemon.stop()
        yield story


def test_the_aggregator_was_killed_at_every_step(story: Story) -> None:
    assert not story.unused


def test_no_round_is_lost(story: Story) -> None:
    assert story.record.current_round_id() == ROUNDS


def test_every_member_contributes_once_to_every_round(story: Story) -> None:
    for number in range(1, ROUNDS + 1):
        members = [c.organization for c in story.record.contributions(number)]
        assert len(members) == len(set(members)) == 2, f"round {number}: {members}"


def test_the_ledger_records_every_round_once_and_matches_its_anchor(story: Story) -> None:
    folder = story.run.organization(VICTIM)
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        kinds = [entry.type for entry in ledger.records()]
        anchor = story.record.anchor(story.victim)
        assert ledger.verify([(anchor.size, anchor.root)]).sound
    for kind in ("decision", "training-run", "reward"):
        assert kinds.count(kind) == ROUNDS


def test_the_adapter_is_that_of_an_undisturbed_run(story: Story, tmp_path: Path) -> None:
    assert adapter_of(play(story.run, tmp_path, ROUNDS)) == adapter(story.record)
