"""The Gaussian mechanism: how much noise an (epsilon, delta) takes, and where the noise comes from.

A release with L2 sensitivity s and Gaussian noise of deviation m s on each entry is (epsilon,
delta)-differentially private exactly if (Balle and Wang 2018, arXiv 1805.06530, Theorem 8)

    Phi(1 / 2m - epsilon m) - e^epsilon Phi(-1 / 2m - epsilon m) <= delta.

Several releases with multipliers m_1, m_2, ... are one with 1/m^2 = sum of 1/m_i^2.
"""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator

import numpy as np
from cryptography.hazmat.primitives.ciphers import Cipher, algorithms
from numpy.typing import NDArray
from scipy.special import log_ndtr, ndtri

SECRET_BYTES = 32
"""256 bits: as many as the ChaCha20 keys derived from the secret."""
_GRID = 2.0**-20
"""Multipliers are multiples of this, so that the last bits of a library's Phi do not matter."""
_MOST = 2.0**20
_DRAWS = 4
"""Gaussians in the sum that makes one value, so that the gaps between floats reveal nothing (Holohan
and Braghin 2021, arXiv 2107.10138)."""
_PIECE = 2**18


def gaussian_delta(multiplier: float, epsilon: float) -> float:
    """Return the least delta at which the mechanism is (epsilon, delta)-private."""
    near, far = 0.5 / multiplier, epsilon * multiplier
    return float(
        math.exp(log_ndtr(near - far)) - math.exp(min(0.0, epsilon + log_ndtr(-near - far)))
    )


def gaussian_multiplier(epsilon: float, delta: float) -> float:
    """Return the least deviation, in units of the sensitivity, that is (epsilon, delta)-private.

    It is a multiple of 2^-20, rounded up.

    Raises:
        ValueError: It would be more than 2^20.
    """
    if gaussian_delta(_MOST, epsilon) > delta:
        raise ValueError(
            f"epsilon {epsilon:g} at delta {delta:g} needs noise of more than {_MOST:.0f} times what a "
            "person changes: agree on a larger epsilon or delta"
        )
    low, high = 0, int(_MOST / _GRID)
    while high - low > 1:
        middle = (low + high) // 2
        enough = gaussian_delta(middle * _GRID, epsilon) <= delta
        low, high = (low, middle) if enough else (middle, high)
    return high * _GRID


def gaussian_epsilon(multiplier: float, delta: float) -> float:
    """Return the least epsilon at which the mechanism is (epsilon, delta)-private, rounded up."""
    if gaussian_delta(multiplier, 0.0) <= delta:
        return 0.0
    low, high = 0.0, 1.0
    while gaussian_delta(multiplier, high) > delta:
        low, high = high, 2 * high
    while high - low > 1e-9 * high:
        middle = (low + high) / 2
        low, high = (middle, high) if gaussian_delta(multiplier, middle) > delta else (low, middle)
    return high


def integer_noise(secret: bytes, name: str, size: int, deviation: float) -> NDArray[np.int64]:
    """Return Gaussian noise rounded to integers, the same for the same arguments.

    Added to integers it is the Gaussian mechanism with its result rounded, so it is as private.

    Args:
        secret: 32 random bytes. Whoever knows them can subtract the noise.
        name: What the noise is for. Never use one name under one secret for two releases.
        size: The number of values.
        deviation: Their standard deviation.

    Raises:
        ValueError: The secret has another length.
    """
    if len(secret) != SECRET_BYTES:
        raise ValueError(f"the secret has {len(secret)} bytes; give {SECRET_BYTES}")
    key = hashlib.sha256(b"rescind.statistics-noise/1|" + secret + name.encode()).digest()
    noise = np.empty(size, dtype=np.int64)
    for start, gaussians in _pieces(key, size):
        noise[start : start + len(gaussians)] = np.rint(gaussians * deviation)
    return noise


def _pieces(key: bytes, size: int) -> Iterator[tuple[int, NDArray[np.float64]]]:
    stream = Cipher(algorithms.ChaCha20(key, bytes(16)), mode=None).encryptor()
    for start in range(0, size, _PIECE):
        count = min(_PIECE, size - start)
        words = np.frombuffer(stream.update(bytes(8 * _DRAWS * count)), dtype="<u8")
        # 52 bits, half a step away from 0 and 1, where the normal quantile is infinite.
        uniform = ((words >> np.uint64(12)).astype(np.float64) + 0.5) * 2.0**-52
        yield start, ndtri(uniform).reshape(_DRAWS, count).sum(axis=0) / math.sqrt(_DRAWS)
