"""rescind ledger prove|prove-subject|check: make and check disclosures."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.text import Text

from rescind.cli.endpoints import NamedEndpoints
from rescind.cli.ledger_target import LedgerTarget
from rescind.cli.options import (
    AnchorsOfOption,
    ContractsOption,
    JsonOption,
    KeyFileOption,
    KeyProgramOption,
    LedgerOption,
    NodeConfigOption,
    OutOption,
    RpcOption,
    RunOption,
)
from rescind.cli.printing import (
    out,
    plain,
    print_contracts,
    print_facts,
    print_json,
    reported_errors,
)

if TYPE_CHECKING:
    from rescind.ledger import Ledger

proofs_app = typer.Typer()


@proofs_app.command("prove")
def ledger_prove(
    index: Annotated[int, typer.Argument(min=0, help="Index of the record.")],
    path: OutOption,
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
    """Write a file that shows one record and proves that the anchored log holds it."""
    from rescind.audit import anchored_at, anchors_of
    from rescind.ledger import Disclosure

    with reported_errors():
        target = LedgerTarget(where, config, key_file, key_program)
        with target.opened() as ledger:
            chain = target.chain(run, rpc, contracts, organization)
            size, anchored = None, None
            if chain is not None:
                _log_is_anchored(ledger, anchors_of(*chain))
                holding = [anchor for anchor in anchors_of(*chain) if anchor[0] > index]
                if not holding:
                    _not_anchored(index)
                size, _, event = holding[0]
                anchored = anchored_at(*chain, event.tx_hash)
            proven = ledger.prove(index, size)
            disclosure = Disclosure.of(proven, ledger.key.verifier(), anchored)
        _write(path, disclosure.to_json())
        facts = {
            "file": str(path),
            "record": index,
            "log_size": proven.checkpoint.size,
            "anchored_in": anchored.transaction if anchored else None,
        }
        print_facts(facts, as_json=as_json)


def _log_is_anchored(ledger: Ledger, anchored: Sequence[tuple[int, str, object]]) -> None:
    from rescind.core.errors import LedgerError

    for size, root, _ in anchored:
        if size > ledger.size or ledger.root(size).hex() != root:
            raise LedgerError(
                f"The on-chain anchor of {size} records does not match {ledger.database.name}. "
                "Run rescind ledger fsck to see where they differ."
            )


def _not_anchored(index: int) -> None:
    from rescind.core.errors import LedgerError

    raise LedgerError(
        f"Record {index} is not anchored yet. The node writes an anchor after each round and on a "
        "timer; rescind ledger anchor writes one now."
    )


def _write(path: Path, document: Any) -> None:
    from rescind.core import write_private

    write_private(path, (json.dumps(document, indent=2) + "\n").encode())


@proofs_app.command("prove-subject")
def ledger_prove_subject(
    round_id: Annotated[
        int, typer.Option("--round", min=1, help="Look in the training data of this round.")
    ],
    subject: Annotated[str, typer.Option(help="The data subject.")],
    path: OutOption,
    question: Annotated[
        str | None, typer.Option(help="Question of one sample; pass --answer too.")
    ] = None,
    answer: Annotated[
        str | None, typer.Option(help="Answer of one sample; pass --question too.")
    ] = None,
    sample_file: Annotated[
        Path | None,
        typer.Option(
            "--sample", help="File of one sample instead, as in the data: a document, for example."
        ),
    ] = None,
    withdrawal: Annotated[
        int | None,
        typer.Option(help="The data that was registered for the round in this withdrawal instead."),
    ] = None,
    replay: Annotated[
        int | None,
        typer.Option(help="The data that was registered for the round in this replay instead."),
    ] = None,
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
    """Write a file that proves whether a subject or sample was in a round's training data."""
    from rescind.audit import anchored_at
    from rescind.core.errors import ConfigError
    from rescind.core.names import canonical_name
    from rescind.ledger import Manifest, ManifestDisclosure, sample_bytes

    with reported_errors():
        if (question is None) != (answer is None):
            raise ConfigError(
                "A sample is a question with its answer. Pass both --question and --answer, or neither."
            )
        if question is not None and sample_file is not None:
            raise ConfigError("Pass --question with --answer, or --sample, not both.")
        if withdrawal is not None and replay is not None:
            raise ConfigError("Pass --withdrawal or --replay, not both.")
        target = LedgerTarget(where, config, key_file, key_program)
        chain = target.chain(run, rpc, contracts, organization)
        if chain is None:
            raise ConfigError(
                "Pass --config, --run, or --rpc and --contracts, to select the chain."
            )
        record = _manifest_record(target, round_id, withdrawal, replay)
        manifest = Manifest.from_json(record)
        name = canonical_name(subject)
        sample = _sample(sample_file, name) if sample_file is not None else None
        if question is not None and answer is not None:
            sample = (question, answer)
        disclosure = ManifestDisclosure(
            round_id,
            name,
            sample,
            manifest.commitment.hex(),
            str(record["artifact"]),
            manifest.prove(name, None if sample is None else sample_bytes(*sample)),
            anchored_at(*chain),
            withdrawal,
            replay,
        )
        inside = disclosure.check()
        _write(path, disclosure.to_json())
        print_facts({"file": str(path), "round": round_id, "inside": inside}, as_json=as_json)


