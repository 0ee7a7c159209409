"""Start and stop the daemons of a run, each the way an operator would."""

from __future__ import annotations

import os
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

from rescind.core import append_private
from rescind.core.errors import RescindError

# A daemon finishes the step that it is in before it ends.
_STOP_SECONDS = 20.0
_WAIT_SECONDS = 600.0


class DaemonDied(RescindError):
    """A daemon of the run ended by itself."""

    code = "daemon-died"


@dataclass
class Daemons:
    """Running daemons, stopped at the end of the with block."""

    started: dict[str, tuple[subprocess.Popen[bytes], Path]] = field(default_factory=dict)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def start(self, name: str, arguments: Sequence[str], log: Path) -> None:
        """Start `rescind ARGUMENTS` in the background, with its output in `log`."""
        command = [sys.executable, "-m", "rescind", *arguments]
        environment = {**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"}
        with append_private(log) as file:
            process = subprocess.Popen(
                command,
                stdout=file,
                stderr=file,
                stdin=subprocess.DEVNULL,
                env=environment,
                start_new_session=True,
            )
        self.started[name] = (process, log)

    def check(self) -> None:
        """Check that every daemon runs.

        Raises:
            DaemonDied: One has ended. The message has the end of its log.
        """
        for name, (process, log) in self.started.items():
            if process.poll() is not None:
                tail = "\n".join(log.read_text(encoding="utf-8").splitlines()[-4:])
                raise DaemonDied(
                    f"{name} ended with status {process.returncode}. The end of {log}:\n{tail}"
                )

    def wait_for(self, done: Callable[[], bool], look_seconds: float = 0.2) -> None:
        """Wait for a condition that the daemons bring about.

        Args:
            done: Returns whether the condition holds.
            look_seconds: Time between two looks.

        Raises:
            DaemonDied: A daemon has ended.
            RescindError: Ten minutes passed.
        """
        deadline = time.monotonic() + _WAIT_SECONDS
        while not done():
            self.check()
            if time.monotonic() > deadline:
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


def _stop(processes: Sequence[subprocess.Popen[bytes]]) -> None:
    for process in processes:
        if process.poll() is None:
            process.terminate()
    for process in processes:
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
