"""rescind audit attest|submit|attest-round|submit-round: an auditor's commands."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, TypeVar

import typer

from rescind.cli.chain_access import open_consortium
from rescind.cli.options import (
    ContractsOption,
    JsonOption,
    KeystoreOption,
    PasswordOption,
    RpcOption,
)
from rescind.cli.printing import out, plain, print_facts, print_json, reported_errors
from rescind.core.errors import ConfigError

if TYPE_CHECKING:
    from rescind.audit import Finding
    from rescind.contracts import Consortium
    from rescind.withdrawals import Attestation, RoundAttestation

_Signed = TypeVar("_Signed", "Attestation", "RoundAttestation")

attest_app = typer.Typer()

ArtifactsOption = Annotated[
    list[Path] | None,
    typer.Option("--artifacts", help="A folder of artifacts. Repeatable. Default: the run's own."),
]
FileOption = Annotated[
    list[Path] | None,
    typer.Option("--file", help="A single artifact, such as parameters.json. Repeatable."),
]
TargetOption = Annotated[Path, typer.Option("--out", help="File or folder for the attestation.")]
AuditedRunOption = Annotated[
    Path | None, typer.Option(help="The folder of a run, for its chain and artifacts.")
]


@attest_app.command("attest")
def audit_attest(
    evidence: Annotated[Path, typer.Argument(help="The evidence file that the aggregator wrote.")],
    keystore: KeystoreOption,
    password_file: PasswordOption,
    file: TargetOption = Path(),
    artifacts: ArtifactsOption = None,
    single: FileOption = None,
    repetition: Annotated[
        list[Path] | None,
        typer.Option(
            help="An organization's report of rounds that it repeated before an auditor, with the "
            "new deltas beside it. Repeatable."
        ),
    ] = None,
    texts: Annotated[
        Path | None,
        typer.Option(help="The organization's pairs, for a counter-training. Needs torch."),
    ] = None,
    subject: Annotated[
        str | None, typer.Option(help="The data subject among them. Default: all pairs.")
    ] = None,
    unseen: Annotated[
        Path | None, typer.Option(help="Pairs of the same kind that no one trained on.")
    ] = None,
    base_model: Annotated[
        str | None, typer.Option(help="Folder or hub id of the base model, with --texts.")
    ] = None,
    device: Annotated[str, typer.Option(help="Torch device to measure on.")] = "auto",
    accept_skipped: Annotated[
        list[str] | None,
        typer.Option(
            help="Sign although this check was not measured; the attestation says so. Repeatable."
        ),
    ] = None,
    run: AuditedRunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """As an auditor, check and measure a replay or counter-training, and sign what was found."""
    from rescind.audit import attest
    from rescind.cli.measuring import measure_of
    from rescind.daemon import open_keystore
    from rescind.withdrawals import EvidenceDocument, Repetition

    with reported_errors():
        reports = repetition or []
        attestation, findings = attest(
            open_consortium(run, rpc, contracts),
            EvidenceDocument.read(evidence),
            open_keystore(keystore, password_file),
            artifacts=[*_folders(run, artifacts), *(path.parent for path in reports)],
            files=single or (),
            repetitions=[Repetition.read(path) for path in reports],
            measure=measure_of(texts, subject, unseen, base_model, device),
            accept_skipped=accept_skipped or (),
        )
        name = (
            f"withdrawal-{attestation.withdrawal_id}-model-{attestation.model_id}-"
            f"{attestation.auditor}.json"
        )
        path = file / name if file.is_dir() else file
        attestation.save(path)
        _print(path, attestation, findings, as_json=as_json)


def _folders(run: Path | None, artifacts: Sequence[Path] | None) -> Sequence[Path]:
    from rescind.devnet import RunFolder

    return artifacts or ([RunFolder(run).store] if run is not None else [])


def _print(
    path: Path, attestation: Attestation, findings: Sequence[Finding], *, as_json: bool
) -> None:
    if as_json:
        print_json(
            {"attestation": str(path), **attestation.model_dump(mode="json")}
            | {"findings": [asdict(finding) for finding in findings]}
        )
        return
    for finding in findings:
        text = f"{finding.status:<8}  {finding.name:<13} {finding.detail}"
        out.print(plain(text), soft_wrap=True)
    out.print(plain(f"attested by {attestation.auditor}: {path}"), soft_wrap=True)


@attest_app.command("submit")
def audit_submit(
    evidence: Annotated[Path, typer.Argument(help="The evidence that was attested.")],
    attestations: Annotated[
        list[Path], typer.Argument(help="Attestations of it, one file for each auditor.")
    ],
    keystore: KeystoreOption,
    password_file: PasswordOption,
    run: AuditedRunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the attestations of a withdrawal on chain. Anyone can, with a quorum of them."""
    from rescind.withdrawals import Attestation, EvidenceDocument

    with reported_errors():
        document = EvidenceDocument.read(evidence)
        reader = open_consortium(run, rpc, contracts)
        signed = _ascending(Attestation.read(path) for path in attestations)
        signatures = [each.check(document, reader) for each in signed]
        consortium = _of_account(reader, keystore, password_file)
        receipt = consortium.attest_withdrawal(
            document.withdrawal_id, document.model.model_id, document.sha256, signatures
        )
        facts = {
            "withdrawal": document.withdrawal_id,
            "auditors": [each.auditor for each in signed],
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)


