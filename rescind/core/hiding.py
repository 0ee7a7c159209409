"""The block of noise that makes the digest of a delta reveal nothing about the delta.

It is one more tensor, so it is digested and summed like any other. The regularity lemma
(Lyubashevsky, Peikert and Regev, "A Toolkit for Ring-LWE Cryptography", Eurocrypt 2013,
Corollary 7.5) says: for m uniform ring elements a_j, and x_j from a discrete Gaussian of
parameter r >= 2n q^(1/m + 2/(mn)), sum a_j x_j is within 2^-Omega(n) of uniform. For n = 2048,
m = 8 and this q that is r >= 2^19.75. The lemma measures in the canonical embedding, sqrt(n)
times the coefficients, where standard deviation 2^20 is r = 2^20 sqrt(2 pi n) = 2^26.8; it holds
with room even if the sqrt(n) is left out. Rounding a continuous Gaussian instead of sampling the
discrete one multiplies the Fourier transform by a sinc, at most 1, and the lemma's proof bounds a
sum of that transform's absolute values.
"""

from __future__ import annotations

import hashlib
import os

import numpy as np
from numpy.typing import NDArray

HIDING = "digest.hiding"
"""The bare name of the hiding tensor."""
HIDING_SHAPE = (8, 2048)
_DOMAIN = b"rescind.hiding/1|"
HIDING_DEVIATION = 2.0**20
"""The standard deviation of an entry."""
HIDING_BOUND = 1.125 * HIDING_DEVIATION * (8 * 2048) ** 0.5
"""The L2 norm that an honest block stays under: over 20 standard deviations above the mean norm."""


def is_hiding(name: str) -> bool:
    """Return whether a bare name or OWNER/NAME is that of the hiding tensor."""
    return name.rpartition("/")[2] == HIDING


def hiding_block(seed: bytes | None = None) -> NDArray[np.int32]:
    """Return noise of shape (8, 2048). Never use it for two deltas.

    Box-Muller over 53-bit uniforms: no entry is beyond 9 standard deviations.

    Args:
        seed: 32 secret bytes that are used for one delta only; by default fresh ones of the operating
            system. The same seed gives the same noise on one machine; logarithm and cosine of
            another may round differently.
    """
    secret = os.urandom(32) if seed is None else seed
    words = hashlib.shake_256(_DOMAIN + secret).digest(16 * HIDING_SHAPE[0] * HIDING_SHAPE[1])
    uniforms = (np.frombuffer(words, dtype="<u8") >> np.uint64(11)) + np.uint64(1)
    radius, angle = (uniforms * 2.0**-53).reshape(2, *HIDING_SHAPE)
    normal = np.sqrt(-2.0 * np.log(radius)) * np.cos(2.0 * np.pi * angle)
    block: NDArray[np.int32] = np.rint(HIDING_DEVIATION * normal).astype(np.int32)
    return block
