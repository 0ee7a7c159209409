"""rescind ledger init|append|show|verify|fsck: write, read and check a private ledger."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from rescind.cli.exit_codes import LEDGER_UNSOUND
from rescind.cli.ledger_target import LedgerTarget, anchors
from rescind.cli.options import (
    AnchorsOfOption,
    ContractsOption,
    JsonOption,
    KeyFileOption,
    KeyProgramOption,
    LedgerArgument,
    LedgerOption,
    NodeConfigOption,
    RpcOption,
    RunOption,
)
from rescind.cli.printing import (
    out,
    plain,
    print_facts,
    print_json,
    reported_errors,
)
from rescind.core.json_text import parse_json

if TYPE_CHECKING:
    from rescind.ledger import Report

ledger_app = typer.Typer(no_args_is_help=True, help="An organization's private ledger.")


@ledger_app.command("init")
def ledger_init(
    where: LedgerOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Create a ledger, and its key file if you name one that does not exist."""
    from rescind.ledger import Ledger, create_key

    with reported_errors():
        if key_file is not None and not key_file.exists():
            create_key(key_file)
        target = LedgerTarget(where, None, key_file, key_program)
        with Ledger.create(target.where, target.key()) as ledger:
            facts = {
                "ledger": ledger.database.name,
                "log": ledger.id,
                "verifier_key": str(ledger.key.verifier()),
            }
        print_facts(facts, as_json=as_json)


@ledger_app.command("append")
def ledger_append(
    type_: Annotated[str, typer.Option("--type", help="consent, disclosure, ...")],
    payload: Annotated[str, typer.Option("--payload", help="JSON, or - to read it.")],
    subject: Annotated[
        str | None, typer.Option(help="The data subject that the record is about.")
    ] = None,
    once: Annotated[
        str | None,
        typer.Option(
            "--once",
            help="Idempotency key: appending the same type and subject with it again adds nothing.",
        ),
    ] = None,
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Append a record. It is on the disk when the command returns."""
    import sys

    from rescind.core.errors import LedgerError
    from rescind.ledger import was_shredded

    with reported_errors():
        text = sys.stdin.read() if payload == "-" else payload
        try:
            document = parse_json(text)
        except ValueError as error:
            raise LedgerError(f"--payload is not valid JSON: {error}.") from error
        if not isinstance(document, dict):
            raise LedgerError('--payload is not a JSON object. Write {"name": value, ...}.')
        with LedgerTarget(where, config, key_file, key_program).opened() as ledger:
            entry = ledger.append(type_, document, subject=subject, key=once)
            unsure = once is not None and entry.new and was_shredded(ledger, type_)
        facts = {"index": entry.index, "leaf_hash": entry.leaf_hash.hex(), "new": entry.new}
        if unsure:
            facts["note"] = (
                f"{type_} records were shredded, with their idempotency keys. If one of them had this "
                "key, the record has now been appended a second time."
            )
        print_facts(facts, as_json=as_json)


@ledger_app.command("show")
def ledger_show(
    directory: LedgerArgument = None,
    type_: Annotated[str | None, typer.Option("--type", help="Only records of this type.")] = None,
    subject: Annotated[str | None, typer.Option(help="Only records about it.")] = None,
    start: Annotated[int, typer.Option("--from", min=0, help="From this index on.")] = 0,
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    as_json: JsonOption = False,
) -> None:
    """Print the records, decrypted. With --json they are one JSON list."""
    import sys

    with (
        reported_errors(),
        LedgerTarget(where or directory, config, key_file, key_program).opened() as ledger,
    ):
        records = ledger.records(type_, subject, start)
        if as_json:
            sys.stdout.write("[")
            for position, record in enumerate(records):
                sys.stdout.write(",\n" if position else "\n")
                sys.stdout.write(json.dumps(_as_document(record)))
            sys.stdout.write("\n]\n")
            return
        for record in records:
            document = _as_document(record)
            about = f" ({document['subject']})" if document.get("subject") else ""
            what = "shredded" if "payload" not in document else _brief(document["payload"])
            when = _time(document["time"])
            line = plain(f"{document['index']:>6}  {when}  {document['type']:<14}{about} {what}")
            if out.is_terminal:
                out.print(line, no_wrap=True, overflow="ellipsis")
            else:
                out.print(line, soft_wrap=True)


def _as_document(record: Any) -> dict[str, Any]:
    document = asdict(record)
    return document if "payload" in document else document | {"shredded": True}


def _brief(payload: Any) -> str:
    text = json.dumps(payload)
    return text if len(text) <= 200 else f"{text[:197]}..."


def _time(seconds: int) -> str:
    from datetime import UTC, datetime

    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%SZ")


@ledger_app.command("verify")
def ledger_verify(
    directory: LedgerArgument = None,
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    organization: AnchorsOfOption = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Recompute the ledger and compare it with its newest anchor. Exit 30 on a difference."""
    with reported_errors():
        target = LedgerTarget(where or directory, config, key_file, key_program)
        newest = anchors(target.chain(run, rpc, contracts, organization))[-1:]
        _report(target, newest, as_json=as_json)


@ledger_app.command("fsck")
def ledger_fsck(
    directory: LedgerArgument = None,
    where: LedgerOption = None,
    config: NodeConfigOption = None,
    key_file: KeyFileOption = None,
    key_program: KeyProgramOption = None,
    organization: AnchorsOfOption = None,
    run: RunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    checkpoint: Annotated[
        list[Path] | None, typer.Option(help="A checkpoint file to compare with. Repeatable.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check against every anchor and checkpoint; say where and since when it differs. Exit 30."""
    from rescind.ledger import Checkpoint

    with reported_errors():
        target = LedgerTarget(where or directory, config, key_file, key_program)
        anchored = anchors(target.chain(run, rpc, contracts, organization))
        kept = [Checkpoint.parse(path.read_text(encoding="utf-8")) for path in checkpoint or ()]
        if kept:
            with target.opened() as ledger:
                for known_checkpoint in kept:
                    known_checkpoint.check_signed(ledger.key.verifier())
        anchored += [(item.size, item.root.hex()) for item in kept]
        _report(target, anchored, as_json=as_json)


def _report(target: LedgerTarget, anchored: Sequence[tuple[int, str]], *, as_json: bool) -> None:
    from rescind.ledger import (
        Ledger,
        LedgerDamaged,
        Problem,
        Report,
    )

    try:
        ledger = Ledger.open(target.where, target.key())
        try:
            report = ledger.verify(anchored)
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
                "anchors_compared": len(anchored),
                "problems": [asdict(problem) for problem in report.problems],
            }
        )
    else:
        _print_report(report, len(anchored))
    if not report.sound:
        raise typer.Exit(LEDGER_UNSOUND)


def _print_report(report: Report, count: int) -> None:
    for problem in report.problems:
        location = "log" if problem.index is None else f"record {problem.index}"
        since = (
            ""
            if problem.since is None
            else f" (the first {problem.since} records still agree with the chain)"
        )
        what = problem.what.removeprefix(f"record {problem.index} ")
        out.print(plain(f"{location}: {what}{since}"), soft_wrap=True)
    if report.sound:
        compared = f", {count} anchors agree" if count else ""
        out.print(f"sound: {report.size} records, root {report.root}{compared}", soft_wrap=True)
