"""Start and stop the daemons of a run, each the way an operator would."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from multiprocessing.process import BaseProcess
from pathlib import Path
from types import TracebackType
from typing import Self

from rescind.core.errors import RescindError
from rescind.core.machine import available_memory, out_of_memory_kills
from rescind.devnet.forking import start
from rescind.devnet.watching import Watch

# A daemon finishes the step that it is in before it ends.
_STOP_SECONDS = 20.0
_WAIT_SECONDS = 600.0
"""Time without a sign of work from any daemon after which a wait is given up."""
_KILLED = -9
_TAIL = 4
"""Lines of a log that an error shows."""


class DaemonDied(RescindError):
    """A daemon of the run ended by itself."""

    code = "daemon-died"


@dataclass
class Daemons:
    """Running daemons, stopped at the end of the with block.

    Attributes:
        watch: Looks at what they do.
        threads: Threads of each daemon's arithmetic.
        needs: The memory that the run needs, in words, for the error when it was not there.
        started: Each daemon's process and log, by name.
    """

    watch: Watch = field(default_factory=Watch)
    threads: int = 1
    needs: str = ""
    started: dict[str, tuple[BaseProcess, Path]] = field(default_factory=dict)
    _kills: int = field(default_factory=out_of_memory_kills)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str], log: Path, state: Path) -> None:
        """Start `rescind ARGUMENTS` in the background, with its output in `log`.

        Args:
            name: The daemon's name.
            arguments: Arguments of `rescind`.
            log: The file for its output.
            state: Its state folder.
        """
        self.watch.add(name, state, log)
        self.started[name] = (start(self.threads, arguments, log), log)

    def check(self) -> None:
        """Check that every daemon runs, and show what they do.

        Raises:
            DaemonDied: One has ended. The message has the end of its log.
            TrainingFailed: A node could not train.
        """
        for name, (process, log) in self.started.items():
            if process.exitcode is not None:
                text = log.read_text(encoding="utf-8", errors="replace")
                tail = "\n".join(text.splitlines()[-_TAIL:])
                how = self._how(name, process.exitcode)
                raise DaemonDied(f"{how} The end of {log}:\n{tail}")
        self.watch.look()

    def _how(self, name: str, status: int) -> str:
        """Say how a daemon ended, and where memory ran out, what to do."""
        if status != _KILLED:
            return f"{name} ended with status {status}."
        counted = out_of_memory_kills() > self._kills
        probably = "because memory ran out" if counted else "probably because memory ran out"
        left = available_memory()
        now = f"{left / 2**30:.1f} GiB are available now. " if left is not None else ""
        return (
            f"{name} was killed by the system (signal 9), {probably}. {self.needs}{now}Stop other "
            "programs, take fewer --orgs, a smaller --model or --dtype bfloat16, or give the "
            "container more memory."
        )

    def wait_for(self, done: Callable[[], bool], look_seconds: float = 0.2) -> None:
        """Wait for a condition that the daemons bring about.

        Args:
            done: Returns whether the condition holds.
            look_seconds: Time between two looks.

        Raises:
            DaemonDied: A daemon has ended.
            TrainingFailed: A node could not train.
            RescindError: No daemon did anything for ten minutes.
        """
        began = time.monotonic()
        while not done():
            self.check()
            if time.monotonic() - max(began, self.watch.moved) > _WAIT_SECONDS:
                raise RescindError(
                    f"nothing happened for {_WAIT_SECONDS:.0f} s: see the logs in the run folder"
                )
            time.sleep(look_seconds)

    def stop(self) -> None:
        """Stop all daemons, and the aggregator last: nodes wait for it when they end."""
        processes = [process for process, _ in self.started.values()]
        _stop(processes[1:])
        _stop(processes[:1])
        self.started.clear()
        self.watch.clear()


def _stop(processes: Sequence[BaseProcess]) -> None:
    for process in processes:
        process.terminate()
    for process in processes:
        process.join(_STOP_SECONDS)
        if process.exitcode is None:
            process.kill()
            process.join()
