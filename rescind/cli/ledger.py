"""rescind ledger init|append|show|verify|fsck: what an organization's private ledger says."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescind.cli.daemons import JsonOption
from rescind.cli.exit_codes import LEDGER_UNSOUND
from rescind.cli.ledger_place import (
    ConfigOption,
    KeyOption,
    OrganizationOption,
    Place,
    ProgramOption,
    RunOption,
    WhereArgument,
    WhereOption,
    anchors,
)
from rescind.cli.printing import (
    out,
    plain,
    print_facts,
    print_json,
    reported_errors,
)
from rescind.cli.public_record import ContractsOption, RpcOption

if TYPE_CHECKING:
    from rescind.ledger import Report

ledger_app = typer.Typer(no_args_is_help=True, help="An organization's private ledger.")


@ledger_app.command("init")
def ledger_init(
    where: WhereOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """A new ledger. Makes the key file when it is named and not there."""
    from rescind.ledger import Ledger, create_key

    with reported_errors():
        if key_file is not None and not key_file.exists():
            create_key(key_file)
        place = Place(where, None, key_file, key_program)
        with Ledger.create(place.where, place.key()) as ledger:
            made = {
                "ledger": ledger.database.name,
                "log": ledger.id,
                "verifier_key": str(ledger.key.verifier()),
            }
        print_facts(made, as_json=as_json)


@ledger_app.command("append")
def ledger_append(
    type_: Annotated[str, typer.Option("--type", help="consent, disclosure, ...")],
    payload: Annotated[str, typer.Option("--payload", help="JSON, or - to read it.")],
    subject: Annotated[str | None, typer.Option(help="Whose data it speaks of.")] = None,
    once: Annotated[
        str | None, typer.Option("--once", help="Idempotency key: the same again adds nothing.")
    ] = None,
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Add a record; it is on the disk when this returns."""
    import sys

    from rescind.core.errors import LedgerError

    with reported_errors():
        text = sys.stdin.read() if payload == "-" else payload
        try:
            document = json.loads(text)
        except ValueError as error:
            raise LedgerError(f"--payload is no JSON: {error}") from error
        if not isinstance(document, dict):
            raise LedgerError('--payload is no JSON object: write {"name": value, ...}')
        with Place(where, config, key_file, key_program).opened() as ledger:
            entry = ledger.append(type_, document, subject=subject, key=once)
        made = {"index": entry.index, "leaf_hash": entry.leaf_hash.hex(), "new": entry.new}
        print_facts(made, as_json=as_json)


@ledger_app.command("show")
def ledger_show(
    directory: WhereArgument = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only records of this type.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only those about this subject.")] = None,
    start: Annotated[int, typer.Option("--from", min=0, help="From this index on.")] = 0,
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """The records, decrypted. --json prints one JSON list."""
    import sys

    with (
        reported_errors(),
        Place(where or directory, config, key_file, key_program).opened() as ledger,
    ):
        records = ledger.records(type_, subject, start)
        if as_json:
            sys.stdout.write("[")
            for place, record in enumerate(records):
                sys.stdout.write(",\n" if place else "\n")
                sys.stdout.write(json.dumps(_told(record)))
            sys.stdout.write("\n]\n")
            return
        for record in records:
            told = _told(record)
            about = f" ({told['subject']})" if told.get("subject") else ""
            what = "shredded" if "payload" not in told else _brief(told["payload"])
            when = _time(told["time"])
            line = plain(f"{told['index']:>6}  {when}  {told['type']:<14}{about} {what}")
            if out.is_terminal:
                out.print(line, no_wrap=True, overflow="ellipsis")
            else:
                out.print(line, soft_wrap=True)


def _told(record: Any) -> dict[str, Any]:
    found = asdict(record)
    return found if "payload" in found else found | {"shredded": True}


def _brief(payload: Any) -> str:
    text = json.dumps(payload)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _time(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@ledger_app.command("verify")
def ledger_verify(
    directory: WhereArgument = None,
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    organization: OrganizationOption = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute everything from the entries, compare with the newest anchor; exit 30 if anything differs."""
    with reported_errors():
        place = Place(where or directory, config, key_file, key_program)
        newest = anchors(place.chain(run, rpc, contracts, organization))[-1:]
        _report(place, newest, as_json=as_json)


@ledger_app.command("fsck")
def ledger_fsck(
    directory: WhereArgument = None,
    where: WhereOption = None,
    config: ConfigOption = None,
    key_file: KeyOption = None,
    key_program: ProgramOption = None,
    organization: OrganizationOption = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint that was kept; may be repeated.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """The same, against every anchor and checkpoint: says where it differs, and since when. Exit 30."""
    from rescind.ledger.notes import Checkpoint

    with reported_errors():
        place = Place(where or directory, config, key_file, key_program)
        known = anchors(place.chain(run, rpc, contracts, organization))
        kept = [Checkpoint.parse(it.read_text(encoding="utf-8")) for it in checkpoint or ()]
        if kept:
            with place.opened() as ledger:
                for it in kept:
                    it.check_signed(ledger.key.verifier())
        known += [(it.size, it.root.hex()) for it in kept]
        _report(place, known, as_json=as_json)


def _report(place: Place, known: Sequence[tuple[int, str]], *, as_json: bool) -> None:
    from rescind.ledger import (
        Ledger,
        LedgerDamaged,
        Problem,
        Report,
    )

    try:
        ledger = Ledger.open(place.where, place.key())
        try:
            report = ledger.verify(known)
        finally:
            ledger.database.engine.dispose()
    except LedgerDamaged as error:
        report = Report(0, "", (Problem(None, str(error)),))
    if as_json:
        print_json(
            {
                "sound": report.sound,
                "size": report.size,
                "root": report.root,
                "anchors_compared": len(known),
                "problems": [asdict(it) for it in report.problems],
            }
        )
    else:
        _print_report(report, len(known))
    if not report.sound:
        raise typer.Exit(LEDGER_UNSOUND)


def _print_report(report: Report, count: int) -> None:
    for it in report.problems:
        place = "log" if it.index is None else f"record {it.index}"
        since = "" if it.since is None else f" (the first {it.since} still agree with the chain)"
        what = it.what.removeprefix(f"record {it.index} ")
        out.print(plain(f"{place}: {what}{since}"), soft_wrap=True)
    if report.sound:
        compared = f", {count} anchors agree" if count else ""
        out.print(f"sound: {report.size} records, root {report.root}{compared}", soft_wrap=True)
