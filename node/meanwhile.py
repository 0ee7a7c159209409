"""The answers and reveals that a round needs while a withdrawal's training takes the node's time."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager

import structlog

from rescind.core.errors import RescindError
from rescind.node.look import look
from rescind.node.session import Session
from rescind.node.state import Plan, Step, meanwhile, transfer_seconds

_SHORT = frozenset({Step.SIT_OUT, Step.COMMIT, Step.UPLOAD, Step.REVEAL, Step.REPORT_UNAVAILABLE})
"""Steps that need neither the model nor longer than the round's phase has room for."""
_SHARE = 20
"""A look takes at most one part in twenty of the training's time."""


class TrainingOvertaken(RescindError):
    """A round needs the node's model, so the training for a withdrawal goes on later."""

    code = "training-overtaken"


class Meanwhile:
    """Steps of rounds that a node takes between the batches of a training for a withdrawal.

    No round opens while a replay runs, and a node that prepares a withdrawal sits out, which is one
    transaction. So a round asks for more only when the training is not needed any more.

    Args:
        session: The node's session.
        steps: The action for each step.
        clock: Seconds, never going back.
    """

    def __init__(
        self,
        session: Session,
        steps: Mapping[Step, Callable[[Plan], object]],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._session, self._steps, self._clock = session, steps, clock
        self._next = 0.0
        self._log = structlog.get_logger().bind(organization=session.config.node.name)

    @contextmanager
    def during_training(self) -> Iterator[None]:
        """Let the training inside the block call this between its batches."""
        self._next = self._clock() + self._session.config.node.poll_seconds
        self._session.meanwhile = self._look
        try:
            yield
        finally:
            self._session.meanwhile = None

    def _look(self) -> None:
        """Look at the chain now and then, and do what the round needs.

        Raises:
            TrainingOvertaken: The round needs a training.
        """
        began = self._clock()
        if began < self._next:
            return
        try:
            self._perform()
        except TrainingOvertaken:
            raise
        except (RescindError, OSError) as error:
            # The training goes on, and the next look tries again.
            self._log.error("look during a training failed", reason=str(error))
        took = self._clock() - began
        self._next = began + max(self._session.config.node.poll_seconds, _SHARE * took)

    def _perform(self) -> None:
        view = look(self._session)
        chosen = meanwhile(view)
        if chosen.step is Step.WAIT:
            return
        if chosen.step not in _SHORT:
            raise TrainingOvertaken(
                f"round {chosen.round_id or 'in progress'} needs the step {chosen.step.value}, so "
                "the training for a withdrawal was left"
            )
        seconds = transfer_seconds(view)
        self._session.client.until = None if seconds is None else self._clock() + seconds
        self._log.info("step during a training", step=chosen.step.value, round=chosen.round_id)
        self._steps[chosen.step](chosen)
