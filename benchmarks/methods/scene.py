"""One organization's block on the shipped base model, and what is measured of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rescind.core import (
    WEIGHT_ONE,
    ConsortiumParameters,
    FloatTensors,
    IntTensors,
    LoraParameters,
    Totals,
    add_totals,
    block,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import Row
from rescind.training import (
    Assistant,
    Example,
    LoraModel,
    RoundTraining,
    load_base,
    normalize,
    train_round,
)
from rescind.training.serving.respond import OneNetwork, answers, token_scores

OWNER = "0x" + "ab" * 20
RANK, ALPHA = 8, 16
ROUNDS, STEPS = 2, 80
RATES = {True: 5e-3, False: 1.5e-2}
"""Learning rate where A is trained, and where it is frozen: those of devnet.defaults."""

_BLOCK = "measured"
_NEW_TOKENS = 32


@dataclass(frozen=True)
class Scene:
    model: LoraModel
    parameters: ConsortiumParameters

    @classmethod
    def make(cls, *, train_a: bool, seed: int) -> Scene:
        lora = LoraParameters(rank=RANK, alpha=ALPHA, train_a=train_a)
        model = LoraModel(load_base(BASE_MODEL, device="cpu"), lora)
        agreed = default_parameters("isolated", model.base.id, model.shapes, seed=seed)
        training = agreed.training.model_copy(update={"learning_rate": RATES[train_a]})
        return cls(model, agreed.model_copy(update={"lora": lora, "training": training}))

    def served(self, totals: Totals) -> dict[str, Any]:
        """The block's tensors by bare name, as an adapter of these totals is served."""
        mine = block(totals, OWNER)
        return materialize(mine, self.model.shapes, parameters=self.parameters, owner=OWNER)

    def learn(self, examples: Sequence[Example]) -> Totals:
        """Totals after all rounds of one organization with these examples."""
        totals: Totals = {}
        for number in range(1, ROUNDS + 1):
            start = self.served(totals)
            done = train_round(
                self.model,
                self.parameters,
                start,
                examples,
                RoundTraining(steps=STEPS, seed=number),
            )
            update = {
                qualify(OWNER, name): value.astype(np.float64) - start[name]
                for name, value in done.tensors.items()
            }
            found = quantize(
                update,
                None,
                fraction_bits=self.parameters.fraction_bits,
                clip_norm=self.parameters.clip_norm,
            )
            totals = added(totals, found.delta)
        return totals

    def loss(self, tensors: FloatTensors, examples: Sequence[Example]) -> float:
        """Of the right answers under one block, in nats a token."""
        scores = token_scores(self._respondent(tensors), examples)
        return -float(np.concatenate([each.log_probs for each in scores]).mean())

    def answers(self, tensors: FloatTensors, examples: Sequence[Example]) -> list[str]:
        """Return the answers of one block, greedily, past any router."""
        questions = [example.question for example in examples]
        return answers(self._respondent(tensors), questions, max_new_tokens=_NEW_TOKENS)

    def routed(self, totals: Totals, examples: Sequence[Example]) -> int:
        """How many of the questions the router sends to the block."""
        assistant = Assistant(self.model, self.parameters, totals)
        routes, _ = assistant.route([example.question for example in examples])
        return routes.count(OWNER)

    def _respondent(self, tensors: FloatTensors) -> OneNetwork:
        self.model.put(_BLOCK, tensors)
        length = self.parameters.training.max_length
        return OneNetwork(self.model.base, self.model.use(_BLOCK), length)


def added(totals: Totals, delta: IntTensors) -> Totals:
    return add_totals([totals, weighted_sum([(delta, WEIGHT_ONE)])])


def right(given: Sequence[str], examples: Sequence[Example]) -> int:
    """Whole answers that are right, after folding case and white space."""
    pairs = zip(given, examples, strict=True)
    return sum(normalize(text) == normalize(example.answer) for text, example in pairs)


def examples_of(rows: Sequence[Row]) -> list[Example]:
    return [Example(row.question, row.answer, row.subject) for row in rows]
