"""An auditor's checks of what was trained again: repetitions before a witness, and distances."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from rescind.audit.case import Case, Tensors
from rescind.audit.findings import Figure, Finding, NotAttested
from rescind.contracts import Contribution
from rescind.core import WEIGHT_ONE, add_totals, is_hiding, l2_norm
from rescind.wire import BadSignature
from rescind.withdrawals import RepeatedPart, Repetition, Sample, draw_samples

Place = tuple[str, int]
"""Organization and round of an offer."""


@dataclass(frozen=True)
class Repeated:
    """The findings on repetitions.

    Attributes:
        findings: One for each organization that offered.
        exact: Offers whose repetition before a witness gave the same bytes.
    """

    findings: tuple[Finding, ...]
    exact: frozenset[Place]


def repetitions(case: Case, reports: Sequence[Repetition]) -> Repeated:
    """Compare what organizations trained again with what they offered.

    Args:
        case: The evidence.
        reports: The organizations' reports.

    Raises:
        NotAttested: A report is not for this, not signed, not of the sample, or a repetition is
            further from the offer than the limit.
    """
    by_organization = {report.organization: report for report in reports}
    findings, exact = [], set[Place]()
    samples = draw_samples(case.reader, case.withdrawal, case.limits.sample)
    strangers = sorted(set(by_organization) - set(samples))
    if strangers:
        raise NotAttested(
            f"{strangers[0]} offered nothing for withdrawal {case.evidence.withdrawal_id}, so its "
            "repetition says nothing about it"
        )
    for organization, sample in samples.items():
        report = by_organization.get(organization)
        finding, same_bytes = _of_one(case, sample, organization, report)
        findings.append(finding)
        exact |= {(organization, number) for number in same_bytes}
    return Repeated(tuple(findings), frozenset(exact))


def _of_one(
    case: Case, sample: Sample, organization: str, report: Repetition | None
) -> tuple[Finding, set[int]]:
    name = f"repetition {organization}"
    listed = ", ".join(map(str, sample.rounds))
    if report is None:
        return Finding(
            name,
            "skipped",
            f"it has not repeated rounds {listed}, drawn by block {sample.block}. Ask it for "
            f"`rescind node repeat {case.evidence.withdrawal_id}` before an auditor",
        ), set()
    _check_report(case, sample, report)
    figures: dict[str, Figure] = {"block": sample.block, "block_hash": sample.block_hash}
    limits = []
    same_bytes: set[int] = set()
    for part in report.rounds:
        distance = _compare(case, report, part)
        if distance is None:
            return Finding(
                name, "skipped", f"the repeated delta of round {part.round_id} is not at hand"
            ), set()
        figures[f"round {part.round_id}"] = distance
        limits.append(_limit(case, report, _offer_of(case, report, part)))
        if not distance:
            same_bytes.add(part.round_id)
    figures |= {"limit": max(limits, default=0.0), **_stack(report)}
    shown = "; ".join(
        f"round {part.round_id} "
        + (_relative(figures[f"round {part.round_id}"]) or "gave the same bytes")
        for part in report.rounds
    )
    if not report.witness:
        return Finding(name, "stated", f"{shown}, without a witness", figures), set()
    return Finding(name, "measured", f"{shown}, before {report.witness}", figures), same_bytes


def _relative(distance: Figure) -> str:
    return f"is {distance:.2g} of its length away" if distance else ""


def _check_report(case: Case, sample: Sample, report: Repetition) -> None:
    """Check who signed a report, and that it is of this withdrawal's sample."""
    organization, evidence = report.organization, case.evidence
    try:
        report.check_signature()
        if report.witness:
            report.check_witness()
    except BadSignature as error:
        raise NotAttested(str(error)) from error
    if report.witness and report.witness not in case.reader.auditors():
        raise NotAttested(
            f"the witness {report.witness} of the repetition of {organization} is not an auditor "
            "of this consortium. Only an auditor can be a witness."
        )
    named = (report.chain_id, report.withdrawals, report.withdrawal_id)
    if named != (evidence.chain_id, evidence.withdrawals, evidence.withdrawal_id):
        raise NotAttested(
            f"the repetition of {organization} is for withdrawal {report.withdrawal_id} of the "
            f"contract {report.withdrawals}, not for this one"
        )
    missing = sorted(set(sample.rounds) - {part.round_id for part in report.rounds})
    if missing or report.block_hash != sample.block_hash:
        raise NotAttested(
            f"the repetition of {organization} has rounds "
            f"{', '.join(str(part.round_id) for part in report.rounds)}, drawn by block "
            f"{report.block}. The sample of block {sample.block} is "
            f"{', '.join(map(str, sample.rounds))}: ask it to repeat these."
        )


