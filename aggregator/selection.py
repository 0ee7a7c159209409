"""Selection of a round's accepted updates by the rule that the consortium agreed on.

The chosen updates have equal shares, as the contract asks; the others are rejected on chain. The rule
is applied once, when a round is aggregated: a removal sums again what was accepted, and a replay
trains it again, but neither selects again.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace

from rescind.aggregator.checks import Verdict
from rescind.aggregator.krum import Krum, MultiKrum, TooFewUpdates
from rescind.aggregator.stored_deltas import StoredDeltas
from rescind.contracts import RejectReason
from rescind.core import ArtifactStore, ConsortiumParameters
from rescind.core.agreed_rules import KrumSelection, Selection
from rescind.core.errors import ConfigError


def rule_of(selection: Selection) -> MultiKrum:
    """Return the rule that the consortium agreed on."""
    if isinstance(selection, KrumSelection):
        return Krum(selection.byzantine)
    return MultiKrum(selection.byzantine, selection.kept)


def fewest(selection: Selection) -> int:
    """Return the number of updates that a round needs for the rule's guarantee to hold."""
    kept = 0 if isinstance(selection, KrumSelection) else selection.kept or 0
    return max(2 * selection.byzantine + 3, selection.byzantine + kept)


def select(
    parameters: ConsortiumParameters, verdicts: Mapping[str, Verdict], store: ArtifactStore
) -> dict[str, Verdict]:
    """Reject the accepted updates that the agreed rule leaves out.

    Args:
        parameters: What the consortium agreed on. Without a selection, nothing changes.
        verdicts: The outcome of the checks for each organization.
        store: Where the updates are; two of them are in memory at once.

    Returns:
        The verdicts; updates that the rule leaves out are rejected as out of bounds. If the round
        has too few updates for the rule, all are, so that the round is abandoned.
    """
    result = dict(verdicts)
    if parameters.selection is None:
        return result
    accepted = [organization for organization, verdict in result.items() if verdict.accepted]
    rule, needed = rule_of(parameters.selection), fewest(parameters.selection)
    try:
        if len(accepted) < needed:
            raise TooFewUpdates(
                f"{rule.name} needs {needed} updates, the round has {len(accepted)}"
            )
        chosen = rule.select(
            StoredDeltas(store, {each: (result[each].artifact_id,) for each in accepted})
        )
    except TooFewUpdates as error:
        return result | {
            organization: _left_out(result[organization], str(error)) for organization in accepted
        }
    for organization in chosen.left_out:
        what = f"{rule.name} left the update out: its score is {chosen.measure[organization]}"
        result[organization] = _left_out(result[organization], what)
    return result


def check_members(parameters: ConsortiumParameters, minimum_members: int) -> None:
    """Check that rounds will have enough updates for the agreed rule.

    Args:
        parameters: What the consortium agreed on.
        minimum_members: Active members below which the aggregator opens no round.

    Raises:
        ConfigError: Rounds would open that are too small.
    """
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


def _left_out(verdict: Verdict, what: str) -> Verdict:
    return replace(verdict, reason=RejectReason.OUT_OF_BOUNDS, what=what)
