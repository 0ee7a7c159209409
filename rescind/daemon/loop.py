"""The loop of both daemons: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Mapping
from dataclasses import fields
from enum import Enum
from typing import Any, ClassVar, Generic, Protocol, TypeVar

import structlog

from rescind.contracts import ChainUnavailable, ContractRefused, SendingPaused
from rescind.core.errors import RescindError

_BACK_OFF_POLLS = 5
"""Polls to wait after a step failed for a reason that does not pass by itself in one poll."""


class Planned(Protocol):
    """A planner's choice: a dataclass of a step and the numbers that the step is about."""

    __dataclass_fields__: ClassVar[dict[str, Any]]

    @property
    def step(self) -> Enum: ...


PlanT = TypeVar("PlanT", bound=Planned)


class DaemonLoop(ABC, Generic[PlanT]):
    """A daemon that performs the planned step until it is asked to stop.

    A subclass decides the next step in `next_plan`, from durable facts only, and sets `steps`. Each
    step must be safe to repeat: after a failure or a crash the loop plans again from the start.

    Attributes:
        kind: "node" or "aggregator", for the log.
        wait: The step at which nothing is done.
        transient: Errors after which the loop tries again at the next poll.
        fatal: Errors that end the daemon.
        steps: The action for each step other than `wait`.
    """

    kind: ClassVar[str]
    wait: ClassVar[Enum]
    transient: ClassVar[tuple[type[Exception], ...]] = (ChainUnavailable, ContractRefused)
    fatal: ClassVar[tuple[type[Exception], ...]] = ()
    steps: Mapping[Any, Callable[[PlanT], object]]

    def __init__(self, name: str, address: str, poll_seconds: float) -> None:
        self._address, self._poll = address, poll_seconds
        self._log = structlog.get_logger().bind(organization=name)
        self._last_complaint = ""

    @abstractmethod
    def next_plan(self) -> PlanT:
        """Look at the chain and the daemon's own records, and return the next step."""

    def before_look(self) -> None:
        """Do what must precede a look at the chain."""

    def when_idle(self) -> None:
        """Do the daemon's periodic work. Called after each look that found nothing to do."""

    def run(self, stop: threading.Event) -> None:
        """Perform steps until `stop` is set. Raises only errors listed in `fatal`."""
        self._log.info(f"{self.kind} started", address=self._address)
        while not stop.is_set():
            try:
                idle = self.tick()
                self._last_complaint = ""
            except self.fatal:
                raise
            except (RescindError, OSError) as error:
                if stop.is_set() and isinstance(error, SendingPaused):
                    break
                self.complain(error)
                quick = isinstance(error, self.transient)
                stop.wait(self._poll if quick else _BACK_OFF_POLLS * self._poll)
                continue
            if idle:
                self.when_idle()
                stop.wait(self._poll)
        self._log.info(f"{self.kind} stopped")

    def tick(self) -> bool:
        """Perform one step. Return True when there was nothing to do."""
        self.before_look()
        chosen = self.next_plan()
        if chosen.step is self.wait:
            return True
        numbers = {
            field.name.removesuffix("_id"): _logged(getattr(chosen, field.name))
            for field in fields(chosen)
            if field.name != "step"
        }
        log = self._log.bind(step=chosen.step.value, **numbers)
        log.info("step begins")
        self.steps[chosen.step](chosen)
        log.info("step done")
        return False

    def complain(self, error: RescindError | OSError) -> None:
        """Log an error, unless it is the one that was logged last."""
        code = error.code if isinstance(error, RescindError) else "system"
        text = f"{code}: {error}"
        if text != self._last_complaint:
            self._log.error("step failed, will try again", code=code, reason=str(error))
        self._last_complaint = text


def _logged(value: Any) -> Any:
    """Return a field of a plan for the log; None stands for nothing."""
    return value.value if isinstance(value, Enum) else value or None
