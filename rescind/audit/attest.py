"""Making of attestations: check evidence against the chain and the artifacts, then sign it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from rescind.audit.contribution import check_contribution
from rescind.audit.examine import Examiner
from rescind.audit.findings import Finding, NotAttested
from rescind.audit.stores import Stores
from rescind.contracts import Account, ConsortiumReader, Contribution, RoundState
from rescind.core import ConsortiumParameters
from rescind.core.errors import VerificationError
from rescind.withdrawals import (
    Attestation,
    EvidenceDocument,
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
    allow_skipped: bool = False,
) -> tuple[Attestation, list[Finding]]:
    """Check evidence of a replay or a counter-training, then sign it.

    Args:
        reader: The chain to compare with.
        evidence: The evidence.
        auditor: The auditor's account.
        artifacts: Folders of artifacts; missing folders are ignored.
        files: Single artifacts, such as the model's adapter.
        allow_skipped: Whether to sign although something could not be checked.

    Returns:
        The attestation, and the findings of the checks.

    Raises:
        NotAttested: A check failed or was skipped, or the account is not an auditor's.
    """
    findings = examine(reader, evidence, artifacts=artifacts, files=files)
    skipped = [each for each in findings if not each.made]
    if skipped and not allow_skipped:
        listed = "; ".join(f"{each.name}: {each.detail}" for each in skipped)
        raise NotAttested(
            f"{len(skipped)} checks could not be made, so nothing was signed: {listed}. Pass the "
            "artifacts, or --allow-skipped to sign for the other checks alone."
        )
    _must_be_auditor(reader, auditor)
    return Attestation.sign(evidence, reader.deployment, auditor), findings


def examine(
    reader: ConsortiumReader,
    evidence: EvidenceDocument,
    *,
    artifacts: Sequence[Path] = (),
    files: Sequence[Path] = (),
) -> list[Finding]:
    """Check evidence without signing it; for the arguments see `attest`.

    Raises:
        NotAttested: The first check that failed.
    """
    return Examiner(reader, evidence, Stores(artifacts, files)).findings()


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
        _finding(contribution, stores, parameters)
        for contribution in accepted_contributions(reader, round_id)
    ]
    _must_be_auditor(reader, auditor)
    evidence = round_evidence(reader, round_id)
    return RoundAttestation.sign(reader, round_id, evidence, auditor), findings


def _finding(
    contribution: Contribution, stores: Stores, parameters: ConsortiumParameters
) -> RoundFinding:
    wanted = contribution.parts.artifact_ids[0]
    data = stores.load(wanted)
    if data is None:
        raise NotAttested(
            f"the contribution {wanted} of {contribution.organization} to round "
            f"{contribution.round_id} is not at hand. Pass the aggregator's store with "
            "--artifacts; if it withholds a contribution, do not attest."
        )
    try:
        check_contribution(data, contribution, parameters)
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
    return ConsortiumParameters.parse(data)


def _must_be_auditor(reader: ConsortiumReader, auditor: Account) -> None:
    if auditor.address not in reader.auditors():
        raise NotAttested(
            f"{auditor.address} is not an auditor of this consortium. Sign with an auditor's key."
        )