def _offer_of(case: Case, report: Repetition, part: RepeatedPart) -> Contribution:
    """Return the offer that a repetition is of.

    Raises:
        NotAttested: Another delta was offered for the round.
    """
    place = (report.organization, part.round_id)
    for offer in case.offers:
        same_place = (offer.organization, offer.round_id) == place
        if same_place and offer.parts.artifact_ids[0] == part.offered:
            return offer
    raise NotAttested(
        f"the repetition of {report.organization} is of another delta of round {part.round_id} "
        "than the one that was offered"
    )


def _compare(case: Case, report: Repetition, part: RepeatedPart) -> float | None:
    """Return how far a repetition is from the offer; None if a delta is not at hand."""
    organization, round_id = report.organization, part.round_id
    offer = _offer_of(case, report, part)
    start = case.offered_part(offer).report.get("start")
    if start != part.start:
        raise NotAttested(
            f"{organization} repeated round {round_id} from the start {part.start or 'base'}, but "
            f"offered a delta that was trained from {start or 'base'}"
        )
    repeated, offered = case.tensors(part.repeated, organization), case.delta(offer)
    if repeated is None or offered is None:
        return None
    distance = relative_distance(offered, repeated)
    limit = _limit(case, report, offer)
    if distance > limit:
        accepted = f"at most {limit:g} is accepted in {report.stack.precision}"
        if not limit:
            accepted = "the same stack (torch, device, threads, precision) gives the same bytes"
        raise NotAttested(
            f"{organization}, round {round_id}: trained again, the delta is {distance:.3g} of its "
            f"length away from the offered one, and {accepted}. The offer is not what this "
            "training gives. Do not attest; when the deadline has passed, anyone may run `rescind "
            f"withdraw escalate {case.evidence.withdrawal_id}`."
        )
    return distance


def _limit(case: Case, report: Repetition, offer: Contribution) -> float:
    """Return the largest distance to accept: 0 where the offer names the stack of the repetition."""
    stack = case.offered_part(offer).report.get("stack")
    if report.stack.deterministic and stack == report.stack.model_dump():
        return 0.0
    before = str(stack.get("precision", "")) if isinstance(stack, dict) else ""
    return case.limits.distance(report.stack.precision, before)


def _stack(report: Repetition) -> dict[str, Figure]:
    stack = report.stack
    return {"precision": stack.precision, "device": stack.device, "torch": stack.torch}


def distances(case: Case, exact: frozenset[Place] = frozenset()) -> Finding:
    """Show how far each offered delta is from its start and from the delta that it replaces.

    A delta that hardly differs from the one it replaces was not trained again, although its start
    or its data changed.

    Args:
        case: The evidence.
        exact: Offers whose repetition before a witness gave the same bytes.

    Raises:
        NotAttested: A norm is not as stated, or a delta was not trained again.
    """
    if case.parameters is None:
        return Finding("distances", "skipped", "the agreed parameters are not at hand")
    unit = 2.0**case.parameters.fraction_bits
    shown, figures = [], dict[str, Figure]()
    for offer in case.offers:
        new, replaced = case.delta(offer), case.replaced(offer)
        old = None if replaced is None else case.delta(replaced)
        if new is None or (offer.round_id and old is None):
            return Finding("distances", "skipped", "not all offered or replaced deltas are at hand")
        name = f"{offer.organization} round {offer.round_id}"
        size = l2_norm(new) / unit
        same_norm(f"norm of {name}", case.offered_part(offer).norm, size)
        figures[f"{name} from its start"] = size
        if replaced is None or old is None:
            shown.append(f"{name}: L2 {size:.4g} from its start, replaces nothing")
            continue
        relative = relative_distance(new, old)
        if (offer.organization, offer.round_id) not in exact:
            _must_be_new(case, offer, replaced, relative)
        figures[f"{name} from the one it replaces"] = relative
        shown.append(
            f"{name}: L2 {size:.4g} from its start, {relative:.2g} of the length of the one it "
            "replaces away from it"
        )
    return Finding("distances", "measured", "; ".join(shown) or "nothing was offered", figures)


