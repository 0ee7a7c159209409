"""Which of a round's right updates are summed, by the rule that the consortium agreed on.

Those that the rule chooses have equal shares, as the contract asks; the others are rejected on chain.
The rule is applied once, when a round is aggregated: a removal re-sums what was accepted, and a replay
trains it again, but neither chooses anew.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rescind.aggregator.checks import Verdict
from rescind.aggregator.robust import (
    Krum,
    MultiKrum,
    TooFewUpdates,
    WeightRule,
    require_checkable,
)
from rescind.contracts import RejectReason
from rescind.core import ConsortiumParameters
from rescind.core.agreed_rules import KrumSelection, Selection
from rescind.core.errors import ConfigError


def rule_of(selection: Selection) -> WeightRule:
    """Raises NotCheckable for a rule whose sums the contract could not check."""
    if isinstance(selection, KrumSelection):
        return require_checkable(Krum(selection.byzantine))
    return require_checkable(MultiKrum(selection.byzantine, selection.kept))


def fewest(selection: Selection) -> int:
    """Updates that a round needs for the rule to mean something."""
    return max(
        2 * selection.byzantine + 3, selection.byzantine + (getattr(selection, "kept", 0) or 0)
    )


def select(parameters: ConsortiumParameters, verdicts: Mapping[str, Verdict]) -> dict[str, Verdict]:
    """The verdicts with those rejected, as out of bounds, that the rule leaves out: all of them when
    the round has too few, so that it is abandoned. The same without a rule."""
    found = dict(verdicts)
    if parameters.selection is None:
        return found
    right = {who: it.delta for who, it in found.items() if it.delta is not None}
    rule = rule_of(parameters.selection)
    try:
        if len(right) < fewest(parameters.selection):
            raise TooFewUpdates(
                f"{rule.name} needs {fewest(parameters.selection)} updates, the round has {len(right)}"
            )
        chosen = rule.select(right)
    except TooFewUpdates as error:
        return found | {who: _left_out(found[who], str(error)) for who in right}
    for who in chosen.left_out:
        score = chosen.measure[who]
        found[who] = _left_out(found[who], f"{rule.name} leaves it out, its score is {score}")
    return found


def check_members(parameters: ConsortiumParameters, minimum_members: int) -> None:
    """Raises ConfigError when rounds would open that are too small for the rule."""
    if parameters.selection is None:
        return
    needed = fewest(parameters.selection)
    if parameters.max_members < needed:
        raise ConfigError(
            f"selection {parameters.selection.name} against {parameters.selection.byzantine} bad "
            f"updates needs {needed} organizations in a round, max_members is "
            f"{parameters.max_members}: agree on a lower selection.byzantine or kept"
        )
    if minimum_members < needed:
        raise ConfigError(
            f"aggregator.minimum_members is {minimum_members}: with selection "
            f"{parameters.selection.name} a round needs {needed} updates, set it to {needed} or more"
        )


def _left_out(verdict: Verdict, why: str) -> Verdict:
    return replace(verdict, delta=None, reason=RejectReason.OUT_OF_BOUNDS, what=why)
