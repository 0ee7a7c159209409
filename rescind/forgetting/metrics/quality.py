"""TOFU's two headline figures: model utility and forget quality."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import hmean, ks_2samp

from rescind.forgetting.metrics.registry import TOFU, register_metric
from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    shares,
    vector,
)


def harmonic_mean(values: Floats) -> Floats:
    """Return the harmonic mean of nonnegative numbers over the last axis; 0 where one is 0."""
    with np.errstate(over="ignore"):
        return np.asarray(hmean(values, axis=-1))


@register_metric(low=0, high=1, higher="more useful", ideal="1", source=TOFU)
def model_utility(components: Mapping[str, float]) -> Measured:
    """Return the harmonic mean of figures from 0 to 1 (TOFU, arXiv 2401.06121).

    TOFU has nine: probability, ROUGE-L recall and truth ratio, each on the retain set, real authors
    and world facts. The utility is 0 as soon as one of them is 0.

    Args:
        components: The figures by name. The items of the result are the figures in this order.
    """
    values = shares("components", list(components.values()))
    details = {"components": dict(zip(components, values.tolist(), strict=True))}
    items = tuple(values.tolist())
    return Measured("model_utility", float(harmonic_mean(values)), items, details=details)


@register_metric(
    low=0,
    high=1,
    higher="less unlike the reference",
    ideal="1; above 0.05 not distinguished at this n",
    source=TOFU,
)
def forget_quality(truth_ratios: ArrayLike, reference_truth_ratios: ArrayLike) -> Measured:
    """Return the p-value of a Kolmogorov-Smirnov test on truth ratios (TOFU, arXiv 2401.06121).

    The two-sample test compares a model's truth ratios on the forget set with those of a reference
    that never saw it. The number of questions decides how small p gets at one statistic, so report
    statistic, p and n together.

    Args:
        truth_ratios: The model's truth ratios on the forget set, (items,).
        reference_truth_ratios: The reference's truth ratios, (reference items,).

    Returns:
        A Measured whose items are the model's truth ratios. Details: `statistic` (0..1, the largest
        distance of the two distributions), `n`, `reference_n`.
    """
    ratios = vector("truth_ratios", truth_ratios)
    reference_ratios = vector("reference_truth_ratios", reference_truth_ratios)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful")
        test = ks_2samp(ratios, reference_ratios)
    details = {
        "statistic": float(test.statistic),
        "n": int(ratios.size),
        "reference_n": int(reference_ratios.size),
    }
    return Measured("forget_quality", float(test.pvalue), tuple(ratios.tolist()), details=details)
