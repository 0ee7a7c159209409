"""What a consortium's public record must say, as plain values: which deltas a model holds is an
explicit set with an exact integer sum, and each action changes the values or is refused.

Actions have the names and arguments of contracts.Consortium, after the address of who acts.
"""

from tests.contracts.reference.records import NOTHING, Part
from tests.contracts.reference.refusal import Refusal
from tests.contracts.reference.sums import (
    Tensors,
    same,
    shares,
    total,
)
from tests.contracts.reference.withdrawals import Reference

__all__ = ["NOTHING", "Part", "Reference", "Refusal", "Tensors", "same", "shares", "total"]
