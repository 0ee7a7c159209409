"""Interquartile means and their intervals (Agarwal et al. 2021, arXiv 2108.13264), not means of few runs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import trim_mean

RESAMPLES = 2_000
Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Estimate:
    """`low` and `high`: a 95 % percentile interval. Not numbers where nothing could be measured."""

    iqm: float
    low: float
    high: float

    def __str__(self) -> str:
        if np.isnan(self.iqm):
            return "-"
        return f"{_digits(self.iqm)} [{_digits(self.low)}, {_digits(self.high)}]"


def iqm(values: Floats, axis: int | None = None) -> Floats | float:
    """Mean of the middle half, scipy's trim_mean of a quarter at both ends."""
    return trim_mean(values, 0.25, axis=axis)  # type: ignore[no-any-return]


def estimate(strata: Sequence[Sequence[float]]) -> Estimate:
    """The interquartile mean over all runs, resampled within each stratum (a cell's seeds)."""
    known = [np.asarray(s, np.float64)[~np.isnan(np.asarray(s, np.float64))] for s in strata]
    known = [stratum for stratum in known if stratum.size]
    if not known:
        return Estimate(float("nan"), float("nan"), float("nan"))
    dice = np.random.default_rng(0)
    drawn = np.concatenate(
        [s[dice.integers(0, s.size, size=(RESAMPLES, s.size))] for s in known], axis=1
    )
    low, high = np.quantile(np.asarray(iqm(drawn, axis=1)), [0.025, 0.975])
    return Estimate(float(iqm(np.concatenate(known))), float(low), float(high))


def _digits(value: float) -> str:
    return f"{value:.3f}" if abs(value) < 100 else f"{value:.1f}"
