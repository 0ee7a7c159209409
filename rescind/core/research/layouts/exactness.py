"""Exactness of removals in each layout.

docs/federated.md shows this table; tests check both against the algebra.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

Subtraction = Literal["yes", "within a round", "no", "nothing to subtract"]
Checkable = Literal["yes", "its factors only"]


@dataclass(frozen=True)
class Exactness:
    """Properties of one layout.

    p_i is the share of organization i and B_i A_i the product that it trained.

    Attributes:
        computes: What is served.
        aggregate_exact: The served product is the sum of p_i B_i A_i of the round.
        removal_exact: Summing the remaining deltas again gives, bit for bit, the integers of rounds
            with the same deltas that the organization was never in.
        subtraction_exact: Taking p_c B_c A_c from the served product and dividing by 1 - p_c gives
            the
            product of that new sum.
        checkable: Whether the served model follows from sums that the contract checks by digest.
        unequal_ranks: What happens to an organization with fewer ranks.
        up: Integers that an organization sends in a round, relative to FFA-LoRA of the same rank on
            square matrices.
        down: Integers that it needs for the next round, in the same unit.
        down_each: Integers that it needs in addition for each of the n organizations in the round.
    """

    computes: str
    aggregate_exact: bool
    removal_exact: bool
    subtraction_exact: Subtraction
    checkable: Checkable
    unequal_ranks: str
    up: int
    down: int
    down_each: int = 0

    @property
    def traffic(self) -> str:
        """The traffic, as docs/federated.md writes it."""
        each = f"{self.down_each}n" if self.down_each else ""
        fixed = str(self.down) if self.down or not each else ""
        return f"{self.up} up, {' + '.join(filter(None, (each, fixed)))} down"


EXACTNESS: dict[str, Exactness] = {
    "fedit": Exactness(
        computes="A = sum p_i A_i, B = sum p_i B_i",
        aggregate_exact=False,
        removal_exact=True,
        subtraction_exact="no",
        checkable="yes",
        unequal_ranks="zero-padded, inexact",
        up=2,
        down=2,
    ),
    "ffa": Exactness(
        computes="A at its start, B = sum p_i B_i",
        aggregate_exact=True,
        removal_exact=True,
        subtraction_exact="yes",
        checkable="yes",
        unequal_ranks="zero-padded, exact",
        up=1,
        down=1,
    ),
    "flora": Exactness(
        computes="stack of p_i B_i A_i, merged into the base",
        aggregate_exact=True,
        removal_exact=True,
        subtraction_exact="yes",
        checkable="yes",
        unequal_ranks="stacked, exact",
        up=2,
        down=0,
        down_each=2,
    ),
    "fedex": Exactness(
        computes="as fedit, and sum p_i B_i A_i - B A into the base",
        aggregate_exact=True,
        removal_exact=True,
        subtraction_exact="within a round",
        checkable="its factors only",
        unequal_ranks="zero-padded, exact",
        up=2,
        down=4,
        down_each=2,
    ),
    "rolora": Exactness(
        computes="odd rounds B = sum p_i B_i, even rounds A = sum p_i A_i",
        aggregate_exact=True,
        removal_exact=True,
        subtraction_exact="within a round",
        checkable="yes",
        unequal_ranks="zero-padded, exact",
        up=1,
        down=1,
    ),
    "blocks": Exactness(
        computes="nothing: each organization's own A_i, B_i",
        aggregate_exact=True,
        removal_exact=True,
        subtraction_exact="nothing to subtract",
        checkable="yes",
        unequal_ranks="own ranks, exact",
        up=2,
        down=0,
    ),
    "split": Exactness(
        computes="shared ranks as ffa, private ranks as blocks",
        aggregate_exact=True,
        removal_exact=True,
        subtraction_exact="yes",
        checkable="yes",
        unequal_ranks="shared zero-padded, private own, exact",
        up=3,
        down=1,
    ),
}
"""The table, by the layout's name.

`split` is counted with as many private ranks as shared ones. Its `subtraction_exact` is that of the
shared ranks; the private ones are dropped.
"""
