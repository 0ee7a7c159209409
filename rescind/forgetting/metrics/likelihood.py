"""Metrics of how likely a model finds right and wrong answers.

All take negative log-likelihoods in nats a token, averaged over an answer's tokens, so that a
probability is exp(-loss): the geometric mean of the tokens' probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    loss_rows,
    losses,
    of_items,
    same_length,
)

_LARGEST = float(np.log(np.finfo(np.float64).max))


def probability(answer_losses: ArrayLike) -> Measured:
    """exp(-loss) of each right answer (TOFU, arXiv 2401.06121). Items: 0..1."""
    return of_items("probability", np.exp(-losses("answer_losses", answer_losses)))


def normalized_probability(answer_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """p(right) / (p(right) + sum p(wrong)) of each question with wrong options (TOFU's real authors
    and world facts, arXiv 2401.06121). `wrong_losses`: for each item those of its wrong answers.

    Computed from differences of losses, so that it is defined where every probability underflows.
    """
    right = losses("answer_losses", answer_losses)
    wrong = loss_rows("wrong_losses", wrong_losses)
    same_length(answer_losses=len(right), wrong_losses=len(wrong))
    items = [softmax(-np.append(one, row))[0] for one, row in zip(right, wrong, strict=True)]
    return of_items("normalized_probability", np.array(items))


def truth_ratios(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Floats:
    """R of each question, (items,): p(wrong) / p(right), of the paraphrased right answer and of the
    wrong answers' geometric mean: exp(loss of the paraphrase - mean loss of the wrong answers).

    Small where the model knows the truth. TOFU's script compares the inverse; both sides of a
    comparison must take the same one. A ratio beyond the largest float is that float.
    """
    right = losses("paraphrase_losses", paraphrase_losses)
    wrong = loss_rows("wrong_losses", wrong_losses)
    same_length(paraphrase_losses=len(right), wrong_losses=len(wrong))
    differences = right - np.array([row.mean() for row in wrong])
    return np.asarray(np.exp(np.minimum(differences, _LARGEST)))


def truth_ratio_forget(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """mean min(R, 1/R) over a forget set: 1 when the truth is as likely as what is made up (TOFU).
    Items are the raw R of `truth_ratios`."""
    ratios = truth_ratios(paraphrase_losses, wrong_losses)
    return of_items("truth_ratio_forget", ratios, "mean_nearness")


def truth_ratio_other(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """mean max(0, 1 - R) over any set but the forget set: 1 when only the truth is likely (TOFU).
    Items are the raw R of `truth_ratios`."""
    ratios = truth_ratios(paraphrase_losses, wrong_losses)
    return of_items("truth_ratio_other", ratios, "mean_advantage")


def truth_ratio_share(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """mean p(right) / (p(right) + p(wrong)) = mean 1/(1 + R): open-unlearning's `prob_mean`
    (arXiv 2506.12618). Items are the raw R of `truth_ratios`."""
    ratios = truth_ratios(paraphrase_losses, wrong_losses)
    return of_items("truth_ratio_share", ratios, "mean_share")
