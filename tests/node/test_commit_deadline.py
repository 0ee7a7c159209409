"""A node whose training is slower than the commit phase says so, and leaves it."""

from types import SimpleNamespace
from typing import Any

import pytest
import structlog

from rescind.contracts import ChainUnavailable, RoundState
from rescind.node.commit_deadline import LOOK_SECONDS, CommitDeadline, TrainingTooSlow

DEADLINE = 1_000


class Scene:
    """A round whose commit phase ends at DEADLINE, and a clock that the test moves."""

    def __init__(self, steps: int) -> None:
        self.now, self.state = 0.0, RoundState.OPEN
        self.round: Any = lambda _: SimpleNamespace(state=self.state, deadline=DEADLINE)
        consortium = SimpleNamespace(
            round=lambda number: self.round(number),
            chain=SimpleNamespace(now=lambda: int(self.now)),
        )
        session: Any = SimpleNamespace(consortium=consortium)
        self.deadline = CommitDeadline(session, 3, steps, clock=lambda: self.now)

    def train(self, steps: int, seconds: float) -> None:
        for _ in range(steps):
            self.now += seconds
            self.deadline()


def test_a_training_that_ends_in_time_says_nothing() -> None:
    scene = Scene(80)
    with structlog.testing.capture_logs() as logs:
        scene.train(80, 10.0)
    assert logs == []


def test_a_training_that_will_be_late_says_so_once_with_what_to_do() -> None:
    scene = Scene(80)
    with structlog.testing.capture_logs() as logs:
        scene.train(20, 30.0)
    (warning,) = logs
    assert warning["event"] == "training will not end in time"
    assert warning["seconds_needed"] == 30 * 79
    assert "steps_per_round" in warning["advice"]


def test_a_training_is_left_when_the_phase_ended() -> None:
    scene = Scene(80)
    with pytest.raises(TrainingTooSlow, match="ended after 34 of 80 steps, at 30 s a step"):
        scene.train(80, 30.0)


def test_a_training_is_left_when_the_round_was_abandoned() -> None:
    scene = Scene(80)
    scene.state = RoundState.ABANDONED
    with pytest.raises(TrainingTooSlow):
        scene.train(80, 1.0)
    assert scene.now <= LOOK_SECONDS + 1


def test_a_chain_that_does_not_answer_ends_no_training() -> None:
    def away(_: int) -> None:
        raise ChainUnavailable("the provider is away")

    scene = Scene(80)
    scene.round = away
    scene.train(80, 30.0)
