"""TOFU's two headline figures: what a model is still good for, and how well it has forgotten."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike
from scipy.stats import hmean, ks_2samp

from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    shares,
    vector,
)


def harmonic_mean(values: Floats) -> Floats:
    """Over the last axis, of numbers that are not negative; 0 where one is 0."""
    with np.errstate(over="ignore"):
        return np.asarray(hmean(values, axis=-1))


def model_utility(components: Mapping[str, float]) -> Measured:
    """Harmonic mean of figures from 0 to 1, nine in TOFU: probability, ROUGE-L recall and truth ratio,
    each on the retain set, real authors and world facts (arXiv 2401.06121).

    0 as soon as one of them is. Items are the components, in their order.
    """
    values = shares("components", list(components.values()))
    details = {"components": dict(zip(components, values.tolist(), strict=True))}
    return Measured(
        "model_utility", float(harmonic_mean(values)), tuple(values.tolist()), details=details
    )


def forget_quality(truth_ratios: ArrayLike, reference_truth_ratios: ArrayLike) -> Measured:
    """p-value of the two-sample Kolmogorov-Smirnov test between a model's truth ratios on the forget
    set and those of a reference that never saw it (TOFU, arXiv 2401.06121).

    Details: `statistic` (0..1, the largest distance of the two distributions), `n`, `reference_n`.
    The number of questions decides how small p gets at one statistic, so the three belong together.
    Items are the model's truth ratios.
    """
    ours = vector("truth_ratios", truth_ratios)
    theirs = vector("reference_truth_ratios", reference_truth_ratios)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "ks_2samp: Exact calculation unsuccessful")
        found = ks_2samp(ours, theirs)
    details = {
        "statistic": float(found.statistic),
        "n": int(ours.size),
        "reference_n": int(theirs.size),
    }
    return Measured("forget_quality", float(found.pvalue), tuple(ours.tolist()), details=details)
