"""Counter-based random numbers: functions of a key, not of earlier draws or threads.

A key is mixed from words by SplitMix64's finalizer (Steele, Lea and Flood 2014,
doi 10.1145/2660193.2660195).
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit

# Constants and shifts of SplitMix64. They are uint64 because numba makes a float of a uint64 and an
# int64, and loses bits.
_GOLDEN = np.uint64(0x9E3779B97F4A7C15)
_FIRST = np.uint64(0xBF58476D1CE4E5B9)
_SECOND = np.uint64(0x94D049BB133111EB)
_S30, _S27, _S31, _S11 = np.uint64(30), np.uint64(27), np.uint64(31), np.uint64(11)


@njit(cache=True, inline="always")
def mix(key: Any, word: Any) -> Any:
    """Return the key derived from `key` and one more word."""
    # The multiplier spreads small words, such as 0, 1 and 2, over all 64 bits before the finalizer.
    z = (np.uint64(key) + _GOLDEN) ^ (np.uint64(word) * _FIRST)
    z = (z ^ (z >> _S30)) * _FIRST
    z = (z ^ (z >> _S27)) * _SECOND
    return z ^ (z >> _S31)


@njit(cache=True, inline="always")
def uniform(key: Any) -> float:
    """Return a number in [0, 1) with 53 random bits."""
    # The upper 53 of 64 bits, over 2^53: as many as a float64 holds exactly.
    return float(key >> _S11) * (1.0 / 9007199254740992.0)


@njit(cache=True)
def normal(key: Any) -> float:
    """Return a standard normal number (Box and Muller 1958)."""
    # In (0, 1], because the logarithm of 0 is not finite.
    first = 1.0 - uniform(mix(key, 1))
    return math.sqrt(-2.0 * math.log(first)) * math.cos(2.0 * math.pi * uniform(mix(key, 2)))
