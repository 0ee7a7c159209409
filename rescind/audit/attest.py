"""Making of attestations: check evidence against the chain and the artifacts, then sign it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rescind.audit.contribution import check_contribution
from rescind.audit.examine import Examiner
from rescind.audit.findings import Finding, NotAttested, statements
from rescind.audit.forgotten import Measure
from rescind.audit.stores import Stores
from rescind.contracts import Account, ConsortiumReader, Contribution, RoundState
from rescind.core import ConsortiumParameters
from rescind.core.errors import VerificationError
from rescind.withdrawals import (
    Attestation,
    EvidenceDocument,
    Repetition,
    RoundAttestation,
    accepted_contributions,
    round_evidence,
)


def attest(
    reader: ConsortiumReader,
    evidence: EvidenceDocument,
    auditor: Account,
    *,
    artifacts: Sequence[Path] = (),
    files: Sequence[Path] = (),
    repetitions: Sequence[Repetition] = (),
    measure: Measure | None = None,
    accept_skipped: Sequence[str] = (),
) -> tuple[Attestation, list[Finding]]:
    """Check and measure a replay or a counter-training, then sign what was found.

    Args:
        reader: The chain to compare with.
        evidence: The evidence.
        auditor: The auditor's account.
        artifacts: Folders of artifacts; missing folders are ignored.
        files: Single artifacts, such as the model's adapter.
        repetitions: Organizations' reports of rounds that they repeated before a witness.
        measure: Measures a counter-training on the withdrawn texts.
        accept_skipped: Names of checks that need not be measured; "repetition" is that of every
            organization.

    Returns:
        The attestation, and the findings of the checks.

    Raises:
        NotAttested: A check failed or was not measured, or the account is not an auditor's.
    """
    examiner = Examiner(reader, evidence, Stores(artifacts, files), repetitions, measure)
    findings = examiner.findings()
    _refuse_open(findings, accept_skipped)
    _must_be_auditor(reader, auditor)
    signed = Attestation.sign(evidence, reader.deployment, auditor, statements(findings))
    return signed, findings


def _refuse_open(findings: Sequence[Finding], accepted: Sequence[str]) -> None:
    """Refuse to sign what was not measured, unless the auditor named it.

    Raises:
        NotAttested: A check was skipped or rests on somebody's word.
    """
    known = {each.name for each in findings} | {each.name.split()[0] for each in findings}
    unknown = [name for name in accepted if name not in known]
    if unknown:
        raise NotAttested(
            f"there is no check {unknown[0]!r} of this evidence. Checks: {', '.join(sorted(known))}"
        )
    refused = [
        each
        for each in findings
        if each.is_open and not {each.name, each.name.split()[0]} & set(accepted)
    ]
    if refused:
        listed = "; ".join(f"{each.name} ({each.status}): {each.detail}" for each in refused)
        options = " ".join(f"--accept-skipped {name!r}" for name in _families(refused))
        raise NotAttested(
            f"{len(refused)} checks were not measured, so nothing was signed: {listed}. Give what "
            f"is missing, or sign for the other checks alone with {options}; the attestation then "
            "lists them as not measured."
        )


def _families(findings: Sequence[Finding]) -> list[str]:
    return list(dict.fromkeys(each.name.split()[0] for each in findings))


def examine(
    reader: ConsortiumReader,
    evidence: EvidenceDocument,
    *,
    artifacts: Sequence[Path] = (),
    files: Sequence[Path] = (),
    repetitions: Sequence[Repetition] = (),
    measure: Measure | None = None,
) -> list[Finding]:
    """Check evidence without signing it; for the arguments see `attest`.

    Raises:
        NotAttested: The first check that failed.
    """
    return Examiner(reader, evidence, Stores(artifacts, files), repetitions, measure).findings()


@dataclass(frozen=True)
class RoundFinding:
    """The result of checking one accepted contribution of a round."""

    organization: str
    artifact_id: str


def attest_round(
    reader: ConsortiumReader,
    round_id: int,
    auditor: Account,
    *,
    artifacts: Sequence[Path],
    files: Sequence[Path] = (),
) -> tuple[RoundAttestation, list[RoundFinding]]:
    """Check every accepted contribution of a final round, then sign for the round.

    Each must have the agreed tensors, be within the agreed norm and open its registered point.
    Nothing is skipped: without one of the artifacts nothing is signed.

    Args:
        reader: The chain.
        round_id: The round.
        auditor: The auditor's account.
        artifacts: Folders of artifacts; missing folders are ignored.
        files: Single artifacts, such as the agreed parameters.

    Raises:
        NotAttested: A contribution is not at hand or not as agreed, the round is not final, or the
            account is not an auditor's.
    """
    _check_final(reader, round_id)
    stores = Stores(artifacts, files)
    parameters = _parameters(reader, stores)
    findings = [
        _finding(contribution, part, stores, parameters)
        for contribution in accepted_contributions(reader, round_id)
        for part in range(len(contribution.parts.points))
    ]
    _must_be_auditor(reader, auditor)
    evidence = round_evidence(reader, round_id)
    return RoundAttestation.sign(reader, round_id, evidence, auditor), findings


def _finding(
    contribution: Contribution, part: int, stores: Stores, parameters: ConsortiumParameters
) -> RoundFinding:
    wanted = contribution.parts.artifact_ids[part]
    data = stores.load(wanted)
    if data is None:
        raise NotAttested(
            f"the contribution {wanted} of {contribution.organization} to round "
            f"{contribution.round_id} is not at hand. Pass the aggregator's store with "
            "--artifacts; if it withholds a contribution, do not attest."
        )
    try:
        check_contribution(data, contribution, parameters, part)
    except VerificationError as error:
        raise NotAttested(str(error)) from error
    return RoundFinding(contribution.organization, wanted)


def _check_final(reader: ConsortiumReader, round_id: int) -> None:
    last = reader.current_round_id()
    if not 1 <= round_id <= last:
        raise NotAttested(f"there is no round {round_id}: rounds are numbered from 1 to {last}")
    round_ = reader.round(round_id)
    if round_.state is not RoundState.FINAL:
        raise NotAttested(f"round {round_id} is {round_.state.value}. Wait until it is final.")
    if round_.attested:
        raise NotAttested(f"round {round_id} was attested before")


def _parameters(reader: ConsortiumReader, stores: Stores) -> ConsortiumParameters:
    wanted = reader.settings().parameters_id
    data = stores.load(wanted)
    if data is None:
        raise NotAttested(
            f"the agreed parameters {wanted} are not at hand. Pass the store with --artifacts, or "
            "parameters.json with --parameters."
        )
    return ConsortiumParameters.parse(bytes(data))


def _must_be_auditor(reader: ConsortiumReader, auditor: Account) -> None:
    if auditor.address not in reader.auditors():
        raise NotAttested(
            f"{auditor.address} is not an auditor of this consortium. Sign with an auditor's key."
        )
