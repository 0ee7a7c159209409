"""An auditor's checks of a counter-training: the guard and a membership attack on the model."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.audit.case import Case
from rescind.audit.findings import Finding, NotAttested
from rescind.contracts import Contribution, Entry
from rescind.core import Totals, block, is_hiding, l2_norm, owner
from rescind.withdrawals import Measure, ModelFigures, ModelPair

__all__ = ["Measure", "forgetting"]

_LEAST_KNOWN = 0.05
"""Nats a token. Below it there is nothing to forget that could be told from noise."""

_CHECKS = ("guard", "forgetting", "membership")


def forgetting(case: Case, measure: Measure | None) -> list[Finding]:
    """Run the guard and a membership attack on the model, on the withdrawn texts.

    Args:
        case: The evidence.
        measure: Measures the model; None if the texts are not at hand.

    Raises:
        NotAttested: The guard refuses the model, or it still knows the texts.
    """
    if not case.offers:
        raise NotAttested("no counter-delta was offered, so nothing can have been forgotten")
    if measure is None:
        missing = "the withdrawn texts are not at hand: pass --texts and --base-model"
        return [Finding(name, "skipped", missing) for name in _CHECKS]
    pair = _pair(case, case.offers[-1])
    if pair is None:
        missing = "not all contributions in the model are at hand"
        return [Finding(name, "skipped", missing) for name in _CHECKS]
    figures = measure(pair)
    return [
        _guard(figures, pair),
        _forgotten(case, figures),
        _membership(case, figures),
        Finding(
            "texts",
            "stated",
            f"that the {figures.withdrawn} withdrawn pairs are those that were trained on, by the "
            "word of the party that gave them",
            needed=False,
        ),
    ]


def _pair(case: Case, offer: Contribution) -> ModelPair | None:
    """Return the model with and without a counter-delta; None if something is not at hand."""
    parameters, delta = case.parameters, case.delta(offer)
    if parameters is None or delta is None:
        return None
    name = owner(parameters.layout, offer.organization)
    own = [
        each
        for each in case.content
        if parameters.layout == "shared" or each.organization == offer.organization
    ]
    before, after = (
        _served(case, name, entries)
        for entries in ([each for each in own if not _is(each, offer)], own)
    )
    if before is None or after is None:
        return None
    size = l2_norm({key: value for key, value in delta.items() if not is_hiding(key)})
    return ModelPair(parameters, name, before, after, size / 2.0**parameters.fraction_bits)


def _is(entry: Entry, offer: Contribution) -> bool:
    return not entry.round_id and entry.point_hash == offer.parts.point_hashes[0]


def _served(case: Case, name: str, entries: Sequence[Entry]) -> Totals | None:
    totals = case.served(entries)
    return None if totals is None else block(totals, name)


def _guard(figures: ModelFigures, pair: ModelPair) -> Finding:
    if figures.verdict != "ok":
        raise NotAttested(
            f"the guard, run on the model with the counter-delta, finds it {figures.verdict}: "
            f"{figures.why}. Do not attest; the withdrawal can become a removal "
            "(`rescind withdraw escalate`)."
        )
    return Finding(
        "guard",
        "measured",
        f"ok on {figures.withdrawn} withdrawn and {figures.kept} kept pairs",
        {
            "verdict": figures.verdict,
            "withdrawn": figures.withdrawn,
            "kept": figures.kept,
            "change_norm": pair.change_norm,
        },
    )


def _forgotten(case: Case, figures: ModelFigures) -> Finding:
    least = case.limits.forgotten
    measured: dict[str, float | int | str | None] = {
        "loss_before": figures.loss_before,
        "loss_after": figures.loss_after,
        "never_taught": figures.never_taught,
        "limit": least,
    }
    losses = (
        f"the withdrawn answers have {figures.loss_before:.3g} nats a token without the "
        f"counter-delta, {figures.loss_after:.3g} with it, and {figures.never_taught:.3g} under a "
        "model that never saw them"
    )
    if figures.known < _LEAST_KNOWN:
        return Finding(
            "forgetting",
            "skipped",
            f"{losses}: the model did not know these texts, so check that they are the withdrawn "
            "ones",
            measured,
        )
    if figures.forgotten < least:
        raise NotAttested(
            f"{losses}: {figures.forgotten:.0%} of what it knew is gone, and at least {least:.0%} "
            "must be. The model still knows the texts. Do not attest; the withdrawal can become a "
            "removal (`rescind withdraw escalate`)."
        )
    measured["forgotten"] = figures.forgotten
    detail = f"{losses}: {figures.forgotten:.0%} of what it knew is gone"
    return Finding("forgetting", "measured", detail, measured)


def _membership(case: Case, figures: ModelFigures) -> Finding:
    if figures.auc is None or figures.auc_base is None or figures.auc_error is None:
        missing = "texts of the same kind that no one trained on are not at hand: pass --unseen"
        return Finding("membership", "skipped", missing)
    # With few pairs chance alone moves an AUC by two standard errors.
    most = max(0.5, figures.auc_base) + max(case.limits.membership, 2 * figures.auc_error)
    shown = f"the loss attack has AUC {figures.auc:.3g} on the model, {figures.auc_base:.3g} on the base"
    if figures.auc > most:
        raise NotAttested(
            f"{shown}, and at most {most:.3g} is accepted: the withdrawn texts can be told from "
            "unseen ones. Do not attest; the withdrawal can become a removal "
            "(`rescind withdraw escalate`)."
        )
    return Finding(
        "membership",
        "measured",
        shown,
        {
            "auc": figures.auc,
            "auc_base": figures.auc_base,
            "limit": min(most, 1.0),
            "unseen": figures.unseen,
        },
    )
