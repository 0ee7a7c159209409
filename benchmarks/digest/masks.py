"""The table of decision 010: what masks leave of the digest. `python -m benchmarks.digest.masks`

Pairwise masks with entries of deviation s hide a vector S with a distance of at most |S| / (2 s): the
total variation of two Gaussians. Every pair of members has a mask of its own, so what a member posts
carries n - 1 of them.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Iterator

from rescind.core.ngrams import NgramFeatures
from rescind.core.security import MINIMUM_BITS, core_svp_bits, largest_norm
from rescind.core.statistics import Classes

MEMBERS = (2, 4, 16, 128)
HIDING_BITS = (20, 40, 64)
TASKS = {
    "2,047 buckets, 4,096 rows": Classes(
        labels=tuple(f"{n:02d}" for n in range(77)), max_rows=4096, row_square=96
    ),
    "511 buckets, 4,096 rows": Classes(
        features=NgramFeatures(buckets=511),
        labels=tuple(f"{n:02d}" for n in range(77)),
        max_rows=4096,
        row_square=96,
    ),
}


def masked_norm(classes: Classes, members: int, hiding: int) -> float:
    """Return the L2 norm of what one member posts under masks."""
    size = classes.features.dimensions
    entries = size * (size + 1) // 2 + size * len(classes.labels)
    deviation = classes.norm_bound * 2.0 ** (hiding - 1)
    return deviation * math.sqrt((members - 1) * entries)


def unmasked_bits(classes: Classes, members: int) -> float:
    """Return the bits that an opened sum leaves: the masks are gone from it."""
    return core_svp_bits(classes.norm_bound * members)


def most_hiding(classes: Classes, members: int) -> float:
    """Return how many bits of hiding leave MINIMUM_BITS for what one member posts."""
    return math.log2(largest_norm(MINIMUM_BITS) / masked_norm(classes, members, 0))


def lines() -> Iterator[str]:
    """Yield the lines of the table in Markdown."""
    heads = [f"bits at hiding 2^-{hiding}" for hiding in HIDING_BITS]
    yield f"| task | members | bits of the sum | {' | '.join(heads)} | most hiding at {MINIMUM_BITS} bits |"
    yield "|---" * (4 + len(heads)) + "|"
    for name, classes in TASKS.items():
        for members in MEMBERS:
            cells = [
                f"{core_svp_bits(norm):.0f} (2^{math.log2(norm):.0f})"
                for norm in (masked_norm(classes, members, hiding) for hiding in HIDING_BITS)
            ]
            yield (
                f"| {name} | {members} | {unmasked_bits(classes, members):.0f} "
                f"| {' | '.join(cells)} | 2^-{most_hiding(classes, members):.0f} |"
            )


if __name__ == "__main__":
    sys.stdout.write("\n".join(lines()) + "\n")
