"""The budget of the linear digest: how short an adapter must be for its digest to bind it.

1. Two different openings of one digest, each of L2 norm up to B, differ by a ring-SIS solution of
   norm up to 2B. The digest binds as long as no one can find such a solution.
2. B is the norm of what is opened: one owner's tensors in an adapter, in integer units. Each owner
   has an opening of its own, so the number of members does not count. `check_delta` bounds every
   delta, the contract bounds the weights, and every holder of an adapter checks the norm of each
   owner against `adapter_norm_bound`, which follows from the two by the triangle inequality.
3. Lattice reduction of root Hermite factor d reaches 2^(2 sqrt(n log2 q log2 d)) in these
   lattices, at the subdimension that suits it best (Micciancio and Regev, "Lattice-based
   Cryptography", 2009).
4. BKZ of block size b reaches d = ((pi b)^(1/b) b / (2 pi e))^(1 / (2 (b - 1))) (Chen, thesis,
   2013).
5. It costs at least one call to a shortest-vector solver of dimension b, 2^(0.292 b) by classical
   sieving (Becker, Ducas, Gama and Laarhoven, SODA 2016; counted so in "core-SVP": Alkim, Ducas,
   Poeppelmann and Schwabe, USENIX Security 2016).
"""

from __future__ import annotations

import math

from rescind.core.delta import WEIGHT_ONE
from rescind.core.errors import ConfigError
from rescind.core.hiding import HIDING_BOUND
from rescind.core.ring import DEGREE, MODULUS

MINIMUM_BITS = 110
"""Core-SVP bits that the parameters of a consortium must leave."""
BITS_PER_DIMENSION = 0.292
"""The exponent of classical sieving."""
_BLOCK_SIZES = (60.0, 2.0**20)
"""The range that is searched.

Chen's formula holds above about 50; at 60 reduction reaches only norms far above q.
"""


class DigestBudgetExceeded(ConfigError):
    """The agreed parameters allow adapters that are too long for their digest to bind."""

    code = "config-digest-budget"


def hermite_factor(block_size: float) -> float:
    """Return the root Hermite factor that BKZ of this block size reaches (Chen 2013)."""
    b = block_size
    return float(((math.pi * b) ** (1 / b) * b / (2 * math.pi * math.e)) ** (1 / (2 * (b - 1))))


def shortest_reached(block_size: float) -> float:
    """Return the L2 norm of the ring-SIS solutions that BKZ of this block size finds."""
    exponent = DEGREE * math.log2(MODULUS) * math.log2(hermite_factor(block_size))
    return float(2 ** (2 * math.sqrt(exponent)))


def core_svp_bits(norm: float) -> float:
    """Return log2 of the cost of finding two openings of one digest, of L2 norm up to `norm`.

    It is zero from q/2 on, where a collision is trivial: q times anything digests as zero.
    """
    if norm >= MODULUS / 2:
        return 0.0
    low, high = _BLOCK_SIZES
    while high - low > 1e-6:
        middle = (low + high) / 2
        low, high = (middle, high) if shortest_reached(middle) > 2 * norm else (low, middle)
    return BITS_PER_DIMENSION * low


def largest_norm(bits: float) -> float:
    """Return the L2 norm that leaves exactly `bits`."""
    return shortest_reached(bits / BITS_PER_DIMENSION) / 2


def adapter_norm_bound(
    *, clip_norm: float, fraction_bits: int, max_rounds: int, hiding: bool = False
) -> float:
    """Return the L2 norm that one owner's sum of weighted deltas never exceeds, in integer units.

    A round adds at most 10,000 times a delta's bound to an owner's tensors: in `blocks` its one
    delta weighs 10,000, in `shared` the weights of a round sum to at most 10,000.

    Args:
        clip_norm: The bound of a delta's L2 norm, in parameter units.
        fraction_bits: The fixed-point resolution.
        max_rounds: The most rounds that an adapter sums.
        hiding: Whether every delta carries a hiding tensor.
    """
    delta = math.hypot(clip_norm * 2.0**fraction_bits, HIDING_BOUND if hiding else 0.0)
    return max_rounds * WEIGHT_ONE * delta


def check_budget(norm: float) -> float:
    """Return the bits that openings of L2 norm up to `norm` leave.

    Raises:
        DigestBudgetExceeded: They are fewer than MINIMUM_BITS.
    """
    bits = core_svp_bits(norm)
    if bits < MINIMUM_BITS:
        raise DigestBudgetExceeded(
            f"the linear digest of an adapter would bind with {bits:.1f} bits, but the minimum is "
            f"{MINIMUM_BITS}: the L2 norm of an owner's tensors may reach 2^{math.log2(norm):.1f}, "
            f"{norm / largest_norm(MINIMUM_BITS):.3g} times too much; lower max_rounds, clip_norm "
            "or fraction_bits"
        )
    return bits
