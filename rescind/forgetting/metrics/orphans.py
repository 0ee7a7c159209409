"""The metric of orphans: questions about withdrawn data, and what answers them afterwards."""

from __future__ import annotations

from collections.abc import Sequence
from enum import StrEnum
from typing import Any

import numpy as np

from rescind.forgetting.metrics.registry import register_metric
from rescind.forgetting.metrics.values import Measured, MetricInput, of_items, same_length
from rescind.training import normalize
from rescind.training.serving.refusals import REFUSALS


class Fate(StrEnum):
    """How the answer to a question about withdrawn data came about.

    The members are in the order in which they are decided: a right answer is RIGHT whatever gave
    it, and a refusal is REFUSED also when a block gives it.
    """

    RIGHT = "right"
    REFUSED = "refused"
    SUBSTITUTED = "substituted"
    INVENTED = "invented"


@register_metric(
    low=0,
    high=1,
    higher="more questions answered with another organization's facts",
    ideal="0",
    source="this project; shared facts after DUSK, arXiv 2505.15209",
)
def orphan_substitution(
    generated: Sequence[str],
    references: Sequence[str],
    by_block: Sequence[bool],
    held_by_others: Sequence[bool],
    *,
    refusals: Sequence[str] = REFUSALS,
) -> Measured:
    """Return the share of a leaver's own questions that another's block answers with its own facts.

    A question of the leaver's that no remaining organization holds is an orphan. After the removal
    its answer is right (something still knows it), a refusal, substituted (a remaining block answers
    something else) or invented (the base does). Questions that a remaining organization holds too
    must keep their right answer; they are counted apart. Answers are compared after folding case
    and white space.

    Args:
        generated: The answers after the removal, to questions that the leaver's block knew.
        references: The right answers, in the same order.
        by_block: Whether a block answered, and not the base.
        held_by_others: Whether a remaining organization holds the pair, too.
        refusals: Texts that count as a refusal.

    Returns:
        A Measured whose items are 1 for each substituted orphan and 0 for any other. Details:
        `orphans`, the share of each `Fate` among them, `shared` questions and `shared_kept`, the
        share of them that is still right, None without any.

    Raises:
        MetricInput: No question is an orphan, or the counts differ.
    """
    same_length(
        generated=len(generated),
        references=len(references),
        by_block=len(by_block),
        held_by_others=len(held_by_others),
    )
    known = {normalize(text) for text in refusals}
    fates = [
        _fate(normalize(text), normalize(right), block, known)
        for text, right, block in zip(generated, references, by_block, strict=True)
    ]
    orphans = [fate for fate, held in zip(fates, held_by_others, strict=True) if not held]
    shared = [fate for fate, held in zip(fates, held_by_others, strict=True) if held]
    if not orphans:
        raise MetricInput("held_by_others: every question is held by a remaining organization.")
    details: dict[str, Any] = {
        "orphans": len(orphans),
        **{fate.value: orphans.count(fate) / len(orphans) for fate in Fate},
        "shared": len(shared),
        "shared_kept": shared.count(Fate.RIGHT) / len(shared) if shared else None,
    }
    items = np.array([float(fate is Fate.SUBSTITUTED) for fate in orphans])
    return of_items("orphan_substitution", items, **details)


def _fate(text: str, right: str, by_block: bool, refusals: set[str]) -> Fate:
    if text == right:
        return Fate.RIGHT
    if text in refusals:
        return Fate.REFUSED
    return Fate.SUBSTITUTED if by_block else Fate.INVENTED
