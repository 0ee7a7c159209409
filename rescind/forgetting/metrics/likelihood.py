"""Metrics of how likely a model finds right and wrong answers.

All take negative log-likelihoods in nats a token, averaged over an answer's tokens, so that a
probability is exp(-loss): the geometric mean of the tokens' probabilities.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import ArrayLike
from scipy.special import softmax

from rescind.forgetting.metrics.registry import (
    AS_REPLAY,
    BETTER_KNOWN,
    OPEN_UNLEARNING,
    TOFU,
    register_metric,
)
from rescind.forgetting.metrics.values import (
    Floats,
    Measured,
    loss_rows,
    losses,
    of_items,
    same_length,
)

_LARGEST = float(np.log(np.finfo(np.float64).max))
"""A truth ratio with a larger logarithm would overflow to infinity."""


@register_metric(low=0, high=1, higher=BETTER_KNOWN, ideal=AS_REPLAY, source=TOFU)
def probability(answer_losses: ArrayLike) -> Measured:
    """Return exp(-loss) of each right answer, and their mean (TOFU, arXiv 2401.06121).

    Args:
        answer_losses: The loss of each right answer, (items,), in nats a token.
    """
    return of_items("probability", np.exp(-losses("answer_losses", answer_losses)))


@register_metric(low=0, high=1, higher=BETTER_KNOWN, ideal=AS_REPLAY, source=TOFU)
def normalized_probability(answer_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """Return p(right) / (p(right) + sum p(wrong)) of each question, and their mean.

    TOFU takes it for real authors and world facts (arXiv 2401.06121). It is computed from
    differences of losses, so that it is defined where every probability underflows.

    Args:
        answer_losses: The loss of each right answer, (items,), in nats a token.
        wrong_losses: For each item, the losses of its wrong answers.
    """
    right = losses("answer_losses", answer_losses)
    wrong = loss_rows("wrong_losses", wrong_losses)
    same_length(answer_losses=len(right), wrong_losses=len(wrong))
    items = [softmax(-np.append(loss, row))[0] for loss, row in zip(right, wrong, strict=True)]
    return of_items("normalized_probability", np.array(items))


def truth_ratios(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Floats:
    """Return the truth ratio R = p(wrong) / p(right) of each question, (items,).

    R compares the wrong answers' geometric mean with the paraphrased right answer:
    exp(loss of the paraphrase - mean loss of the wrong answers). It is small where the model knows
    the truth. TOFU's script compares the inverse; both sides of a comparison must take the same
    direction. A ratio beyond the largest float is returned as that float.

    Args:
        paraphrase_losses: The loss of each paraphrased right answer, (items,), in nats a token.
        wrong_losses: For each item, the losses of its wrong answers.
    """
    right = losses("paraphrase_losses", paraphrase_losses)
    wrong = loss_rows("wrong_losses", wrong_losses)
    same_length(paraphrase_losses=len(right), wrong_losses=len(wrong))
    differences = right - np.array([row.mean() for row in wrong])
    return np.asarray(np.exp(np.minimum(differences, _LARGEST)))


@register_metric(low=0, high=1, higher="better forgotten", ideal="1", source=TOFU)
def truth_ratio_forget(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """Return mean min(R, 1/R) over a forget set (TOFU, arXiv 2401.06121).

    It is 1 when the truth is as likely as the made-up answers. Items are the raw R of
    `truth_ratios`, which has the arguments.
    """
    ratios = truth_ratios(paraphrase_losses, wrong_losses)
    return of_items("truth_ratio_forget", ratios, "mean_nearness")


@register_metric(low=0, high=1, higher=BETTER_KNOWN, ideal="1", source=TOFU)
def truth_ratio_other(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """Return mean max(0, 1 - R) over any set but the forget set (TOFU, arXiv 2401.06121).

    It is 1 when only the truth is likely. Items are the raw R of `truth_ratios`, which has the
    arguments.
    """
    ratios = truth_ratios(paraphrase_losses, wrong_losses)
    return of_items("truth_ratio_other", ratios, "mean_advantage")


@register_metric(low=0, high=1, higher=BETTER_KNOWN, ideal=AS_REPLAY, source=OPEN_UNLEARNING)
def truth_ratio_share(paraphrase_losses: ArrayLike, wrong_losses: Sequence[ArrayLike]) -> Measured:
    """Return mean p(right) / (p(right) + p(wrong)) = mean 1/(1 + R).

    This is open-unlearning's `prob_mean` (arXiv 2506.12618). Items are the raw R of
    `truth_ratios`, which has the arguments.
    """
    ratios = truth_ratios(paraphrase_losses, wrong_losses)
    return of_items("truth_ratio_share", ratios, "mean_share")
