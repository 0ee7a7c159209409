"""The programs of a consortium as children of this process: started, watched, always ended."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

from devnet.errors import DeadlinePassed, DevnetError, ProcessDied

_CHILD = Path(__file__).with_name("child.py")
_POLL_SECONDS = 0.1
_END_SECONDS = 20.0
_LAST_LINES = 8

T = TypeVar("T")


@dataclass(frozen=True)
class Program:
    """`log` gets both outputs, appended."""

    name: str
    command: tuple[str, ...]
    log: Path
    environment: Mapping[str, str]


@dataclass(frozen=True)
class Running:
    program: Program
    process: subprocess.Popen[bytes]

    @property
    def name(self) -> str:
        return self.program.name

    def end(self, *, wait_seconds: float = _END_SECONDS) -> None:
        """SIGTERM, then SIGKILL if it does not go. Does nothing when it has gone already."""
        if self.process.poll() is None:
            self.process.terminate()
        try:
            self.process.wait(wait_seconds)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()


class Supervisor:
    """A context manager: leaving it, by whatever way, ends every child, last started first."""

    def __init__(self) -> None:
        self._running: list[Running] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.end_all()

    def start(self, program: Program) -> Running:
        running = spawn(program)
        self._running.append(running)
        return running

    def end(self, *names: str) -> None:
        """End the children of these names, all at once."""
        chosen = [running for running in self._running if running.name in names]
        self._end(chosen)

    def end_all(self) -> None:
        self._end(list(reversed(self._running)))

    def _end(self, chosen: Sequence[Running]) -> None:
        for running in chosen:
            if running.process.poll() is None:
                running.process.terminate()
        for running in chosen:
            running.end()
        self._running = [running for running in self._running if running not in chosen]

    def check(self) -> None:
        """Raises ProcessDied, with the last lines of its log, if a child ended by itself."""
        for running in self._running:
            code = running.process.poll()
            if code is not None:
                raise ProcessDied(
                    f"{running.name} ended with exit code {code}; its log {running.program.log} "
                    f"ends with: {last_lines(running.program.log)}"
                )

    def wait(
        self,
        what: str,
        condition: Callable[[], T | None],
        *,
        seconds: float,
        tick: Callable[[], None] | None = None,
    ) -> T:
        """The first value of `condition` that is neither None nor False.

        Raises ProcessDied when a child ends meanwhile, and DeadlinePassed after `seconds`.
        """
        deadline = time.monotonic() + seconds
        while True:
            self.check()
            value = condition()
            if value is not None and value is not False:
                return value
            if tick is not None:
                tick()
            if time.monotonic() > deadline:
                logs = ", ".join(str(running.program.log) for running in self._running)
                raise DeadlinePassed(
                    f"waited {seconds:.0f} s for {what}; what happened is in {logs}"
                )
            time.sleep(_POLL_SECONDS)


def spawn(program: Program, *, detached: bool = False) -> Running:
    """Start `program` in a session of its own, so that Ctrl-C reaches us and not it.

    Unless `detached`, it is told to end when this process does.
    """
    program.log.parent.mkdir(parents=True, exist_ok=True)
    prefix = () if detached else (sys.executable, "-I", "-S", str(_CHILD))
    parent = {} if detached else {"RESCIND_PARENT": str(os.getpid())}
    environment = {**os.environ, **program.environment, **parent}
    try:
        with program.log.open("ab") as log:
            process = subprocess.Popen(
                (*prefix, *program.command),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                env=environment,
                start_new_session=True,
            )
    except OSError as error:
        raise DevnetError(f"{program.name} cannot be started: {error}") from error
    return Running(program, process)


def last_lines(log: Path, count: int = _LAST_LINES) -> str:
    try:
        lines = log.read_text(encoding="utf-8", errors="replace").splitlines()
    except OSError as error:
        return f"(log cannot be read: {error.strerror})"
    return " | ".join(line.strip() for line in lines[-count:] if line.strip()) or "(empty log)"


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def end_on_sigterm() -> None:
    """Let SIGTERM and SIGHUP unwind this process like Ctrl-C, so that children are ended."""

    def interrupt(_number: int, _frame: object) -> None:
        raise KeyboardInterrupt

    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, interrupt)
