"""Privacy metrics: can the forget set be distinguished from text that the model never saw?

Scores are those of a membership attack, higher for less likely a member: `tokens.min_k_scores`, or a
loss. The AUC labels the forget set 0 and the holdout set 1, so 1 means that the forget set is
strongly recognised, 0.5 that it cannot be told from the holdout set, and below 0.5 that it stands
out as less likely than text never seen: forgotten too much.
"""

from __future__ import annotations

from numpy.typing import ArrayLike
from scipy.stats import mannwhitneyu

from rescind.forgetting.metrics.values import Measured, MetricInput, vector


def membership_auc(forget_scores: ArrayLike, holdout_scores: ArrayLike) -> float:
    """Chance that a holdout item scores above a forget item, ties by half."""
    forget = vector("forget_scores", forget_scores)
    holdout = vector("holdout_scores", holdout_scores)
    wins = mannwhitneyu(holdout, forget, method="asymptotic").statistic
    return float(wins / (forget.size * holdout.size))


def privleak(
    forget_scores: ArrayLike, holdout_scores: ArrayLike, reference_auc: float = 0.5
) -> Measured:
    """((1 - AUC) - (1 - AUC_ref)) / (1 - AUC_ref) in percent (MUSE, arXiv 2407.06460).

    `reference_auc`: of a model that never saw the forget set, in the same orientation. 0 is ideal,
    negative is under-unlearned (-100 at most), positive over-unlearned. Details: `auc`,
    `reference_auc`, `n`, `holdout_n`. Items are the forget set's scores.
    """
    if not 0 <= reference_auc < 1:
        raise MetricInput(
            f"reference_auc {reference_auc}: privleak needs one from 0 to below 1; at 1 the reference "
            "itself recognises the whole forget set"
        )
    found = membership_auc(forget_scores, holdout_scores)
    kept = 1 - reference_auc
    value = ((1 - found) - kept) / kept * 100
    return _measured("privleak", value, found, reference_auc, forget_scores, holdout_scores)


def rel_diff(
    forget_scores: ArrayLike, holdout_scores: ArrayLike, reference_auc: float = 0.5
) -> Measured:
    """(AUC - AUC_ref) / AUC_ref in percent (open-unlearning, arXiv 2506.12618). 0 is ideal, and its
    sign is opposite to privleak's: positive is under-unlearned. Details and items as there."""
    if not 0 < reference_auc <= 1:
        raise MetricInput(f"reference_auc {reference_auc}: rel_diff needs one above 0, at most 1")
    found = membership_auc(forget_scores, holdout_scores)
    value = (found - reference_auc) / reference_auc * 100
    return _measured("rel_diff", value, found, reference_auc, forget_scores, holdout_scores)


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
