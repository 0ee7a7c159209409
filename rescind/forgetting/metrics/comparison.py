"""Metrics that compare a model with its earlier state, or with a replay without the forget set."""

from __future__ import annotations

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import bootstrap

from rescind.forgetting.metrics.registry import register_metric
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


@register_metric(
    higher="more forgotten at less damage", ideal="the replay's", source="this project"
)
def selectivity(
    forget_before: ArrayLike,
    forget_after: ArrayLike,
    retain_before: ArrayLike,
    retain_after: ArrayLike,
) -> Measured:
    """Return the mean drop of the forget set minus the mean drop of the retain set.

    A drop is before - after of any score that is higher for items that the model knows better:
    probability, ROUGE-L recall, exact memorization. The value is 0 when both sets fall alike, which
    is damage and not forgetting.

    Args:
        forget_before: The score of each item of the forget set before unlearning, (items,).
        forget_after: The same after unlearning, in the same order.
        retain_before: The score of each item of the retain set before unlearning.
        retain_after: The same after unlearning, in the same order.

    Returns:
        A Measured whose items are the forget set's drops. Details: `forget_drop`, `retain_drop`,
        `retain_n`.
    """
    forget_drops = _drops("forget", forget_before, forget_after)
    retain_drops = _drops("retain", retain_before, retain_after)
    forget_drop, retain_drop = float(forget_drops.mean()), float(retain_drops.mean())
    details = {
        "forget_drop": forget_drop,
        "retain_drop": retain_drop,
        "retain_n": int(retain_drops.size),
    }
    items = tuple(forget_drops.tolist())
    return Measured("selectivity", forget_drop - retain_drop, items, details=details)


@register_metric(higher="more kept", ideal="0", source="after DUSK, arXiv 2505.15209")
def shared_knowledge(before: ArrayLike, after: ArrayLike) -> Measured:
    """Return mean(after - before) over the items that a remaining organization knew too.

    Shared items must stay when one of the organizations leaves (in the manner of DUSK, arXiv
    2505.15209). 0 is ideal, and a negative value is lost knowledge.

    Args:
        before: A score of each item before unlearning, (items,), higher for better known.
        after: The same after unlearning, in the same order.

    Returns:
        A Measured whose items are the changes. Details: `before`, `after`, and `kept` =
        after / before, which is None where nothing was known before.
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


@register_metric(
    higher="above the replay", ideal="0", source="Efron and Tibshirani 1993 (interval)"
)
def gap_to_replay(
    measured: Measured,
    replayed: Measured,
    *,
    confidence: float = CONFIDENCE,
    resamples: int = RESAMPLES,
    seed: int = 0,
) -> Measured:
    """Return a metric's value on a model minus its value on the replay, with an interval.

    The interval is the paired percentile bootstrap over items (Efron and Tibshirani 1993).

    Args:
        measured: The metric on the model.
        replayed: The same metric on the replay, over the same items in the same order.
        confidence: The confidence level of the interval, between 0 and 1.
        resamples: The number of bootstrap resamples.
        seed: The seed of the resampling.

    Returns:
        A Measured whose items are the differences of the two models' items. Details: `low` and
        `high`, the bounds of the interval; `confidence`; `metric`; `found` and `replayed`, the two
        values.

    Raises:
        MetricInput: The two are different metrics or have different numbers of items, there are
            fewer than two items, or the value does not follow from the items (use
            `tofu.utility_gap` for the model utility).
    """
    if measured.metric != replayed.metric or measured.aggregate != replayed.aggregate:
        raise MetricInput(
            f"Cannot compare {measured.metric} of the model with {replayed.metric} of the replay. "
            "Pass the same metric of both."
        )
    if measured.aggregate is None:
        raise MetricInput(
            f"{measured.metric} does not follow from its items, so it has no paired interval."
        )
    measured_values, replayed_values = (
        vector("measured", measured.items),
        vector("replayed", replayed.items),
    )
    same_length(measured=len(measured_values), replayed=len(replayed_values))
    if len(measured_values) < 2:
        raise MetricInput("An interval over items needs at least two items, but there is one.")
    aggregate = AGGREGATES[measured.aggregate]

    def gap(model: Floats, replay: Floats, axis: int = -1) -> Floats:  # noqa: ARG001
        return aggregate(model) - aggregate(replay)

    interval = bootstrap(
        (measured_values, replayed_values),
        gap,
        paired=True,
        vectorized=True,
        method="percentile",
        n_resamples=resamples,
        confidence_level=checked_confidence(confidence),
        rng=np.random.default_rng(seed),
    ).confidence_interval
    details = {
        "metric": measured.metric,
        "found": measured.value,
        "replayed": replayed.value,
        "low": float(interval.low),
        "high": float(interval.high),
        "confidence": confidence,
    }
    items = tuple((measured_values - replayed_values).tolist())
    return Measured(
        "gap_to_replay", float(gap(measured_values, replayed_values)), items, details=details
    )


def checked_confidence(confidence: float) -> float:
    """Return the confidence level if it is valid.

    Raises:
        MetricInput: It is not between 0 and 1.
    """
    if not 0 < confidence < 1:
        raise MetricInput(f"confidence {confidence} is not between 0 and 1.")
    return confidence


def _drops(name: str, before: ArrayLike, after: ArrayLike) -> Floats:
    scores, left = vector(f"{name} before", before), vector(f"{name} after", after)
    same_length(**{f"{name}_before": len(scores), f"{name}_after": len(left)})
    return scores - left
