"""Print tables for people, JSON for programs, and one line for each error."""

from __future__ import annotations

import json
import logging
import signal
import sys
import threading
import traceback
from collections.abc import Iterator, Mapping, MutableMapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict
from datetime import UTC, datetime
from types import TracebackType
from typing import Any

import structlog
import typer
from rich.console import Console
from rich.measure import Measurement
from rich.table import Table
from rich.text import Text

from rescind.cli.exit_codes import INTERRUPTED, RUN_FAILED, exit_code
from rescind.core.errors import RescindError
from rescind.core.redaction import redact, redacted

out = Console(highlight=False)
err = Console(stderr=True, highlight=False)
# Seconds since 1970; datetime cannot show a later year. The contracts use the largest integer for "never".
_UNBOUNDED = 10_000
"""Columns of a terminal on which every table fits."""
_END_OF_9999 = 253_402_300_800


@contextmanager
def reported_errors() -> Iterator[None]:
    """Turn an expected failure into one line on standard error and its exit code."""
    try:
        yield
    except RescindError as error:
        lines = redact(f"error[{error.code}]: {error}").splitlines()
        err.print(Text("\n").join(plain(line) for line in lines), soft_wrap=True)
        raise typer.Exit(exit_code(error)) from error
    except OSError as error:
        where = f": {error.filename}" if error.filename else ""
        text = redact(f"error[system]: {error.strerror or error}{where}")
        err.print(text, markup=False, soft_wrap=True)
        raise typer.Exit(RUN_FAILED) from error
    except KeyboardInterrupt as error:
        err.print("stopped")
        raise typer.Exit(INTERRUPTED) from error


def print_json(value: object) -> None:
    """Print indented JSON on standard output."""
    sys.stdout.write(json.dumps(value, indent=2) + "\n")


def print_rows(rows: Sequence[Any], columns: Sequence[tuple[str, str]], *, as_json: bool) -> None:
    """Print dataclasses as a table of (attribute, heading) columns, or with every field as JSON.

    A table that is wider than the terminal is printed as one block of lines for each row.
    """
    if as_json:
        print_json([asdict(row) for row in rows])
        return
    if not rows:
        out.print("nothing on record")
        return
    table = Table(*(heading for _, heading in columns), box=None, header_style="bold")
    for row in rows:
        table.add_row(*(_cell(name, getattr(row, name)) for name, _ in columns))
    unbounded = out.options.update(max_width=_UNBOUNDED)
    if Measurement.get(out, unbounded, table).maximum <= out.width:
        out.print(table)
        return
    for row in rows:
        out.print()
        for name, heading in columns:
            out.print(Text(f"{heading}: ") + _cell(name, getattr(row, name)), soft_wrap=True)


def print_facts(facts: Mapping[str, object], *, as_json: bool) -> None:
    """Print one line for each fact, or all of them as JSON."""
    if as_json:
        print_json(facts)
        return
    for name, value in facts.items():
        out.print(plain(f"{name.replace('_', ' ')}: {_shown(name, value)}"), soft_wrap=True)


def print_contracts(addresses: Mapping[str, str]) -> None:
    """Print the contracts that a file rests on, for the reader to compare."""
    if addresses:
        out.print("consortium, to be compared with the contracts that you know:")
    for name, address in addresses.items():
        out.print(f"  {name:<12} {address}")


def plain(text: str) -> Text:
    """Return text that others chose, such as a name on chain, without markup and control codes."""
    return Text("".join(c if c.isprintable() else "?" for c in text))


def _cell(name: str, value: object) -> Text:
    if isinstance(value, str) and len(value) == 64:
        return plain(f"{value[:12]}...")
    return plain(_shown(name, value))


def _shown(name: str, value: object) -> str:
    if isinstance(value, tuple | list):
        return ", ".join(str(part) for part in value) or "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    is_time = name.endswith("_at") or name == "deadline"
    if isinstance(value, int) and is_time and value < _END_OF_9999:
        return datetime.fromtimestamp(value, UTC).strftime("%Y-%m-%d %H:%M:%SZ")
    return "-" if value is None else str(value)


def show_unexpected_errors() -> None:
    """Print the traceback of a bug without keys in URLs, passwords and values of variables.

    The requests that a traceback is about hold the RPC URL, whatever Rescind's own message shows.
    """

    def report(
        kind: type[BaseException], error: BaseException, trace: TracebackType | None
    ) -> None:
        sys.stderr.write(redact("".join(traceback.format_exception(kind, error, trace))))

    def report_of_thread(failed: threading.ExceptHookArgs) -> None:
        if failed.exc_value is not None:
            report(failed.exc_type, failed.exc_value, failed.exc_traceback)

    sys.excepthook = report
    threading.excepthook = report_of_thread


class _RedactedText(logging.Formatter):
    """Text of other packages' log lines, tracebacks included."""

    def format(self, record: logging.LogRecord) -> str:
        return redact(super().format(record))


def _redacted_event(_: object, __: str, event: MutableMapping[str, Any]) -> Mapping[str, Any]:
    """Second line of defence: what a message of ours should not hold is not logged either."""
    return {key: redacted(value) for key, value in event.items()}


# Values of variables are not logged: they are keys, rows of private data, and names.
_TRACEBACKS = structlog.processors.ExceptionRenderer(
    structlog.tracebacks.ExceptionDictTransformer(show_locals=False)
)


def daemon_logging() -> None:
    """Log to standard error, one JSON object in each line, without keys in URLs and passwords."""
    logging.disable(logging.WARNING)
    handler = logging.StreamHandler()
    handler.setFormatter(_RedactedText())
    logging.basicConfig(handlers=[handler], force=True)
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            _TRACEBACKS,
            _redacted_event,
            structlog.processors.JSONRenderer(),
        ],
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def interrupt_on_sigterm() -> None:
    """SIGTERM ends a command as Ctrl-C does, so that what it started is stopped too."""

    def handler(*_: object) -> None:
        raise KeyboardInterrupt

    signal.signal(signal.SIGTERM, handler)


def stop_on_signal() -> threading.Event:
    """Return an event that SIGTERM or SIGINT sets. A second signal ends the process at once."""
    stop = threading.Event()

    def handler(number: int, _: object) -> None:
        if stop.is_set():
            raise SystemExit(128 + number)
        stop.set()

    signal.signal(signal.SIGTERM, handler)
    signal.signal(signal.SIGINT, handler)
    return stop
