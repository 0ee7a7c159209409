"""What a contribution is worth: how much it helps on a benchmark that everyone may see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

from adapters import (
    WEIGHT_ONE,
    ConsortiumParameters,
    add_totals,
    block,
    materialize,
    owner,
    weighted_sum,
)
from aggregator.config import AggregatorConfig


class Scorer(Protocol):
    def score(self, organization: str, delta: Mapping[str, Any], parent: Mapping[str, Any]) -> int:
        """0..10,000."""
        ...


class EqualScorer:
    def score(self, organization: str, delta: Mapping[str, Any], parent: Mapping[str, Any]) -> int:  # noqa: ARG002
        return WEIGHT_ONE


class BenchmarkScorer:
    """Relative reduction of the answers' loss by the delta, on top of the model it started from."""

    def __init__(self, config: AggregatorConfig, parameters: ConsortiumParameters) -> None:
        os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
        import torch

        from training import LoraModel, load_base, read_examples

        assert config.model is not None
        assert config.evaluation is not None
        torch.set_num_threads(config.model.threads)
        base = load_base(config.model.path, parameters.base_model_id, config.model.device)
        self._model = LoraModel(base, parameters.lora)
        self._parameters = parameters
        self._examples = read_examples(config.evaluation.data)

    def score(self, organization: str, delta: Mapping[str, Any], parent: Mapping[str, Any]) -> int:
        who = owner(self._parameters.layout, organization)
        before = self._loss(block(parent, who), who)
        after = self._loss(
            block(add_totals([parent, weighted_sum([(delta, WEIGHT_ONE)])]), who), who
        )
        return max(0, min(WEIGHT_ONE, round(WEIGHT_ONE * (before - after) / max(before, 1e-9))))

    def _loss(self, totals: Mapping[str, Any], who: str) -> float:
        from training import mean_answer_loss

        parameters = self._parameters
        tensors = materialize(totals, parameters.shapes, parameters=parameters, owner=who)
        self._model.put("scored", tensors)
        return mean_answer_loss(
            self._model, "scored", self._examples, parameters.training.max_length
        )


def make_scorer(config: AggregatorConfig, parameters: ConsortiumParameters) -> Scorer:
    if config.model is None or config.evaluation is None:
        return EqualScorer()
    return BenchmarkScorer(config, parameters)
