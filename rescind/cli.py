"""The `rescind` command: groups, and the one place where an error becomes an exit code."""

from __future__ import annotations

import os
import sys
import tempfile
import traceback
from pathlib import Path

import typer

from adapters.errors import RescindError
from rescind.commands import (
    aggregator,
    ask,
    audit,
    demo,
    devnet,
    export,
    ledger,
    node,
    org,
    verify,
    withdraw,
)
from rescind.exit_codes import UNEXPECTED, exit_code

app = typer.Typer(
    name="rescind",
    help="Train a language model together, on record, and take your data back.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.command(name="demo")(demo.demo)
app.command(name="ask")(ask.ask)
app.command(name="chat")(ask.chat)
app.command(name="verify")(verify.verify)
app.command(name="export")(export.export)
app.add_typer(audit.app, name="audit")
app.add_typer(org.app, name="org")
app.add_typer(node.app, name="node")
app.add_typer(aggregator.app, name="aggregator")
app.add_typer(withdraw.app, name="withdraw")
app.add_typer(ledger.app, name="ledger")
app.add_typer(devnet.app, name="devnet")


def _version(wanted: bool) -> None:
    if wanted:
        from importlib.metadata import version

        typer.echo(f"rescind {version('rescind')}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Print the version and exit."
    ),
) -> None:
    del version


def main() -> None:
    """Run, and exit with the code that docs/exit-codes.md gives to the outcome."""
    try:
        app()
    except RescindError as error:
        _say(error.code, str(error))
        sys.exit(exit_code(error.code))
    except Exception as error:
        where = _write_crash(error)
        _say("unexpected", f"{type(error).__name__}: {error}; the traceback is in {where}")
        sys.exit(UNEXPECTED)


def _say(code: str, message: str) -> None:
    line = " ".join(message.split())
    typer.echo(f"error[{code}]: {line}", err=True)


def _write_crash(error: BaseException) -> Path:
    handle, name = tempfile.mkstemp(prefix="rescind-crash-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as file:
        file.write(f"{' '.join(sys.argv)}\n")
        traceback.print_exception(error, file=file)
    return Path(name)
