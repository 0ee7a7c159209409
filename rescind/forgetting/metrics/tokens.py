"""Metrics of an answer's tokens under teacher forcing.

`token_hits`: for each item, whether each of the answer's tokens (end of text included) is the
model's most likely one after the question and the right tokens before it.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike, NDArray

from rescind.forgetting.metrics.registry import AS_REPLAY, BETTER_KNOWN, register_metric
from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    MetricInput,
    of_items,
    vector,
)

MIN_K = 0.4
"""Share of least likely tokens: open-unlearning's for TOFU. Min-K% itself takes 0.2."""


@register_metric(
    low=0,
    high=1,
    higher=BETTER_KNOWN,
    ideal=AS_REPLAY,
    source="Tirumala et al., arXiv 2205.10770",
)
def exact_memorization(token_hits: Sequence[ArrayLike]) -> Measured:
    """Return the share of each answer's tokens that are hits (Tirumala et al., arXiv 2205.10770).

    Args:
        token_hits: For each item, whether each token is the most likely one.
    """
    return of_items("exact_memorization", np.array([row.mean() for row in _hits(token_hits)]))


@register_metric(
    low=0,
    high=1,
    higher=BETTER_KNOWN,
    ideal=AS_REPLAY,
    source="Carlini et al., arXiv 2012.07805; open-unlearning, arXiv 2506.12618",
)
def extraction_strength(token_hits: Sequence[ArrayLike]) -> Measured:
    """Return 1 - k / tokens of each answer (Carlini et al., arXiv 2012.07805; open-unlearning).

    k is the least number of first tokens after which all remaining tokens are hits. k may be all
    the tokens, so the value is the share of the answer that is a run of hits up to its end: 1 for
    an answer known by heart, 0 where the last token is wrong. (open-unlearning stops at
    k = tokens - 1, and so gives 1 / tokens to an answer without any hit.)

    Args:
        token_hits: For each item, whether each token is the most likely one.
    """
    items = [_final_run(row) / row.size for row in _hits(token_hits)]
    return of_items("extraction_strength", np.array(items))


def min_k_scores(token_log_probs: Sequence[ArrayLike], share: float = MIN_K) -> Floats:
    """Return Min-K% of each item, (items,), in nats (Shi et al., arXiv 2310.16789).

    Min-K% is minus the mean of the lowest log-probabilities. Higher means less likely to have been
    trained on.

    Args:
        token_log_probs: For each item, log p of each of its tokens.
        share: Share of the tokens that count, in (0, 1]. At least one token counts.

    Raises:
        MetricInput: The share is outside its range, or an item has no usable log-probabilities.
    """
    if not 0 < share <= 1:
        raise MetricInput(f"share {share} is not in (0, 1].")
    if not len(token_log_probs):
        raise MetricInput("token_log_probs: there are no items.")
    scores = []
    for index, row in enumerate(token_log_probs):
        ordered = np.sort(vector(f"token_log_probs, item {index}", row))
        scores.append(-ordered[: max(1, int(ordered.size * share))].mean())
    return np.array(scores, dtype=np.float64)


def _hits(rows: Sequence[ArrayLike]) -> list[NDArray[np.bool_]]:
    if not len(rows):
        raise MetricInput("token_hits: there are no items, so the metric is not defined.")
    arrays = [np.asarray(row) for row in rows]
    for index, row in enumerate(arrays):
        if row.dtype != np.bool_ or row.ndim != 1 or not row.size:
            raise MetricInput(
                f"token_hits, item {index}: expected true or false for each token, got "
                f"{row.dtype} of shape {row.shape}."
            )
    return arrays


def _final_run(row: NDArray[np.bool_]) -> int:
    """Count the hits at the end of a row."""
    wrong = np.flatnonzero(~row)
    return int(row.size if not wrong.size else row.size - 1 - wrong[-1])