def _sample(path: Path, subject: str) -> tuple[str, ...]:
    """Return the texts of the only sample in a file.

    Raises:
        ConfigError: It has several samples, or the sample of another subject.
    """
    from rescind.core.errors import ConfigError
    from rescind.training import read_examples

    examples = read_examples(path)
    if len(examples) > 1:
        raise ConfigError(f"{path} has {len(examples)} samples. Leave only the sample to prove.")
    if examples[0].subject != subject:
        raise ConfigError(f"The sample in {path} belongs to another subject than --subject names.")
    return examples[0].content


def _manifest_record(
    target: LedgerTarget, round_id: int, withdrawal: int | None, replay: int | None
) -> dict[str, Any]:
    """Return the payload of the last manifest of a round that a ledger holds.

    Raises:
        ConfigError: It holds none.
    """
    from rescind.core.errors import ConfigError
    from rescind.ledger import Record

    with target.opened() as ledger:
        manifests = [
            record.payload
            for record in ledger.records("manifest")
            if isinstance(record, Record)
            and record.payload["round"] == round_id
            and record.payload.get("withdrawal") == withdrawal
            and record.payload.get("replay") == replay
        ]
    if not manifests:
        raise ConfigError(
            f"The ledger does not hold a manifest of round {round_id}"
            f"{_occasion(withdrawal, replay)}. rescind ledger show lists what it holds."
        )
    return manifests[-1]


def _occasion(withdrawal: int | None, replay: int | None) -> str:
    if withdrawal is not None:
        return f" for withdrawal {withdrawal}"
    return f" for replay {replay}" if replay is not None else ""


@proofs_app.command("check")
def ledger_check(
    path: Annotated[Path, typer.Argument(help="A file that prove or prove-subject wrote.")],
    rpc: RpcOption = None,
    contracts: Annotated[
        Path | None,
        typer.Option(
            "--contracts",
            help="Your own contracts.json: accept no other consortium's disclosure.",
        ),
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Check a disclosure against an Ethereum node. Exit 0, or the failed check's code."""
    from rescind.audit import check_disclosure

    with reported_errors():
        named = NamedEndpoints.of(rpc)
        result = check_disclosure(path, named.urls, contracts, agree=named.agree)
        verification, what = result.verification, result.what
        code = verification.exit_code
        if as_json:
            shown = None if code or what is None else what.to_json()
            print_json(
                {
                    "exit_code": code,
                    "verdict": verification.verdict,
                    "contracts": dict(verification.contracts),
                    "checks": [asdict(check) for check in verification.checks],
                    "disclosed": _disclosed(shown),
                }
            )
        else:
            _print_check(result)
        raise typer.Exit(code)


def _disclosed(shown: dict[str, Any] | None) -> Any:
    if shown is None:
        return None
    return (
        shown["record"]
        if "record" in shown
        else {k: shown[k] for k in ("round", "withdrawal", "replay", "subject", "sample")}
    )


def _print_check(result: Any) -> None:
    styles = {"passed": "green", "failed": "red", "skipped": "yellow"}
    for check in result.verification.checks:
        line = Text(f"{check.status:<7}", style=styles[check.status])
        out.print(line.append_text(plain(f"  {check.name:<9} {check.detail}")), soft_wrap=True)
    verification, what = result.verification, result.what
    if what is not None and not verification.exit_code:
        for text in json.dumps(_disclosed(what.to_json()), indent=2).splitlines():
            out.print(plain(text), soft_wrap=True)
    print_contracts(verification.contracts)
    out.print(plain(f"disclosure {verification.verdict}"), style="bold", soft_wrap=True)
