"""Metrics of an answer's tokens, one by one, under teacher forcing.

`token_hits`: for each item, whether each of the answer's tokens (end of text included) is the
model's most likely one after the question and the right tokens before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    MetricInput,
    of_items,
    vector,
)

MIN_K = 0.4
"""Share of least likely tokens: open-unlearning's for TOFU. Min-K% itself takes 0.2."""


def exact_memorization(token_hits: Sequence[ArrayLike]) -> Measured:
    """Share of each answer's tokens that are the most likely ones (Tirumala et al., arXiv
    2205.10770). Items: 0..1."""
    return of_items("exact_memorization", np.array([row.mean() for row in _hits(token_hits)]))


def extraction_strength(token_hits: Sequence[ArrayLike]) -> Measured:
    """1 - k / tokens of each answer, with k the least number of its first tokens after which the
    most likely tokens are all the rest (Carlini et al., arXiv 2012.07805; open-unlearning).

    k may be all the tokens, so it is the share of the answer that is a right run up to its end: 1
    for an answer known by heart, 0 where the last token is wrong. (open-unlearning stops at
    k = tokens - 1, and so gives 1 / tokens to an answer of which nothing is right.) Items: 0..1.
    """
    items = [_run_to_the_end(row) / row.size for row in _hits(token_hits)]
    return of_items("extraction_strength", np.array(items))


def min_k_scores(token_log_probs: Sequence[ArrayLike], share: float = MIN_K) -> Floats:
    """Min-K% of each item, (items,): minus the mean of the `share` lowest log-probabilities, at least
    one, in nats (Shi et al., arXiv 2310.16789). Higher means less likely to have been trained on.

    `token_log_probs`: for each item, log p of each of its tokens.
    """
    if not 0 < share <= 1:
        raise MetricInput(f"share {share} is not above 0 and at most 1")
    if not len(token_log_probs):
        raise MetricInput("token_log_probs: there are no items")
    scores = []
    for place, row in enumerate(token_log_probs):
        ordered = np.sort(vector(f"token_log_probs, item {place}", row))
        scores.append(-ordered[: max(1, int(ordered.size * share))].mean())
    return np.array(scores, dtype=np.float64)


def _hits(rows: Sequence[ArrayLike]) -> list[NDArray[np.bool_]]:
    if not len(rows):
        raise MetricInput("token_hits: there are no items, and a metric of nothing has no value")
    found = [np.asarray(row) for row in rows]
    for place, row in enumerate(found):
        if row.dtype != np.bool_ or row.ndim != 1 or not row.size:
            raise MetricInput(
                f"token_hits, item {place}: expected true or false for each token, got "
                f"{row.dtype} of shape {row.shape}"
            )
    return found


def _run_to_the_end(row: NDArray[np.bool_]) -> int:
    wrong = np.flatnonzero(~row)
    return int(row.size if not wrong.size else row.size - 1 - wrong[-1])
