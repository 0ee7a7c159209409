"""What a contribution is worth: how much it helps on a benchmark that everyone may see."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

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
    """How much of the answers' loss a delta takes away, on top of the model that it started from.

    The mean over the benchmark of the relative reduction, where there is one: a block that knows
    some of the questions is not asked to know the others, which other blocks answer.
    """

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
        helped = np.maximum(0.0, 1.0 - after / np.maximum(before, 1e-9))
        return round(WEIGHT_ONE * float(helped.mean()))

    def _loss(self, totals: Mapping[str, Any], who: str) -> NDArray[np.float64]:
        from training import answer_loss_per_example

        parameters = self._parameters
        tensors = materialize(totals, parameters.shapes, parameters=parameters, owner=who)
        self._model.put("scored", tensors)
        return answer_loss_per_example(
            self._model, "scored", self._examples, parameters.training.max_length
        )


def make_scorer(config: AggregatorConfig, parameters: ConsortiumParameters) -> Scorer:
    if config.model is None or config.evaluation is None:
        return EqualScorer()
    return BenchmarkScorer(config, parameters)
