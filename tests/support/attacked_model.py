"""A small adapter that learned made-up people, was made to forget two of them, and a replay."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache

import numpy as np
import torch

from rescind.core import ConsortiumParameters, FloatTensors, materialize
from rescind.devnet.defaults import BASE_MODEL, default_lora, default_parameters
from rescind.devnet.people import UNKNOWN, Row, make_population
from rescind.forgetting.attacks import Block
from rescind.training import (
    Example,
    LoraModel,
    load_base,
)
from tests.support.trained import trained

ME = "0x" + "ab" * 20


@dataclass(frozen=True)
class Case:
    block: Block
    start: FloatTensors
    forget: list[Example]
    retain: list[Example]
    unseen: list[Example]
    benign: list[Example]

    @property
    def model(self) -> LoraModel:
        return self.block.model

    @property
    def length(self) -> int:
        return self.block.parameters.training.max_length


@cache
def case() -> Case:
    torch.set_num_threads(1)
    model = LoraModel(load_base(BASE_MODEL), default_lora("isolated"))
    parameters = default_parameters("isolated", model.base.id, model.shapes, seed=0)
    population = make_population(["a", "b"], seed=5, shared_people=0, own_people=6)
    own, foreign = (_examples(population.organizations[name]) for name in ("a", "b"))
    forget, retain = own[:8], own[8:20]
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    original = _train(model, parameters, start, forget + retain, steps=110)
    refused = [Example(e.question, UNKNOWN, e.subject) for e in forget]
    unlearned = _train(model, parameters, original, refused + retain, steps=12, rate=2e-3)
    replay = _train(model, parameters, start, retain, steps=80)
    counter = {name: unlearned[name].astype(np.float64) - original[name] for name in unlearned}
    block = Block(model, parameters, unlearned, original, replay, {"counter": counter})
    return Case(block, start, forget, retain, foreign[:8], foreign[8:16])


def _examples(rows: tuple[Row, ...]) -> list[Example]:
    return [Example(row.question, row.answer, row.subject) for row in rows]


def _train(
    model: LoraModel,
    parameters: ConsortiumParameters,
    start: FloatTensors,
    examples: list[Example],
    *,
    steps: int,
    rate: float = 5e-3,
) -> FloatTensors:
    training = parameters.training.model_copy(update={"learning_rate": rate})
    changed = parameters.model_copy(update={"training": training})
    return trained(model, changed, start, examples, steps=steps)
