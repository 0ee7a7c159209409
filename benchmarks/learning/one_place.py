"""One LoRA that is trained on all data of all organizations in one place, and answers everything."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle, islice

import numpy as np

from benchmarks.consortium import address
from benchmarks.learning.hybrid_model import FACTS, SKILLS
from benchmarks.learning.run import PLAN
from benchmarks.learning.spoken_labels import label_likelihoods
from benchmarks.learning.trainings import Setting, trained_history
from rescind.core import block, materialize
from rescind.training import Example
from rescind.training.serving.respond import OneNetwork

_MAX_LENGTH = 640
"""More than the longest abstract with its question, 547 tokens of the shipped base."""


@dataclass(frozen=True)
class OnePlace:
    """A LoRA that was trained in one place.

    Attributes:
        respondent: Answers with it.
        rows: The rows of each kind in one pass, repeated ones included.
        steps: Its steps.
        seconds: What its training took.
    """

    respondent: OneNetwork
    rows: Mapping[str, int]
    steps: int
    seconds: float

    def choices(self, questions: Sequence[str], labels: Sequence[str]) -> list[str]:
        """Return the label that the model finds likeliest as the answer, end included, for each question."""
        scores = label_likelihoods(self.respondent, questions, labels)
        return [labels[best] for best in np.argmax(scores, axis=1)]


def planned_steps(of_facts: int, share: float) -> dict[str, int]:
    """Return the steps of each kind: all blocks' for facts, and for a skill a share of learning.run's."""
    return {FACTS: of_facts} | {
        name: round(share * PLAN[task]["total_steps"]) for task, (name, _) in SKILLS.items()
    }


def in_one_place(
    setting: Setting, rows: Mapping[str, Sequence[Example]], steps: Mapping[str, int]
) -> OnePlace:
    """Train one LoRA on the rows of all kinds, with as many steps as all kinds have together.

    Rows of a kind are repeated so that its share of a pass is its share of the steps.

    Args:
        setting: How blocks are trained; so is this one, but for the number of steps. Its base must
            have no adapters yet.
        rows: The rows of each kind.
        steps: The steps of each kind.
    """
    each = repeated(rows, steps, setting.seed)
    total = sum(steps.values()) // setting.rounds
    wide = replace(setting, max_length=_MAX_LENGTH)
    recipe = wide.recipe(coupling="isolated", layout="blocks", steps=total)
    every = [row for own in each.values() for row in own]
    trainer, totals, _ = trained_history(wide, recipe, {"all": every})
    owner = address("all")
    tensors = materialize(
        block(totals, owner), trainer.parameters.shapes, parameters=trainer.parameters, owner=owner
    )
    trainer.model.put("all", tensors)
    respondent = OneNetwork(setting.base, trainer.model.use("all"), _MAX_LENGTH)
    sizes = {kind: len(own) for kind, own in each.items()}
    return OnePlace(respondent, sizes, total * setting.rounds, trainer.seconds)


def repeated(
    rows: Mapping[str, Sequence[Example]], steps: Mapping[str, int], seed: int
) -> dict[str, list[Example]]:
    """Return rows of each kind in proportion to its steps. Every row is there at least once."""
    dice = random.Random(f"repeated {seed}")
    scale = max(len(own) / steps[kind] for kind, own in rows.items())
    return {
        kind: list(islice(cycle(dice.sample(own, len(own))), round(scale * steps[kind])))
        for kind, own in rows.items()
    }
