"""What commands print: JSON for programs, tables for people."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

import typer


def print_json(value: object) -> None:
    """One JSON document on standard output; keys keep their order."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(
    title: str, rows: Sequence[Mapping[str, Any]], columns: Mapping[str, str] | None = None
) -> None:
    """A table of `rows`. `columns`: key -> heading, in order; all keys of the first row if None."""
    from rich.console import Console
    from rich.table import Table

    console = Console()
    if not rows:
        console.print(f"{title}: none")
        return
    shown = columns or {key: key.replace("_", " ") for key in rows[0]}
    table = Table(title=title, title_justify="left")
    for heading in shown.values():
        table.add_column(heading, overflow="fold")
    for row in rows:
        table.add_row(*(cell(row.get(key)) for key in shown))
    console.print(table)


def cell(value: object) -> str:
    """A value as a person reads it; long hashes are shortened."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return f"{value:.3g}"
    if isinstance(value, str) and len(value) >= 64 and " " not in value:
        return f"{value[:12]}…"
    if isinstance(value, list | tuple):
        return ", ".join(cell(item) for item in value) or "-"
    return str(value)
