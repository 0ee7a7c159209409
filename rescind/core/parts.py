"""The parts of a contribution: the tensors of each, and how they add up to a model's."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

SHARED = "shared"
"""The owner of the tensors that all organizations contribute to."""
STATISTICS = "statistics"
"""The owner of the sums of all organizations' statistics."""
Rule = Literal["block", "share", "latest"]
"""How contributions add up: each whole over all rounds; each with an equal share of its round over
all rounds; or each whole, but only the latest of each organization."""


@dataclass(frozen=True)
class PartForm:
    """One part of a contribution, as the members agreed on it.

    Attributes:
        number: Its place in a contribution, from 0.
        rule: How the contributions add up. The contracts were deployed with the same rules.
        sum_owner: The owner of the sum of all organizations' tensors; None where each organization
            owns its own.
        shapes: The shapes of the tensors, by bare name.
        dtype: The type of a contribution's tensors. Those of a model are I64.
        norm_bound: The L2 norm that one owner's tensors in a model never exceed, up to which their
            digest binds.
    """

    number: int
    rule: Rule
    sum_owner: str | None
    shapes: Mapping[str, tuple[int, ...]]
    dtype: Literal["I32", "I64"]
    norm_bound: float

    def owner(self, organization: str) -> str:
        """Return the owner of an organization's tensors in a model: the prefix of their names."""
        return self.sum_owner or organization.lower()
