"""Algebra of LoRA layouts over integer factors: the served model, and removal from it."""

from rescind.core.research.layouts.algebra import (
    FFA,
    LAYOUTS,
    Blocks,
    Change,
    FactorLayout,
    FedExLoRA,
    FedIT,
    FLoRA,
    FrozenFactor,
    RoLoRA,
    Round,
    Split,
    State,
    equal_shares,
    stack_owner,
)
from rescind.core.research.layouts.exactness import EXACTNESS, Exactness
from rescind.core.research.layouts.factors import (
    Factors,
    LowRank,
    dense,
    numerators,
    rank,
    stacked,
)

__all__ = [
    "EXACTNESS",
    "FFA",
    "LAYOUTS",
    "Blocks",
    "Change",
    "Exactness",
    "FLoRA",
    "FactorLayout",
    "Factors",
    "FedExLoRA",
    "FedIT",
    "FrozenFactor",
    "LowRank",
    "RoLoRA",
    "Round",
    "Split",
    "State",
    "dense",
    "equal_shares",
    "numerators",
    "rank",
    "stack_owner",
    "stacked",
]
