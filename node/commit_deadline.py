"""The end of the commit phase, seen while a node trains for it.

A large model on a small machine may train for longer than the phase lasts. Then the node says so as
soon as it is clear, and leaves a training whose delta no one would take.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import structlog

from rescind.contracts import RoundState
from rescind.core.errors import RescindError
from rescind.node.session import Session

LOOK_SECONDS = 15.0
"""Time between two looks at the chain."""
_ADVICE = (
    "agree on fewer training.steps_per_round or a smaller batch, lower the effort, train on a faster "
    "device (model.device), or deploy with a longer commit phase"
)


class TrainingTooSlow(RescindError):
    """The commit phase of a round ended before the node's training for it did."""

    code = "training-too-slow"


class CommitDeadline:
    """Called after each step of a round's training.

    Args:
        session: The node's session.
        round_id: The round.
        steps: Steps of the whole training.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        session: Session,
        round_id: int,
        steps: int,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._round_id, self._steps, self._clock = session, round_id, steps, clock
        self._began, self._done, self._warned = clock(), 0, False
        self._next = self._began + LOOK_SECONDS

    def __call__(self) -> None:
        """Count a step, and look at the chain now and then.

        Raises:
            TrainingTooSlow: The commit phase is over.
        """
        self._done += 1
        now = self._clock()
        if now < self._next:
            return
        self._next = now + LOOK_SECONDS
        seconds = (now - self._began) / self._done
        left = self._seconds_left()
        if left is None:
            return
        if left < 0:
            raise TrainingTooSlow(
                f"the commit phase of round {self._round_id} ended after {self._done} of "
                f"{self._steps} steps, at {seconds:.3g} s a step: {_ADVICE}"
            )
        needed = seconds * (self._steps - self._done)
        if needed > left and not self._warned:
            self._warned = True
            structlog.get_logger().warning(
                "training will not end in time",
                round=self._round_id,
                steps=f"{self._done} of {self._steps}",
                seconds_needed=round(needed),
                seconds_left=round(left),
                advice=_ADVICE,
            )

    def _seconds_left(self) -> float | None:
        """Return the seconds until the commit phase ends; None if the chain does not say."""
        consortium = self._session.consortium
        try:
            current = consortium.round(self._round_id)
            if current.state is not RoundState.OPEN:
                return -1.0
            return float(current.deadline - consortium.chain.now())
        except (RescindError, OSError):
            # The training goes on, and the next look asks again.
            return None


@contextmanager
def commit_deadline(session: Session, round_id: int, steps: int) -> Iterator[None]:
    """Let a round's training inside the block watch for the end of the commit phase."""
    session.meanwhile = CommitDeadline(session, round_id, steps)
    try:
        yield
    finally:
        session.meanwhile = None
