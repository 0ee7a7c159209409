"""Metrics of how much a model has forgotten, and of how much damage that did.

Each metric registers itself where it is defined; METRICS has them all. Importing this package does
not import torch. `rescind.forgetting.metrics.live`, which measures a model, does.
"""

from collections.abc import Mapping

from rescind.forgetting.metrics.comparison import gap_to_replay, selectivity, shared_knowledge
from rescind.forgetting.metrics.likelihood import (
    normalized_probability,
    probability,
    truth_ratio_forget,
    truth_ratio_other,
    truth_ratio_share,
    truth_ratios,
)
from rescind.forgetting.metrics.orphans import Fate, orphan_substitution
from rescind.forgetting.metrics.privacy import membership_auc, privleak, rel_diff
from rescind.forgetting.metrics.probes import Probe, read_probes
from rescind.forgetting.metrics.quality import forget_quality, model_utility
from rescind.forgetting.metrics.registry import Metric, registered
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

_ORDER = (
    "probability",
    "normalized_probability",
    "rouge_l_recall",
    "truth_ratio_forget",
    "truth_ratio_other",
    "truth_ratio_share",
    "model_utility",
    "forget_quality",
    "extraction_strength",
    "exact_memorization",
    "privleak",
    "rel_diff",
    "selectivity",
    "shared_knowledge",
    "orphan_substitution",
    "gap_to_replay",
)
"""Order of the metrics in reports and in docs/metrics.md. A new metric must be added here."""

METRICS: Mapping[str, Metric] = registered(_ORDER)


def metric(name: str) -> Metric:
    """Return the metric of that name.

    Raises:
        UnknownMetric: The name is not in METRICS.
    """
    if name not in METRICS:
        raise UnknownMetric(
            f"{name!r} is not a metric. Known metrics: {', '.join(sorted(METRICS))}."
        )
    return METRICS[name]


__all__ = [
    "METRICS",
    "Fate",
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
    "orphan_substitution",
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
