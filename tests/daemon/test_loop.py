"""The loop of both daemons: it performs what is planned, and survives what fails."""

import threading
from dataclasses import dataclass
from enum import Enum

import pytest
from structlog.testing import capture_logs

from rescind.contracts import ContractRefused
from rescind.core.errors import ConfigError, StoreError
from rescind.daemon import DaemonLoop


class Step(Enum):
    WAIT = "wait"
    WORK = "work"


@dataclass(frozen=True)
class Plan:
    step: Step
    round_id: int = 0


class Daemon(DaemonLoop[Plan]):
    """A daemon that performs one outcome for each step: an error to raise, or nothing."""

    kind = "test"
    wait = Step.WAIT
    fatal = (ConfigError,)

    def __init__(self, *outcomes: Exception | None) -> None:
        super().__init__("org", "0xaa", poll_seconds=0.001)
        self.outcomes, self.performed, self.idle = list(outcomes), 0, 0
        self.stop = threading.Event()
        self.steps = {Step.WORK: self._work}

    def next_plan(self) -> Plan:
        return Plan(Step.WORK if self.outcomes else Step.WAIT, round_id=self.performed)

    def when_idle(self) -> None:
        self.idle += 1
        self.stop.set()

    def _work(self, _: Plan) -> None:
        self.performed += 1
        outcome = self.outcomes.pop(0)
        if outcome is not None:
            raise outcome

    def finish(self) -> list[str]:
        """Run until there is nothing to do, and return the errors that were logged."""
        with capture_logs() as logs:
            self.run(self.stop)
        return [entry["reason"] for entry in logs if entry["log_level"] == "error"]


def test_planned_steps_are_performed_until_there_is_nothing_to_do() -> None:
    daemon = Daemon(None, None)
    assert daemon.finish() == []
    assert (daemon.performed, daemon.idle) == (2, 1)


@pytest.mark.parametrize(
    "error",
    [ContractRefused("too early", "DeadlineAhead"), StoreError("disk"), OSError("disk")],
    ids=["transient", "another", "system"],
)
def test_a_failed_step_is_planned_again(error: Exception) -> None:
    daemon = Daemon(error, None)
    assert daemon.finish() == [str(error)]
    assert daemon.performed == 2


def test_an_error_that_repeats_is_logged_once() -> None:
    daemon = Daemon(*(StoreError("disk") for _ in range(3)), StoreError("other"), None)
    assert daemon.finish() == ["disk", "other"]


def test_an_error_is_logged_again_after_it_was_gone() -> None:
    daemon = Daemon(StoreError("disk"), None, StoreError("disk"))
    assert daemon.finish() == ["disk", "disk"]


def test_a_fatal_error_ends_the_daemon() -> None:
    daemon = Daemon(ConfigError("cannot be carried out"), None)
    with pytest.raises(ConfigError, match="cannot be carried out"):
        daemon.run(daemon.stop)
    assert daemon.performed == 1


def test_a_programming_error_is_not_hidden() -> None:
    daemon = Daemon(ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        daemon.run(daemon.stop)


def test_a_daemon_that_was_stopped_takes_no_step() -> None:
    daemon = Daemon(None)
    daemon.stop.set()
    daemon.run(daemon.stop)
    assert daemon.performed == 0


def test_each_step_is_logged_with_its_numbers() -> None:
    with capture_logs() as logs:
        Daemon(None).tick()
    assert [entry["event"] for entry in logs] == ["step begins", "step done"]
    assert {entry["step"] for entry in logs} == {"work"}
