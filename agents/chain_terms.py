"""Costs of the present contracts: gas of an organization's transactions, bond and penalty.

The gas is that of docs/gas.md and the amounts are the defaults of
`rescind.contracts.deployment.DeploySettings`;
tests/agents/test_chain_terms.py compares both.
"""

from __future__ import annotations

from rescind.agents.interface import Action

COMMIT, REVEAL = 62_988, 86_533
"""Gas of a contribution of one part."""

COMMIT_TWO_PARTS, REVEAL_TWO_PARTS = 62_988, 148_275
"""Gas of a contribution of two parts, a block and statistics."""

SIT_OUT_GAS = 80_091
"""Gas of saying that an organization sits out."""

CLAIM = 95_139
"""Gas of taking out one round's reward."""

BOND = 1.0
"""Ether that a member puts down until it leaves."""

UNREVEALED_PENALTY = 0.1
"""Ether that a member loses that commits and does not reveal."""

ETHER_IN_GWEI = 1e9


def gas_of(action: Action, *, two_parts: bool) -> tuple[int, int]:
    """Return the gas of the answer to a round, and the part of it that is spent before the reveal.

    Args:
        action: What the organization chose.
        two_parts: Whether a contribution has a second part, for statistics or shared ranks.
    """
    if not action.takes_part:
        return SIT_OUT_GAS, SIT_OUT_GAS
    if two_parts:
        return COMMIT_TWO_PARTS + REVEAL_TWO_PARTS, COMMIT_TWO_PARTS
    return COMMIT + REVEAL, COMMIT
