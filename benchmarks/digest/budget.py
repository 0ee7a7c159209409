"""The table of security budgets in docs/digest.md: `python -m benchmarks.digest.budget`."""

from __future__ import annotations

import math
import sys

from rescind.core import MINIMUM_BITS, adapter_norm_bound, core_svp_bits
from rescind.core.security import largest_norm

CLIP_NORM, FRACTION_BITS = 256.0, 20
ROUNDS = (64, 256, 500, 1024, 4096)


def table() -> str:
    """Return the table in Markdown."""
    lines = [
        f"| rounds | hiding | log2 B | bits | most rounds at {MINIMUM_BITS} bits |",
        "|---|---|---|---|---|",
    ]
    for hiding in (False, True):
        one = adapter_norm_bound(
            clip_norm=CLIP_NORM, fraction_bits=FRACTION_BITS, max_rounds=1, hiding=hiding
        )
        most = math.floor(largest_norm(MINIMUM_BITS) / one)
        for rounds in ROUNDS:
            name = f"{rounds:,} (default)" if rounds == 256 else f"{rounds:,}"
            lines.append(
                f"| {name} | {'yes' if hiding else 'no'} | {math.log2(rounds * one):.1f} "
                f"| {core_svp_bits(rounds * one):.1f} | {most:,} |"
            )
    return "\n".join(lines)


if __name__ == "__main__":
    sys.stdout.write(table() + "\n")
