"""ROUGE of generated answers, as the rouge-score package computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rescind.core.errors import ConfigError
from rescind.forgetting.metrics.registry import AS_REPLAY, BETTER_KNOWN, TOFU, register_metric
from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    MetricInput,
    of_items,
    same_length,
)


def rouge_recall(
    generated: Sequence[str], references: Sequence[str], kinds: Sequence[str]
) -> dict[str, Floats]:
    """Return the recall of each ROUGE kind, by kind, each (items,), with words stemmed.

    Args:
        generated: The model's answers.
        references: The right answers, in the same order.
        kinds: The kinds of ROUGE, for example "rouge1" and "rougeL".

    Raises:
        ConfigError: The rouge-score package is not installed.
        MetricInput: There are no items, the counts differ, or a reference has no words, so that its
            recall is not defined.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(
            f"ROUGE needs the package {error.name}. Run: pip install 'rescind[train]'"
        ) from error
    same_length(generated=len(generated), references=len(references))
    if not references:
        raise MetricInput("references: there are no items, so the metric is not defined.")
    for index, reference in enumerate(references):
        if not any(c.isascii() and c.isalnum() for c in reference):
            raise MetricInput(
                f"references, item {index}: {reference[:60]!r} has no word that ROUGE counts "
                "(letters a to z and digits)."
            )
    scorer = RougeScorer(list(kinds), use_stemmer=True)
    scores = [scorer.score(ref, text) for ref, text in zip(references, generated, strict=True)]
    return {kind: np.array([s[kind].recall for s in scores], dtype=np.float64) for kind in kinds}


@register_metric(low=0, high=1, higher=BETTER_KNOWN, ideal=AS_REPLAY, source=f"Lin 2004; {TOFU}")
def rouge_l_recall(generated: Sequence[str], references: Sequence[str]) -> Measured:
    """Return ROUGE-L recall of each answer, and their mean (Lin 2004).

    It is the longest common subsequence of words as a share of the reference's words. TOFU (arXiv
    2401.06121) takes it of greedy answers.

    Args:
        generated: The model's answers.
        references: The right answers, in the same order.
    """
    return of_items("rouge_l_recall", rouge_recall(generated, references, ["rougeL"])["rougeL"])
