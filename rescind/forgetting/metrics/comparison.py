"""Metrics that compare a model with itself before, or with a replay that never saw what is forgotten."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

from rescind.forgetting.metrics.values import (
    AGGREGATES,
    Floats,
    Measured,
    MetricInput,
    of_items,
    same_length,
    vector,
)

CONFIDENCE = 0.95
RESAMPLES = 2000


def selectivity(
    forget_before: ArrayLike,
    forget_after: ArrayLike,
    retain_before: ArrayLike,
    retain_after: ArrayLike,
) -> Measured:
    """Return the loss of the forget set minus that of the retain set: mean(before - after) of each.

    Takes any score for each item that is higher for better known: probability, ROUGE-L recall,
    exact memorization. 0 when both fall alike, which is damage and not forgetting. Details:
    `forget_drop`, `retain_drop`, `retain_n`. Items are the forget set's drops.
    """
    forgotten = _drops("forget", forget_before, forget_after)
    lost = _drops("retain", retain_before, retain_after)
    forget_drop, retain_drop = float(forgotten.mean()), float(lost.mean())
    details = {"forget_drop": forget_drop, "retain_drop": retain_drop, "retain_n": int(lost.size)}
    return Measured(
        "selectivity", forget_drop - retain_drop, tuple(forgotten.tolist()), details=details
    )


def shared_knowledge(before: ArrayLike, after: ArrayLike) -> Measured:
    """mean(after - before) over the items that a remaining organization knew too: they must stay when
    one of them leaves (in the manner of DUSK, arXiv 2505.15209).

    Takes any score for each item that is higher for better known. 0 is ideal, negative is lost.
    Details: `before`, `after`, and `kept` = after / before, None where nothing was known before.
    Items are the changes.
    """
    drops = _drops("shared", before, after)
    known, kept = float(np.mean(vector("before", before))), float(np.mean(vector("after", after)))
    return of_items(
        "shared_knowledge",
        -drops,
        before=known,
        after=kept,
        kept=kept / known if known > 0 else None,
    )


def gap_to_replay(
    found: Measured,
    replayed: Measured,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measured:
    """A metric's value on a model minus its value on the replay, over the same items in one order.

    Details: `low` and `high`, the bounds of the paired percentile bootstrap over items (Efron and
    Tibshirani 1993) at `confidence`; `metric`, `found`, `replayed`. Items are the differences of the
    two models' items. Raises MetricInput for different metrics or items, for fewer than two items,
    and for a metric whose value is not made of its items (`tofu.utility_gap` does the utility).
    """
    if found.metric != replayed.metric or found.aggregate != replayed.aggregate:
        raise MetricInput(f"a gap of {found.metric} to {replayed.metric}: give one metric of both")
    if found.aggregate is None:
        raise MetricInput(f"{found.metric} is not made of its items, so it has no paired interval")
    ours, theirs = vector("found", found.items), vector("replayed", replayed.items)
    same_length(found=len(ours), replayed=len(theirs))
    if len(ours) < 2:
        raise MetricInput("an interval over items needs two items at least")
    aggregate = AGGREGATES[found.aggregate]

    def gap(one: Floats, other: Floats, axis: int = -1) -> Floats:  # noqa: ARG001
        return aggregate(one) - aggregate(other)

    interval = bootstrap(
        (ours, theirs),
        gap,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        confidence_level=_confidence(confidence),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    details = {
        "metric": found.metric,
        "found": found.value,
        "replayed": replayed.value,
        "low": float(interval.low),
        "high": float(interval.high),
        "confidence": confidence,
    }
    items = tuple((ours - theirs).tolist())
    return Measured("gap_to_replay", float(gap(ours, theirs)), items, details=details)


def _confidence(value: float) -> float:
    if not 0 < value < 1:
        raise MetricInput(f"confidence {value} is not between 0 and 1")
    return value


def _drops(name: str, before: ArrayLike, after: ArrayLike) -> Floats:
    known, left = vector(f"{name} before", before), vector(f"{name} after", after)
    same_length(**{f"{name}_before": len(known), f"{name}_after": len(left)})
    return known - left
