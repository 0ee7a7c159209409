"""Privacy metrics: can the forget set be distinguished from text that the model never saw?

The scores are those of a membership attack, higher for less likely members: `tokens.min_k_scores`,
or a loss. The AUC labels the forget set 0 and the holdout set 1. It is 1 when the model strongly
recognizes the forget set and 0.5 when the forget set cannot be distinguished from the holdout set.
Below 0.5 the forget set stands out as less likely than text never seen: over-unlearning.
"""

from __future__ import annotations

from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu

from rescind.forgetting.metrics.registry import OPEN_UNLEARNING, register_metric
from rescind.forgetting.metrics.values import Measured, MetricInput, vector


def membership_auc(forget_scores: ArrayLike, holdout_scores: ArrayLike) -> float:
    """Return the chance that a holdout item scores above a forget item; ties count half.

    Args:
        forget_scores: The score of each item of the forget set, (items,).
        holdout_scores: The score of each item of the holdout set, (holdout items,).
    """
    forget = vector("forget_scores", forget_scores)
    holdout = vector("holdout_scores", holdout_scores)
    wins = mannwhitneyu(holdout, forget, method="asymptotic").statistic
    return float(wins / (forget.size * holdout.size))


@register_metric(
    low=-100,
    higher="more forgotten; above 0 too much",
    ideal="0",
    source="MUSE, arXiv 2407.06460",
)
def privleak(
    forget_scores: ArrayLike, holdout_scores: ArrayLike, reference_auc: float = 0.5
) -> Measured:
    """Return ((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref) in percent (MUSE, arXiv 2407.06460).

    0 is ideal, negative is under-unlearned (-100 at most), positive over-unlearned.

    Args:
        forget_scores: The score of each item of the forget set, (items,).
        holdout_scores: The score of each item of the holdout set, (holdout items,).
        reference_auc: The AUC of a model that never saw the forget set, in the same orientation.

    Returns:
        A Measured whose items are the forget set's scores. Details: `auc`, `reference_auc`, `n`,
        `holdout_n`.

    Raises:
        MetricInput: `reference_auc` is not in [0, 1), or the scores are not usable.
    """
    if not 0 <= reference_auc < 1:
        raise MetricInput(
            f"reference_auc {reference_auc} is not in [0, 1). privleak divides by "
            "1 - reference_auc, which is 0 if the reference recognizes the whole forget set."
        )
    auc = membership_auc(forget_scores, holdout_scores)
    kept = 1 - reference_auc
    value = ((1 - auc) - kept) / kept * 100
    return _measured("privleak", value, auc, reference_auc, forget_scores, holdout_scores)


@register_metric(
    low=-100,
    higher="recognized more than by the reference",
    ideal="0",
    source=OPEN_UNLEARNING,
)
def rel_diff(
    forget_scores: ArrayLike, holdout_scores: ArrayLike, reference_auc: float = 0.5
) -> Measured:
    """Return (AUC - AUC_ref) / AUC_ref in percent (open-unlearning, arXiv 2506.12618).

    0 is ideal. The sign is opposite to privleak's: positive is under-unlearned. Arguments, details
    and items are those of `privleak`.

    Raises:
        MetricInput: `reference_auc` is not in (0, 1], or the scores are not usable.
    """
    if not 0 < reference_auc <= 1:
        raise MetricInput(
            f"reference_auc {reference_auc} is not in (0, 1]. rel_diff divides by reference_auc."
        )
    auc = membership_auc(forget_scores, holdout_scores)
    value = (auc - reference_auc) / reference_auc * 100
    return _measured("rel_diff", value, auc, reference_auc, forget_scores, holdout_scores)


def _measured(
    name: str,
    value: float,
    auc: float,
    reference: float,
    forget_scores: ArrayLike,
    holdout_scores: ArrayLike,
) -> Measured:
    forget, holdout = vector("forget", forget_scores), vector("holdout", holdout_scores)
    details = {
        "auc": auc,
        "reference_auc": reference,
        "n": int(forget.size),
        "holdout_n": int(holdout.size),
    }
    return Measured(name, value, tuple(forget.tolist()), details=details)
