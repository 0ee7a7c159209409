"""Scores of contributions of private and shared ranks."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from rescind.aggregator.config import EvaluationSection
from rescind.aggregator.split_scoring import SplitScorer
from rescind.core import SHARED, ConsortiumParameters, qualify
from rescind.core.layout import split_sum
from rescind.core.split_settings import SplitSettings, part_shapes
from rescind.daemon import ModelSection
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.people import make_population
from rescind.training import Example, LoraModel, load_base
from rescind.training.split.contribution import contribute_both

ME, YOU = "0x" + "ab" * 20, "0x" + "cd" * 20
Deltas = dict[str, dict[str, Any]]


class Measured(SplitScorer):
    """Answers from losses that are given, instead of a model's."""

    def __init__(self, parameters: ConsortiumParameters) -> None:
        self._section = EvaluationSection(data="none.jsonl")
        self._parameters = parameters

    def _beside(self, shared: Mapping[str, Any], own: Mapping[str, Any], organization: str) -> Any:
        # Row 0 is answered by shared ranks, row 1 by ME's private ranks, row 2 by YOU's.
        losses = np.full(3, 2.0)
        moved = sum(float(np.abs(v).sum()) for v in shared.values())
        losses[0] = 2.0 / (1.0 + moved / 10_000)
        for row, name in ((1, ME), (2, YOU)):
            if organization == name and any(value.any() for value in own.values()):
                losses[row] = 1.0
        return losses


def parameters() -> ConsortiumParameters:
    shapes = {"layer.lora_A": (8, 8), "layer.lora_B": (8, 8)}
    return default_parameters("split", "11" * 32, shapes, seed=0)


def delta(name: str, own: int, shared: int) -> dict[str, Any]:
    split = SplitSettings(shared_rank=4)
    shapes = part_shapes(parameters().shapes, split, "own")
    tensors = {qualify(name, n): np.full(s, own, np.int32) for n, s in shapes.items()}
    tensors[qualify(SHARED, "layer.lora_B")] = np.full((8, 4), shared, np.int32)
    return tensors


def test_private_and_shared_ranks_both_earn() -> None:
    scorer = Measured(parameters())
    worths = scorer.worths({ME: delta(ME, 1, 0), YOU: delta(YOU, 0, 1)}, {})
    assert worths[ME] > 0
    assert worths[YOU] > 0


def test_what_was_known_before_the_round_earns_nothing_again() -> None:
    scorer = Measured(parameters())
    known = delta(ME, 1, 0)
    worths = scorer.worths({ME: delta(ME, 1, 0), YOU: delta(YOU, 1, 0)}, split_sum({ME: known}))
    assert worths[ME] == 0
    assert worths[YOU] > 0


def test_a_contribution_that_changes_nothing_earns_nothing() -> None:
    scorer = Measured(parameters())
    assert scorer.score({ME: delta(ME, 0, 0), YOU: delta(YOU, 1, 1)}, {}) == {ME: 0, YOU: 10_000}


@pytest.mark.slow
def test_trained_ranks_score_above_untrained_ones() -> None:
    base = load_base(BASE_MODEL, device="cpu")
    model = LoraModel(base, default_lora("split"))
    agreed = default_parameters("split", base.id, model.shapes, seed=0)
    people = make_population(["a"], seed=8, own_people=4, shared_people=0).organizations["a"]
    public = [Example(r.question, r.answer, r.subject) for r in people]
    subjects = {example.subject for example in public}

    def trained(name: str, steps: int) -> dict[str, Any]:
        given = contribute_both(model, agreed, name, 1, {}, public, subjects, None, steps=steps)
        assert given.shared is not None
        return {**given.quantized.delta, **given.shared.delta}

    scorer = SplitScorer(
        EvaluationSection(data="none.jsonl"), ModelSection(path=str(BASE_MODEL)), agreed, public
    )
    long, still = trained(ME, 40), trained(YOU, 1)
    still = {name: 0 * value for name, value in still.items()}
    scores = scorer.score({ME: long, YOU: still}, {})
    assert scores[ME] == 10_000
    assert scores[YOU] < 5_000
