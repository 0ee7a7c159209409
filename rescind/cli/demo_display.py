"""The output of a running demo: a live table on a terminal, a line now and then elsewhere."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import TYPE_CHECKING, Self

from rich.console import Console, Group
from rich.live import Live
from rich.spinner import Spinner
from rich.table import Table
from rich.text import Text

if TYPE_CHECKING:
    from rescind.daemon import Activity
    from rescind.devnet.watching import Doing

_LINE_SECONDS = 60.0
"""Silence after which a line says how far the daemons are, where there is no terminal."""


class DemoDisplay:
    """Prints the demo's steps, and what its daemons do meanwhile.

    Args:
        console: Where to print.
        clock: Seconds, never going back.

    Attributes:
        began: When the demo began, by the clock.
    """

    def __init__(self, console: Console, clock: Callable[[], float] = time.monotonic) -> None:
        self._console, self._clock = console, clock
        self.began = self._said = clock()
        self._spinner = Spinner("dots", "loading")
        self._live = Live(self._spinner, console=console, transient=True, refresh_per_second=4)

    def __enter__(self) -> Self:
        if self._console.is_terminal:
            self._live.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._live.is_started:
            self._live.stop()

    def say(self, text: str) -> None:
        """Print a step, with the seconds since the demo began."""
        self._said = now = self._clock()
        line = Text.assemble((f"{now - self.began:6.1f} s", "dim"), f"  {text}")
        self._console.print(line, highlight=False, soft_wrap=not self._console.is_terminal)
        self._spinner.update(text=Text(text, overflow="ellipsis", no_wrap=True))

    def show(self, doing: Sequence[Doing]) -> None:
        """Show what the daemons do."""
        if self._live.is_started:
            self._live.update(Group(self._spinner, table(doing)) if doing else self._spinner)
        elif doing and self._clock() - self._said >= _LINE_SECONDS:
            self.say("; ".join(line(each) for each in doing))


def table(doing: Sequence[Doing]) -> Table:
    """Return a table with a row for each daemon that is at something long."""
    result = Table(box=None, padding=(0, 2, 0, 0), header_style="dim")
    for heading in ("", "doing", "step", "steps/s", "left", "loss"):
        result.add_column(heading, justify="left" if heading in ("", "doing") else "right")
    for each in doing:
        state = each.activity
        result.add_row(
            each.name,
            _work(state),
            f"{state.done}/{state.total}" if state.total else "",
            f"{state.rate:.2f}" if state.rate else "",
            duration(state.seconds_left) if state.seconds_left is not None else "",
            f"{state.loss:.3f}" if state.loss is not None else "",
        )
    return result


def line(doing: Doing) -> str:
    """Say in a few words what a daemon does."""
    state = doing.activity
    words = f"{doing.name} {_work(state)}"
    if not state.total:
        return words
    words += f" {state.done}/{state.total}"
    if state.rate and state.seconds_left is not None:
        words += f" ({state.rate:.2f}/s, {duration(state.seconds_left)} left)"
    return words


def duration(seconds: float) -> str:
    """Return a time as people say it, such as "45 s" or "3 min 20 s"."""
    whole = max(0, round(seconds))
    if whole < 60:
        return f"{whole} s"
    if whole < 3600:
        return f"{whole // 60} min {whole % 60} s"
    return f"{whole // 3600} h {whole % 3600 // 60} min"


def _work(state: Activity) -> str:
    return f"{state.doing} round {state.round_id}" if state.round_id else state.doing
