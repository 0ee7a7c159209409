"""ROUGE of generated answers, as the rouge-score package computes it."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rescind.core.errors import ConfigError
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
    """Recall of each ROUGE kind ("rouge1", "rougeL") of each answer, (items,), words stemmed.

    Raises MetricInput for a reference without words: the recall of nothing is not defined.
    """
    try:
        from rouge_score.rouge_scorer import RougeScorer
    except ImportError as error:
        raise ConfigError(f"ROUGE needs {error.name}: pip install 'rescind[train]'") from error
    same_length(generated=len(generated), references=len(references))
    if not references:
        raise MetricInput("references: there are no items, and a metric of nothing has no value")
    for place, reference in enumerate(references):
        if not any(c.isascii() and c.isalnum() for c in reference):
            raise MetricInput(
                f"references, item {place}: {reference[:60]!r} has no word that ROUGE counts "
                "(letters a to z and digits)"
            )
    scorer = RougeScorer(list(kinds), use_stemmer=True)
    scores = [scorer.score(ref, text) for ref, text in zip(references, generated, strict=True)]
    return {kind: np.array([s[kind].recall for s in scores], dtype=np.float64) for kind in kinds}


def rouge_l_recall(generated: Sequence[str], references: Sequence[str]) -> Measured:
    """Longest common subsequence of words, as a share of the reference's (Lin 2004; TOFU, arXiv
    2401.06121, takes it of greedy answers). Items: 0..1."""
    return of_items("rouge_l_recall", rouge_recall(generated, references, ["rougeL"])["rougeL"])
