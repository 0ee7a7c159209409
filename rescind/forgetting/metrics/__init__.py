"""How well something was forgotten, and what else was: every metric, in one table.

Importing it imports no torch. `unlearning.metrics.live` measures a model, and does.
"""

from collections.abc import Mapping
from types import MappingProxyType

from rescind.forgetting.metrics.comparison import gap_to_replay, selectivity, shared_knowledge
from rescind.forgetting.metrics.likelihood import (
    normalized_probability,
    probability,
    truth_ratio_forget,
    truth_ratio_other,
    truth_ratio_share,
    truth_ratios,
)
from rescind.forgetting.metrics.privacy import membership_auc, privleak, rel_diff
from rescind.forgetting.metrics.probes import Probe, read_probes
from rescind.forgetting.metrics.quality import forget_quality, model_utility
from rescind.forgetting.metrics.registry import Metric
from rescind.forgetting.metrics.text import rouge_l_recall
from rescind.forgetting.metrics.tofu import (
    TofuRecord,
    TofuSet,
    tofu_forget_quality,
    tofu_scores,
    tofu_utility,
    utility_gap,
)
from rescind.forgetting.metrics.tofu_log import TofuLogError, read_tofu_log, write_tofu_log
from rescind.forgetting.metrics.tokens import exact_memorization, extraction_strength, min_k_scores
from rescind.forgetting.metrics.values import Measured, MetricInput, UnknownMetric

_TOFU = "TOFU, arXiv 2401.06121"
_OPEN = "open-unlearning, arXiv 2506.12618"
_KNOWN = "better known"
_AS_REPLAY = "forget set: the replay's; any other: 1"
_RATIO_NEEDS = ("paraphrase_losses", "wrong_losses")
_DROP_NEEDS = ("forget_before", "forget_after", "retain_before", "retain_after")
_AUC_NEEDS = ("forget_scores", "holdout_scores", "reference_auc")

_TABLE = (
    Metric("probability", probability, ("answer_losses",), 0, 1, _KNOWN, _AS_REPLAY, _TOFU),
    Metric(
        "normalized_probability",
        normalized_probability,
        ("answer_losses", "wrong_losses"),
        0,
        1,
        _KNOWN,
        _AS_REPLAY,
        _TOFU,
    ),
    Metric(
        "rouge_l_recall",
        rouge_l_recall,
        ("generated", "references"),
        0,
        1,
        _KNOWN,
        _AS_REPLAY,
        "Lin 2004; TOFU, arXiv 2401.06121",
    ),
    Metric(
        "truth_ratio_forget", truth_ratio_forget, _RATIO_NEEDS, 0, 1, "better forgotten", "1", _TOFU
    ),
    Metric("truth_ratio_other", truth_ratio_other, _RATIO_NEEDS, 0, 1, _KNOWN, "1", _TOFU),
    Metric("truth_ratio_share", truth_ratio_share, _RATIO_NEEDS, 0, 1, _KNOWN, _AS_REPLAY, _OPEN),
    Metric("model_utility", model_utility, ("components",), 0, 1, "more useful", "1", _TOFU),
    Metric(
        "forget_quality",
        forget_quality,
        ("truth_ratios", "reference_truth_ratios"),
        0,
        1,
        "less unlike the reference",
        "1; above 0.05 not told apart at this n",
        _TOFU,
    ),
    Metric(
        "extraction_strength",
        extraction_strength,
        ("token_hits",),
        0,
        1,
        _KNOWN,
        _AS_REPLAY,
        "Carlini et al., arXiv 2012.07805; open-unlearning, arXiv 2506.12618",
    ),
    Metric(
        "exact_memorization",
        exact_memorization,
        ("token_hits",),
        0,
        1,
        _KNOWN,
        _AS_REPLAY,
        "Tirumala et al., arXiv 2205.10770",
    ),
    Metric(
        "privleak",
        privleak,
        _AUC_NEEDS,
        -100,
        None,
        "more forgotten; above 0 too much",
        "0",
        "MUSE, arXiv 2407.06460",
    ),
    Metric("rel_diff", rel_diff, _AUC_NEEDS, -100, None, "more recognised than by it", "0", _OPEN),
    Metric(
        "selectivity",
        selectivity,
        _DROP_NEEDS,
        None,
        None,
        "more forgotten at less damage",
        "the replay's",
        "this project",
    ),
    Metric(
        "shared_knowledge",
        shared_knowledge,
        ("before", "after"),
        None,
        None,
        "more kept",
        "0",
        "after DUSK, arXiv 2505.15209",
    ),
    Metric(
        "gap_to_replay",
        gap_to_replay,
        ("found", "replayed"),
        None,
        None,
        "above the replay",
        "0",
        "Efron and Tibshirani 1993 (interval)",
    ),
)

METRICS: Mapping[str, Metric] = MappingProxyType({each.name: each for each in _TABLE})


def metric(name: str) -> Metric:
    """Raises UnknownMetric for a name that is not in METRICS."""
    if name not in METRICS:
        raise UnknownMetric(
            f"{name!r} is not a metric. Known metrics: {', '.join(sorted(METRICS))}."
        )
    return METRICS[name]


__all__ = [
    "METRICS",
    "Measured",
    "Metric",
    "MetricInput",
    "Probe",
    "TofuLogError",
    "TofuRecord",
    "TofuSet",
    "UnknownMetric",
    "exact_memorization",
    "extraction_strength",
    "forget_quality",
    "gap_to_replay",
    "membership_auc",
    "metric",
    "min_k_scores",
    "model_utility",
    "normalized_probability",
    "privleak",
    "probability",
    "read_probes",
    "read_tofu_log",
    "rel_diff",
    "rouge_l_recall",
    "selectivity",
    "shared_knowledge",
    "tofu_forget_quality",
    "tofu_scores",
    "tofu_utility",
    "truth_ratio_forget",
    "truth_ratio_other",
    "truth_ratio_share",
    "truth_ratios",
    "utility_gap",
    "write_tofu_log",
]
