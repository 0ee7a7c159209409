"""Organizations that hold people, some of whom two of them hold, with blocks and routers for them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from benchmarks.routers.world import LoadedBlocks, trained_block
from rescind.core import (
    WEIGHT_ONE,
    ConsortiumParameters,
    FloatTensors,
    Totals,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.features import Features, HiddenFeatures
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import RouterStatistics
from rescind.core.statistics import RowStatistics
from rescind.devnet.people import Row, make_population
from rescind.training import Assistant, Base, Example, LoraModel
from rescind.training.routers import (
    AdditiveRouter,
    LikelihoodRouter,
    PrototypeRouter,
    Router,
    prototypes,
)
from rescind.training.routers.additive import question_features

MOST = 128
OWN_PEOPLE, REFERENCE_PEOPLE, NOBODYS_PEOPLE = 6, 96, 48
STEPS = 80


@dataclass(frozen=True)
class People:
    """`shared`: pairs that two organizations hold. `reference`: public questions about people whom no
    organization holds; `nobodys`: about yet other people."""

    organizations: Mapping[str, tuple[Example, ...]]
    shared: frozenset[Example]
    reference: tuple[str, ...]
    nobodys: tuple[Example, ...]

    def holders(self, example: Example) -> set[str]:
        return {name for name, rows in self.organizations.items() if example in rows}


def make_people(count: int, seed: int, *, shared: bool) -> People:
    names = [f"0x{number:040x}" for number in range(1, count + 1)]
    population = make_population(
        names,
        seed=seed,
        own_people=OWN_PEOPLE,
        shared_people=count if shared else 0,
        held_out_people=REFERENCE_PEOPLE + NOBODYS_PEOPLE,
    )
    held = _examples(population.held_out)
    cut = 4 * REFERENCE_PEOPLE
    return People(
        {name: _examples(rows) for name, rows in population.organizations.items()},
        frozenset(_examples(population.shared)),
        tuple(example.question for example in held[:cut]),
        held[cut:],
    )


def _examples(rows: Sequence[Row]) -> tuple[Example, ...]:
    return tuple(Example(row.question, row.answer, row.subject) for row in rows)


class NoBlocks:
    """Names of organizations without blocks: enough for a router that asks the bare base alone."""

    def __init__(self, base: Base, names: Sequence[str]) -> None:
        self.base = base
        self.blocks = tuple(names)
        self.passes = 0

    def bare(self) -> object:
        self.passes += 1
        return self.base.model

    def network(self, organization: str | None) -> object:
        raise NotImplementedError(f"there is no block of {organization}")

    def tensors(self, organization: str) -> FloatTensors:
        raise NotImplementedError(f"there is no block of {organization}")


def feature_maps(base: Base, layers: tuple[int, ...] = (1, 2, 3)) -> dict[str, Features]:
    hidden = HiddenFeatures(
        base_model_id=base.id,
        width=int(base.model.config.hidden_size),
        layers=layers,
        scale=32,
        bound=255,
    )
    return {"additive, n-grams": NgramFeatures(), "additive, hidden states": hidden}


@dataclass(frozen=True)
class Summed:
    """The statistics that organizations post for an additive router, and the public reference."""

    agreed: RouterStatistics
    posted: Mapping[str, RowStatistics]
    numbers: Mapping[str, int]
    reference: NDArray[np.int64]

    @classmethod
    def of(
        cls,
        features: Features,
        blocks: NoBlocks | LoadedBlocks,
        organizations: Mapping[str, Sequence[Example]],
        reference: Sequence[str],
    ) -> Summed:
        agreed = RouterStatistics(features=features, max_members=MOST, max_rows=2**13)
        numbers = {name: number for number, name in enumerate(sorted(organizations))}
        posted = {
            name: agreed.collect(
                question_features(features, blocks, [row.question for row in rows]), numbers[name]
            )
            for name, rows in organizations.items()
        }
        return cls(agreed, posted, numbers, question_features(features, blocks, reference))

    def router(self) -> AdditiveRouter:
        return AdditiveRouter(self.agreed, self.posted, self.numbers, self.reference)


def routers(
    blocks: LoadedBlocks, organizations: Mapping[str, Sequence[Example]], reference: Sequence[str]
) -> dict[str, Callable[[], Router]]:
    """The routers that find facts, by name, and the default one. They need blocks."""
    held = {name: organizations[name] for name in blocks.blocks}
    posted = {
        name: prototypes(blocks.base, blocks.bare(), rows, per_subject=True)
        for name, rows in held.items()
    }
    made: dict[str, Callable[[], Router]] = {
        "likelihood": LikelihoodRouter,
        "prototypes, per subject": lambda: PrototypeRouter(posted, reference),
    }
    for name, features in feature_maps(blocks.base).items():
        made[name] = Summed.of(features, blocks, held, reference).router
    return made


def anchored(rows: Sequence[Example], public: Sequence[Example]) -> tuple[Example, ...]:
    """As many public pairs as own ones, with the base's own answers: half of every batch."""
    return (*rows, *(public[place % len(public)] for place in range(len(rows))))


def base_answers(
    model: LoraModel, parameters: ConsortiumParameters, questions: Sequence[str]
) -> list[Example]:
    """Public questions with what the bare base answers."""
    answers = Assistant(model, parameters, None).ask_many(questions, max_new_tokens=24)
    return [Example(q, a.text, "public") for q, a in zip(questions, answers, strict=True)]


def trained_blocks(
    model: LoraModel,
    parameters: ConsortiumParameters,
    organizations: Mapping[str, Sequence[Example]],
    steps: int,
    cache: Path,
) -> dict[str, FloatTensors]:
    return {
        name: trained_block(model, parameters, name, rows, steps, cache)[0]
        for name, rows in organizations.items()
    }


def adapter(
    model: LoraModel, parameters: ConsortiumParameters, tensors: Mapping[str, FloatTensors]
) -> Totals:
    """Return the adapter that holds trained blocks, in integers."""
    totals: Totals = {}
    for name, after in tensors.items():
        start = materialize({}, model.shapes, parameters=parameters, owner=name)
        update = {qualify(name, n): v.astype(np.float64) - start[n] for n, v in after.items()}
        delta = quantize(
            update, None, fraction_bits=parameters.fraction_bits, clip_norm=parameters.clip_norm
        ).delta
        totals = {**totals, **weighted_sum([(delta, WEIGHT_ONE)])}
    return totals
