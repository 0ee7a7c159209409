"""rescind ledger prove|prove-subject|check: what a ledger shows to others, and how they check it."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rescind.cli.daemons import JsonOption
from rescind.cli.ledger_place import (
    ConfigOption,
    KeyOption,
    OrganizationOption,
    OutOption,
    Place,
    ProgramOption,
    RunOption,
    WhereOption,
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
    from rescind.ledger import Ledger

proofs_app = typer.Typer()


@proofs_app.command("prove")
def ledger_prove(
    index: Annotated[int, typer.Argument(min=0, help="Of the record to show.")],
    path: OutOption,
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
    """One file that shows one record, and proves that it is in the log that is anchored on chain."""
    from rescind.audit import anchored_at, anchors_of
    from rescind.ledger.disclosure import Disclosure

    with reported_errors():
        place = Place(where, config, key_file, key_program)
        with place.opened() as ledger:
            chain = place.chain(run, rpc, contracts, organization)
            size, anchored = None, None
            if chain is not None:
                _log_is_anchored(ledger, anchors_of(*chain))
                holding = [it for it in anchors_of(*chain) if it[0] > index]
                if not holding:
                    _not_anchored(index)
                size, _, event = holding[0]
                anchored = anchored_at(*chain, event.tx_hash)
            proven = ledger.prove(index, size)
            found = Disclosure.of(proven, ledger.key.verifier(), anchored)
        _write(path, found.to_json())
        told = {
            "file": str(path),
            "record": index,
            "log_size": proven.checkpoint.size,
            "anchored_in": anchored.transaction if anchored else None,
        }
        print_facts(told, as_json=as_json)


def _log_is_anchored(ledger: Ledger, known: Sequence[tuple[int, str, object]]) -> None:
    from rescind.core.errors import LedgerError

    for size, root, _ in known:
        if size > ledger.size or ledger.root(size).hex() != root:
            raise LedgerError(
                f"the anchor of {size} records on chain is not of {ledger.database.name}: rescind ledger "
                "fsck says more"
            )


def _not_anchored(index: int) -> None:
    from rescind.core.errors import LedgerError

    raise LedgerError(
        f"record {index} is in no anchor yet: the node writes one after each round and on a timer, or "
        "rescind ledger anchor does now"
    )


def _write(path: Path, document: Any) -> None:
    path.write_text(json.dumps(document, indent=2) + "\n", encoding="utf-8")


@proofs_app.command("prove-subject")
def ledger_prove_subject(
    round_id: Annotated[int, typer.Option("--round", min=1, help="Trained in this round.")],
    subject: Annotated[str, typer.Option(help="The data subject.")],
    path: OutOption,
    question: Annotated[str | None, typer.Option(help="Of one sample, with --answer.")] = None,
    answer: Annotated[str | None, typer.Option(help="Of one sample, with --question.")] = None,
    withdrawal: Annotated[
        int | None, typer.Option(help="What was trained for this withdrawal, in place of it.")
    ] = None,
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
    """One file that proves that a subject (or a sample) was in what a round was trained on, or was not."""
    from rescind.audit import anchored_at
    from rescind.core.errors import ConfigError
    from rescind.ledger import Manifest, Record
    from rescind.ledger.disclosure import ManifestDisclosure

    with reported_errors():
        if (question is None) != (answer is None):
            raise ConfigError("a sample is a question and its answer: give both or neither")
        place = Place(where, config, key_file, key_program)
        chain = place.chain(run, rpc, contracts, organization)
        if chain is None:
            raise ConfigError("which chain? Give --config, --run, or --rpc and --contracts")
        with place.opened() as ledger:
            found = [
                it.payload
                for it in ledger.records("manifest")
                if isinstance(it, Record)
                and it.payload["round"] == round_id
                and it.payload.get("withdrawal") == withdrawal
            ]
        if not found:
            raise ConfigError(f"the ledger has no manifest of round {round_id}")
        manifest = Manifest.from_json(found[-1])
        sample = (question, answer) if question is not None and answer is not None else None
        made = ManifestDisclosure(
            round_id,
            subject,
            sample,
            manifest.commitment.hex(),
            manifest.prove(subject, sample and _sample(*sample)),
            anchored_at(*chain),
        )
        inside = made.check()
        _write(path, made.to_json())
        print_facts({"file": str(path), "round": round_id, "inside": inside}, as_json=as_json)


def _sample(question: str, answer: str) -> bytes:
    from rescind.ledger import sample_bytes

    return sample_bytes(question, answer)


@proofs_app.command("check")
def ledger_check(
    path: Annotated[Path, typer.Argument(help="A file that prove or prove-subject wrote.")],
    rpc: RpcOption = None,
    contracts: Annotated[
        Path | None,
        typer.Option("--contracts", help="The contracts.json that you know, to compare with."),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a disclosure with the file and an Ethereum node, anywhere; exit 0, or the failed check's code."""
    from rescind.audit import check_disclosure
    from rescind.contracts import Deployment
    from rescind.core.errors import VerificationError

    with reported_errors():
        found = check_disclosure(path, rpc)
        code, what = found.verification.exit_code, found.what
        if contracts is not None and not code:
            known = Deployment.load(contracts).model_dump()
            if what is None or what.anchored is None or dict(what.anchored.contracts) != known:
                raise VerificationError(f"the file is about other contracts than {contracts}")
        if as_json:
            checks = [asdict(check) for check in found.verification.checks]
            shown = None if code or what is None else what.to_json()
            print_json({"exit_code": code, "checks": checks, "disclosed": _disclosed(shown)})
        else:
            _print_check(found)
        raise typer.Exit(code)


def _disclosed(shown: dict[str, Any] | None) -> Any:
    if shown is None:
        return None
    return (
        shown["record"]
        if "record" in shown
        else {k: shown[k] for k in ("round", "subject", "sample")}
    )


def _print_check(found: Any) -> None:
    styles = {"passed": "green", "failed": "red", "skipped": "yellow"}
    for check in found.verification.checks:
        line = Text(f"{check.status:<7}", style=styles[check.status])
        out.print(line.append_text(plain(f"  {check.name:<9} {check.detail}")), soft_wrap=True)
    if found.verification.exit_code or found.what is None:
        out.print("disclosure REFUSED", style="bold")
        return
    if found.what.anchored is not None:
        governance = found.what.anchored.contracts["governance"]
        out.print(f"consortium: the one whose Governance is at {governance}")
    shown = _disclosed(found.what.to_json())
    for text in json.dumps(shown, indent=2).splitlines():
        out.print(plain(text), soft_wrap=True)
    skipped = any(it.status == "skipped" for it in found.verification.checks)
    out.print(f"disclosure accepted{', as far as it was checked' if skipped else ''}", style="bold")
