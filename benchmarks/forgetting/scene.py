"""One consortium of the benchmark: who holds what, how it is trained, and what each model is made of."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import TypeVar

import numpy as np

from benchmarks import tofu
from benchmarks.consortium import Trainer, address, history, schedule
from benchmarks.forgetting.config import Config
from rescind.core import (
    SHARED,
    WEIGHT_ONE,
    ConsortiumParameters,
    Totals,
    add_totals,
    block,
    materialize,
    owner,
    weighted_sum,
)
from rescind.daemon import Journal
from rescind.forgetting.history import History, extend
from rescind.forgetting.metrics import Probe, read_probes
from rescind.training import (
    Assistant,
    Base,
    EngineSettings,
    Example,
    LoraModel,
)
from rescind.unlearning import Outcome, Problem, counter_delta

T = TypeVar("T")


def evenly(items: Sequence[T], count: int) -> list[T]:
    """`count` of the items at even distances, in their order; all for 0."""
    if not count or count >= len(items):
        return list(items)
    places = np.linspace(0, len(items) - 1, count).round().astype(int)
    return [items[place] for place in places]


@dataclass
class Scene:
    """One coupling with one seed. What it makes is kept in `folder` and found there again."""

    config: Config
    coupling: str
    seed: int
    base: Base
    data: Path
    folder: Path
    say: Callable[[str], None]

    def __post_init__(self) -> None:
        recipe = self.config.couplings[self.coupling]
        self.parameters: ConsortiumParameters
        self.model: LoraModel
        self.parameters, self.model = recipe.parameters(self.base, self.seed)
        self.leaver = address(self.config.leaver)
        folder = self.data / "tofu"
        self.holdings = {
            address(it.name): tofu.authors(folder, it.numbers) for it in self.config.organizations
        }
        self.trainer = Trainer(
            self.model,
            self.parameters,
            self.holdings,
            self.say,
            EngineSettings(**self.config.engine),
        )

    @property
    def owner(self) -> str:
        """Of the block that counter-training changes."""
        return owner(self.parameters.layout, self.leaver)

    @cached_property
    def shared(self) -> list[Example]:
        return tofu.authors(self.data / "tofu", self.config.shared_authors)

    @cached_property
    def forget(self) -> list[Example]:
        """Rows that only the leaver has."""
        common = set(self.shared)
        return [example for example in self.holdings[self.leaver] if example not in common]

    @cached_property
    def retain(self) -> list[Example]:
        """Rows that the leaver may train on to keep: its own that others have, too, and those a consortium
        would agree to publish for it, here all that the others hold."""
        rows = [e for who, held in self.holdings.items() if who != self.leaver for e in held]
        return list(dict.fromkeys([*self.shared, *rows]))

    @cached_property
    def full(self) -> History:
        recipe = self.config.couplings[self.coupling]
        empty = history(self.parameters, self.folder / "store")
        plan = schedule(sorted(self.holdings), recipe.rounds, recipe.steps)
        return extend(empty, plan, self.trainer, journal=self.journal("full"))

    def journal(self, name: str) -> Journal:
        self.folder.mkdir(parents=True, exist_ok=True)
        return Journal(self.folder / f"{name}.db")

    def assistant(self, totals: Totals) -> Assistant:
        return Assistant(self.model, self.parameters, totals)

    def tensors(self, totals: Totals) -> dict[str, np.ndarray]:
        """All LoRA tensors of the block that counter-training changes."""
        return materialize(
            block(totals, self.owner),
            self.parameters.shapes,
            parameters=self.parameters,
            owner=self.owner,
        )

    def problem(self) -> Problem:
        return Problem(
            model=self.model,
            parameters=self.parameters,
            owner=self.owner,
            start=self.tensors(self.full.adapter()),
            forget=self.forget,
            retain=self.retain if self.owner == SHARED else self.shared,
            seed=self.seed,
            own=self.holdings[self.leaver],
        )

    def countered(self, problem: Problem, outcome: Outcome) -> tuple[Totals, Totals]:
        """The adapter with the outcome's counter-delta added, and the counter-delta as a total."""
        delta = weighted_sum([(counter_delta(problem, outcome).delta, WEIGHT_ONE)])
        return add_totals([self.full.adapter(), delta]), delta

    # What is asked

    @cached_property
    def probes(self) -> dict[str, list[Probe]]:
        folder, measuring = self.data / "tofu", self.config.measuring
        held = {example.question for example in self.retain}
        gone = {example.question for example in self.forget}
        sets = {
            "forget": (
                [p for p in read_probes(folder / "forget10_perturbed.jsonl") if p.question in gone],
                measuring.forget,
            ),
            "retain": (
                [p for p in read_probes(folder / "retain_perturbed.jsonl") if p.question in held],
                measuring.retain,
            ),
            "real_authors": (
                read_probes(folder / "real_authors_perturbed.jsonl"),
                measuring.general,
            ),
            "world_facts": (
                read_probes(folder / "world_facts_perturbed.jsonl"),
                measuring.general,
            ),
        }
        return {name: evenly(probes, count) for name, (probes, count) in sets.items()}

    @cached_property
    def unseen(self) -> list[Example]:
        rows = tofu.rows(self.data / "tofu", "holdout10")
        examples = [Example(row["question"], row["answer"], "nobody") for row in rows]
        return evenly(examples, self.config.measuring.unseen)
