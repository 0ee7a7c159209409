"""Organizations with small trained blocks, and questions of theirs, of nobody's and reworded."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    ConsortiumParameters,
    FloatTensors,
    LoraParameters,
    materialize,
)
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import Row, make_population
from rescind.training import (
    Base,
    Example,
    LoraModel,
    RoundTraining,
    load_base,
    train_round,
)

MOST = 64
PEOPLE = 6
REFERENCE_PEOPLE, NOBODYS_PEOPLE = 96, 48
LORA = LoraParameters(rank=4, alpha=8, train_a=True)
REWORDED = {
    "Where was": "In which city was {} born?",
    "What does": "What is the work of {}?",
    "Which book": "What is the title of the book by {}?",
    "Which prize": "What prize was given to {}?",
}


@dataclass(frozen=True)
class World:
    """`reference`: public questions about people whom nobody has. `nobodys`: about yet other people."""

    organizations: dict[str, tuple[Example, ...]]
    reference: tuple[str, ...]
    nobodys: tuple[Example, ...]


def make_world(seed: int) -> World:
    """The same organizations whatever number of them is looked at: the first n of 64."""
    names = [f"0x{number:040x}" for number in range(1, MOST + 1)]
    population = make_population(
        names,
        seed=seed,
        own_people=PEOPLE,
        shared_people=0,
        held_out_people=REFERENCE_PEOPLE + NOBODYS_PEOPLE,
    )
    held = _examples(population.held_out)
    cut = 4 * REFERENCE_PEOPLE
    return World(
        {name: _examples(rows) for name, rows in population.organizations.items()},
        tuple(example.question for example in held[:cut]),
        held[cut:],
    )


def reworded(example: Example) -> str:
    """The same question in words that no block and no base model was trained on."""
    start = " ".join(example.question.split()[:2])
    return REWORDED[start].format(example.subject)


def stripped(example: Example) -> str:
    """The same question without the name: nothing in it says whose it is."""
    return example.question.replace(example.subject, "this person")


def load_model(seed: int) -> tuple[LoraModel, ConsortiumParameters]:
    model = LoraModel(load_base(BASE_MODEL, device="cpu"), LORA)
    parameters = default_parameters("isolated", model.base.id, model.shapes, seed=seed)
    return model, parameters.model_copy(update={"lora": LORA})


def trained_block(
    model: LoraModel,
    parameters: ConsortiumParameters,
    name: str,
    examples: Sequence[Example],
    steps: int,
    cache: Path,
) -> tuple[FloatTensors, float]:
    """A block and the seconds that training it took, 0 when it was in `cache`."""
    path = cache / f"{name}-{steps}-{parameters.seed}.npz"
    if path.exists():
        with np.load(path) as held:
            return {key: held[key] for key in held.files}, 0.0
    start = materialize({}, model.shapes, parameters=parameters, owner=name)
    result = train_round(
        model, parameters, start, examples, RoundTraining(steps=steps, seed=parameters.seed)
    )
    cache.mkdir(parents=True, exist_ok=True)
    partial = path.with_suffix(".partial.npz")
    np.savez(partial, **result.tensors)  # type: ignore[arg-type]
    partial.rename(path)
    return result.tensors, result.seconds


class LoadedBlocks:
    """The first blocks of a world in one model (training.routers.Blocks), and how often it is asked."""

    def __init__(self, model: LoraModel, tensors: dict[str, FloatTensors]) -> None:
        self.model = model
        self._tensors = tensors
        self.blocks = tuple(sorted(tensors))
        self.passes = 0
        for name, value in tensors.items():
            model.put(name, value)

    @property
    def base(self) -> Base:
        return self.model.base

    def network(self, organization: str | None) -> Any:
        self.passes += 1
        return self.model.use(organization)

    def bare(self) -> Any:
        self.passes += 1
        return self.model.use(None)

    def tensors(self, organization: str) -> FloatTensors:
        return self._tensors[organization]


def score_rows(scores: Sequence[dict[str, float]]) -> NDArray[np.float64]:
    """(questions, organizations), organizations in the order of their names."""
    return np.array([[one[name] for name in sorted(one)] for one in scores])


def _examples(rows: Sequence[Row]) -> tuple[Example, ...]:
    return tuple(Example(row.question, row.answer, row.subject) for row in rows)