@attest_app.command("attest-round")
def audit_attest_round(
    round_id: Annotated[int, typer.Argument(min=1, help="A final round.")],
    keystore: KeystoreOption,
    password_file: PasswordOption,
    file: TargetOption = Path(),
    artifacts: ArtifactsOption = None,
    single: FileOption = None,
    run: AuditedRunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """As an auditor, check and sign a round: every accepted contribution opens its point."""
    from rescind.audit import attest_round
    from rescind.daemon import open_keystore

    with reported_errors():
        attestation, findings = attest_round(
            open_consortium(run, rpc, contracts),
            round_id,
            open_keystore(keystore, password_file),
            artifacts=_folders(run, artifacts),
            files=single or (),
        )
        name = f"round-{round_id}-{attestation.auditor}.json"
        path = file / name if file.is_dir() else file
        attestation.save(path)
        facts = {
            "attestation": str(path),
            "round": round_id,
            "auditor": attestation.auditor,
            "contributions_checked": len(findings),
            "evidence": attestation.evidence,
        }
        print_facts(facts, as_json=as_json)


@attest_app.command("submit-round")
def audit_submit_round(
    attestations: Annotated[
        list[Path], typer.Argument(help="Attestations of one round, one file for each auditor.")
    ],
    keystore: KeystoreOption,
    password_file: PasswordOption,
    run: AuditedRunOption = None,
    rpc: RpcOption = None,
    contracts: ContractsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put the attestations of a round on chain. Anyone can, with a quorum of them."""
    from rescind.withdrawals import RoundAttestation, round_evidence

    with reported_errors():
        reader = open_consortium(run, rpc, contracts)
        signed = _ascending(RoundAttestation.read(path) for path in attestations)
        round_id = _one_round(signed)
        evidence = round_evidence(reader, round_id)
        signatures = [each.check(evidence, reader) for each in signed]
        consortium = _of_account(reader, keystore, password_file)
        receipt = consortium.attest_round(round_id, evidence, signatures)
        facts = {
            "round": round_id,
            "auditors": [each.auditor for each in signed],
            "transaction": receipt.tx_hash,
        }
        print_facts(facts, as_json=as_json)


def _ascending(attestations: Iterable[_Signed]) -> list[_Signed]:
    """Return attestations in the order that the contracts ask for."""
    return sorted(attestations, key=lambda each: each.auditor.lower())


def _one_round(attestations: Sequence[RoundAttestation]) -> int:
    """Return the round of some attestations.

    Raises:
        ConfigError: They are of several rounds.
    """
    rounds = sorted({each.round_id for each in attestations})
    if len(rounds) != 1:
        raise ConfigError(
            f"These attestations are of rounds {', '.join(map(str, rounds))}. Pass those of one "
            "round."
        )
    return rounds[0]


def _of_account(reader: Consortium, keystore: Path, password_file: Path) -> Consortium:
    from rescind.contracts import Consortium
    from rescind.daemon import open_keystore

    account = open_keystore(keystore, password_file)
    return Consortium(reader.chain, reader.deployment, account, index=reader.index)
