"""Look at what the daemons of a run are doing, and show it."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rescind.core.errors import RescindError
from rescind.daemon import Activity, activity_of

_LOOK_SECONDS = 0.5
"""Least time between two looks at the files."""
_STUCK_SECONDS = 30.0
"""A daemon that has logged nothing for this long after a failed step keeps failing at it."""


class TrainingFailed(RescindError):
    """A node of the run could not train, so the run cannot show what it is to show."""

    code = "training-failed"


@dataclass(frozen=True)
class Doing:
    """The work of one daemon, or of the demo itself."""

    name: str
    activity: Activity


Show = Callable[[Sequence[Doing]], None]
Say = Callable[[str], None]


def quiet(_: Sequence[Doing]) -> None:
    """Show nothing."""


@dataclass
class Watched:
    """A daemon whose state folder and log are looked at.

    Attributes:
        name: Its name.
        state: Its state folder.
        log: Its log.
        trouble: The reason of its last failed step, until it logs something else.
    """

    name: str
    state: Path
    log: Path
    trouble: str = ""
    _offset: int = 0
    _since: float = 0.0
    _said: str = ""

    def activity(self) -> Activity | None:
        """Return what it is doing."""
        return activity_of(self.state)

    def read_log(self, now: float) -> None:
        """Read what was logged since the last look.

        Raises:
            TrainingFailed: A training failed, and the node sits the round out.
        """
        try:
            with self.log.open("rb") as file:
                file.seek(self._offset)
                lines = file.read().splitlines(keepends=True)
        except OSError:
            return
        for line in lines:
            if not line.endswith(b"\n"):
                break
            self._offset += len(line)
            self._take(line, now)

    def stuck(self, now: float) -> str:
        """Return the reason of a step that fails again and again, once; else ""."""
        if not self.trouble or now - self._since < _STUCK_SECONDS or self._said == self.trouble:
            return ""
        self._said = self.trouble
        return self.trouble

    def _take(self, line: bytes, now: float) -> None:
        try:
            entry = json.loads(line)
        except ValueError:
            return
        event = entry.get("event") if isinstance(entry, dict) else None
        if event == "training failed":
            raise TrainingFailed(
                f"{self.name} could not train round {entry.get('round')}: {entry.get('reason')} "
                f"Its log is {self.log}."
            )
        failed = event == "step failed, will try again"
        self.trouble, self._since = (str(entry.get("reason")) if failed else ""), now


@dataclass
class Watch:
    """Looks at the daemons of a run and shows what they do.

    Attributes:
        show: Receives what each daemon does, at every look.
        say: Receives a line where a daemon is stuck.
        moved: When a daemon was last seen to do something, by the monotonic clock.
    """

    show: Show = quiet
    say: Say = print
    moved: float = field(default_factory=time.monotonic)
    _watched: list[Watched] = field(default_factory=list)
    _seen: tuple[Doing, ...] = ()
    _looked: float = 0.0

    def add(self, name: str, state: Path, log: Path) -> None:
        """Look at one more daemon. What a daemon before it left in the folder is not its own."""
        self._watched.append(Watched(name, state, log, _offset=_size(log)))

    def look(self) -> None:
        """Look at the files, unless that was done a moment ago.

        Raises:
            TrainingFailed: A node could not train.
        """
        now = time.monotonic()
        if now - self._looked < _LOOK_SECONDS:
            return
        self._looked = now
        doing = []
        for watched in self._watched:
            watched.read_log(now)
            reason = watched.stuck(now)
            if reason:
                self.say(f"{watched.name} cannot go on, and keeps trying: {reason}")
            activity = watched.activity()
            if activity is not None:
                doing.append(Doing(watched.name, activity))
        if tuple(doing) != self._seen:
            self._seen, self.moved = tuple(doing), now
        self.show(doing)

    def clear(self) -> None:
        """Look at no daemon any more."""
        self._watched.clear()
        self.show([])


def _size(log: Path) -> int:
    try:
        return log.stat().st_size
    except OSError:
        return 0
