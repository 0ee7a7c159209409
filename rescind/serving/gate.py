"""The gate in front of all answers: open while the chain's last word allows the model."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from rescind.serving.errors import not_in_use
from rescind.serving.names import ServedModel


@dataclass(frozen=True)
class Admission:
    """The permission to answer one request.

    Attributes:
        model: The model that answers.
        block: The block of the chain at which it was in use.
    """

    model: ServedModel
    block: int


@dataclass(frozen=True)
class GateState:
    """The state of the served model.

    Attributes:
        model: The model; None if none is served.
        reason: Why none is served.
        block: The last block that was looked at.
        checked_at: When that was, by the gate's clock.
        trouble: Why the last look failed; empty if it did not.
        opened_at: When the model was opened first, Unix seconds.
    """

    model: ServedModel | None
    reason: str
    block: int
    checked_at: float
    trouble: str = ""
    opened_at: int = 0


class Gate:
    """The gate. Threads may use it together.

    Args:
        limit_seconds: For how long answers go on while the chain cannot be asked.
        clock: Seconds that only go up.
    """

    def __init__(self, limit_seconds: float, clock: Callable[[], float] = time.monotonic) -> None:
        self._limit, self._clock = limit_seconds, clock
        self._lock = threading.Lock()
        self._state = GateState(None, "The chain has not been asked yet.", 0, clock())

    @property
    def state(self) -> GateState:
        """The present state."""
        return self._state

    def now(self) -> float:
        """Return the gate's time."""
        return self._clock()

    def open(self, model: ServedModel, block: int, looked_at: float) -> None:
        """Let a model answer.

        Args:
            model: The model.
            block: The block at which it is in use.
            looked_at: When the chain was asked: to load a model takes time.
        """
        with self._lock:
            same = self._state.model == model
            opened_at = self._state.opened_at if same else int(time.time())
            self._state = GateState(model, "", block, looked_at, opened_at=opened_at)

    def close(self, reason: str, block: int, looked_at: float) -> None:
        """Let no model answer.

        Args:
            reason: Why, in a sentence for those who ask.
            block: The block at which that is so.
            looked_at: When the chain was asked.
        """
        with self._lock:
            self._state = GateState(None, reason, block, looked_at)

    def miss(self, trouble: str) -> None:
        """Note that the chain could not be asked. The last look counts until the limit."""
        with self._lock:
            self._state = replace(self._state, trouble=trouble)

    @property
    def unchecked_seconds(self) -> float:
        """How long ago the chain was asked with success."""
        return self._clock() - self._state.checked_at

    @property
    def refusal(self) -> str:
        """Why no consortium's model is served now; empty if one is."""
        return self._refusal(self._state)

    def _refusal(self, state: GateState) -> str:
        if state.model is None:
            return state.reason
        seconds = self._clock() - state.checked_at
        if seconds <= self._limit:
            return ""
        why = f" ({state.trouble})" if state.trouble else ""
        return (
            f"It is not known whether model {state.model.key.number} is still in use: the chain was "
            f"last asked {seconds:.0f} s ago, and the limit is {self._limit:.0f} s{why}. Answers go "
            "on when it can be asked again."
        )

    def admit(self) -> Admission:
        """Return the permission to answer a request.

        Raises:
            ApiError: No model may be served now.
        """
        state = self._state
        refusal = self._refusal(state)
        if refusal or state.model is None:
            raise not_in_use(refusal)
        return Admission(state.model, state.block)