def _must_be_new(case: Case, offer: Contribution, replaced: Contribution, relative: float) -> None:
    if relative > case.limits.near or not _must_differ(case, offer, replaced):
        return
    raise NotAttested(
        f"{offer.organization}, round {offer.round_id}: the offered delta is {relative:.2g} of its "
        f"length away from the one that it replaces, and more than {case.limits.near:g} is "
        "expected after a training from another start or on other data. It is the old delta. Do "
        "not attest, unless the round is repeated before an auditor: `rescind node repeat "
        f"{case.evidence.withdrawal_id} --round {offer.round_id}`."
    )


def _must_differ(case: Case, offer: Contribution, replaced: Contribution) -> bool:
    """Return whether a training again cannot give the delta that an offer replaces.

    A member whose data and start did not change gives the same bytes again. A member that withdraws
    a subject trains on other data; the start is another one once a round before it changed.
    """
    evidence = case.evidence
    if evidence.subject and offer.organization == evidence.organization:
        return True
    before, after = (
        {(each.round_id, each.point_hash, each.weight) for each in start}
        for start in (case.first_start(offer, replaced), case.start(case.content, offer))
    )
    return before != after


def change(case: Case) -> Finding:
    """Compare the size of the change of the model's adapter with the evidence."""
    claimed, parameters = case.evidence.change_norm, case.parameters
    if claimed is None:
        return Finding(
            "change", "stated", "the evidence states no size of the change", needed=False
        )
    after = case.totals(case.content)
    before = case.totals(case.reader.content(case.evidence.source_id))
    if after is None or before is None or parameters is None:
        # Contributions that were withdrawn may be gone for good, and nothing rests on this.
        detail = f"L2 {claimed:.4g} by the aggregator's word"
        return Finding("change", "stated", detail, needed=False)
    negative = {name: -value for name, value in before.items()}
    total = l2_norm(add_totals([after, negative]))
    size = total / 2.0**parameters.fraction_bits / WEIGHT_ONE
    same_norm("norm of the change", claimed, size)
    return Finding("change", "measured", f"the adapter changed by L2 {size:.4g}", {"norm": size})


def relative_distance(delta: Tensors, reference: Tensors) -> float:
    """Return the L2 norm of the difference of two deltas by that of the reference.

    Noise that hides a digest is left out. A tensor that only one has counts as zero in the other.
    """
    names = {name for name in (*delta, *reference) if not is_hiding(name)}
    difference, length = 0.0, 0.0
    for name in names:
        vector, reference_vector = (
            each[name].astype(np.float64).ravel() if name in each else np.zeros(1)
            for each in (delta, reference)
        )
        gap = vector - reference_vector
        difference += float(gap @ gap)
        length += float(reference_vector @ reference_vector)
    if not difference:
        return 0.0
    return math.sqrt(difference / length) if length else math.inf


def same_norm(what: str, claimed: float, actual: float) -> None:
    """Compare a stated norm with the measured one.

    Raises:
        NotAttested: They differ by more than rounding.
    """
    # Sums of floating-point numbers may differ in the last digits between machines.
    if not math.isclose(claimed, actual, rel_tol=1e-6):
        raise NotAttested(f"{what}: the evidence has {claimed:.6g}, but it is {actual:.6g}")
