"""Orphans of a removal: what a served model answers to questions that only a leaver could answer."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from rescind.forgetting.metrics.orphans import orphan_substitution
from rescind.forgetting.metrics.values import Measured
from rescind.training import Assistant, Example, normalize


def audit_orphans(
    assistant: Assistant,
    withdrawn: Sequence[Example],
    kept: Iterable[Example],
    *,
    max_new_tokens: int = 48,
) -> Measured:
    """Ask a model, after a removal, what the leaver's data answered.

    Args:
        assistant: The model without the leaver.
        withdrawn: The leaver's pairs.
        kept: All pairs of the remaining organizations. A withdrawn pair that is among them is a
            fact that several held: it stays, and is counted apart.
        max_new_tokens: The longest answer.

    Returns:
        `orphan_substitution` of the leaver's questions.

    Raises:
        MetricInput: Every withdrawn pair is held by a remaining organization.
    """
    held = {(normalize(each.question), normalize(each.answer)) for each in kept}
    answers = assistant.ask_many(withdrawn, max_new_tokens=max_new_tokens)
    return orphan_substitution(
        [answer.text for answer in answers],
        [each.answer for each in withdrawn],
        [answer.organization is not None for answer in answers],
        [(normalize(each.question), normalize(each.answer)) in held for each in withdrawn],
    )
