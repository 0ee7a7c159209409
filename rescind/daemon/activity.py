"""The long work that a daemon is at: a small file beside its state, which may be read often.

A training or an evaluation of a real model takes minutes. The file says how far it is, and the log
gets a line now and then. Nothing depends on the file: a daemon that cannot write it works on.
"""

from __future__ import annotations

import json
import os
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Protocol

import structlog

from rescind.core.files import PRIVATE_FILE

FILE = "activity.json"
_WRITE_SECONDS = 0.5
"""Least time between two writes of the file."""
_LOG_SECONDS = 30.0
"""Time between two lines of the log about the same work."""
_KEPT = 20
"""Steps over which the rate is taken: enough to smooth it, few enough to follow a busy machine."""


@dataclass(frozen=True)
class Activity:
    """A long piece of work of a daemon.

    Attributes:
        doing: What it is, such as "training".
        round_id: The round that it is for; 0 for none.
        done: Steps done so far.
        total: Steps of the whole work; 0 where that is not known.
        rate: Steps a second, over the last steps; 0 before the second step.
        seconds_left: Until the end at that rate; None where it is not known.
        loss: Of the last step, in nats a token, where there is one.
        began: When the work began, in Unix seconds.
        updated: When this was written, in Unix seconds.
    """

    doing: str
    round_id: int = 0
    done: int = 0
    total: int = 0
    rate: float = 0.0
    seconds_left: float | None = None
    loss: float | None = None
    began: float = 0.0
    updated: float = 0.0


class Tell(Protocol):
    """A function that is called after each step of a long piece of work."""

    def __call__(self, done: int, total: int, loss: float | None = None) -> None:
        """Say that `done` of `total` steps are done; a total of 0 is not known."""
        ...


class Activities:
    """Writes the activity of a daemon into its state folder.

    Args:
        folder: The state folder.
        clock: Returns Unix seconds.
        logged: Write a line to the log now and then.

    Attributes:
        state: The activity at its last step; None between two of them.
    """

    def __init__(
        self, folder: Path, clock: Callable[[], float] = time.time, *, logged: bool = True
    ) -> None:
        self._path, self._clock, self._logged = folder / FILE, clock, logged
        self.state: Activity | None = None
        self._log = structlog.get_logger()

    @contextmanager
    def during(self, doing: str, *, total: int = 0, round_id: int = 0) -> Iterator[Tell]:
        """Say what is being done while the block runs.

        Args:
            doing: What it is.
            total: Steps of the whole work; 0 where that is not known yet.
            round_id: The round that it is for; 0 for none.

        Yields:
            A function to call after each step.
        """
        now = self._clock()
        state = Activity(doing, round_id, total=total, began=now, updated=now)
        recent: deque[tuple[float, int]] = deque(maxlen=_KEPT)
        written = logged = now
        self._write(state)

        def tell(done: int, total: int, loss: float | None = None) -> None:
            nonlocal state, written, logged
            now = self._clock()
            recent.append((now, done))
            self.state = state = replace(_step(state, recent, total), loss=loss, updated=now)
            if now - written >= _WRITE_SECONDS or done >= total > 0:
                written = now
                self._write(state)
            if self._logged and now - logged >= _LOG_SECONDS:
                logged = now
                self._log.info(doing, **_logged(state))

        try:
            yield tell
        finally:
            self.clear()

    def clear(self) -> None:
        """Say that nothing long is being done."""
        self.state = None
        with suppress(OSError):
            self._path.unlink(missing_ok=True)

    def _write(self, state: Activity) -> None:
        # Not flushed to the disk: after a crash there is nothing to go on with.
        temporary = self._path.with_name(f".{FILE}.{os.getpid()}")
        with suppress(OSError):
            descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, PRIVATE_FILE)
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                json.dump(asdict(state), file)
            temporary.replace(self._path)


def activity_of(folder: Path) -> Activity | None:
    """Return what the daemon with this state folder is doing, or None for nothing that takes long.

    A daemon that was killed leaves its last activity behind; `updated` says how old it is.
    """
    try:
        content = json.loads((folder / FILE).read_text(encoding="ascii"))
        return Activity(**content)
    except (OSError, ValueError, TypeError):
        return None


def activity_status(folder: Path, now: float | None = None) -> dict[str, object] | None:
    """Return the activity as a status shows it, with its age in seconds."""
    state = activity_of(folder)
    if state is None:
        return None
    age = (time.time() if now is None else now) - state.updated
    return {**_logged(state), "doing": state.doing, "seconds_ago": round(max(0.0, age), 1)}


def _step(state: Activity, recent: deque[tuple[float, int]], total: int) -> Activity:
    (first, begun), (last, done) = recent[0], recent[-1]
    rate = (done - begun) / (last - first) if last > first else 0.0
    left = (total - done) / rate if rate > 0 and total else None
    return replace(state, done=done, total=total, rate=rate, seconds_left=left)


def _logged(state: Activity) -> dict[str, object]:
    values: dict[str, object] = {"step": state.done, "steps": state.total}
    if state.round_id:
        values["round"] = state.round_id
    if state.rate:
        values["steps_per_second"] = round(state.rate, 3)
    if state.seconds_left is not None:
        values["seconds_left"] = round(state.seconds_left)
    if state.loss is not None:
        values["loss"] = round(state.loss, 4)
    return values
