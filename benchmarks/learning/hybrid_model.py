"""One hybrid consortium in one process: blocks of facts, sums of labelled rows, a router of sums."""

from __future__ import annotations

import argparse
import hashlib
import os
import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import clock
from benchmarks.consortium import Trainer, address
from benchmarks.learning.tasks import TASKS, TaskSet, other_people, public_pairs, public_people
from benchmarks.learning.trainings import Setting, blocks_of
from rescind.core import (
    STATISTICS,
    ConsortiumParameters,
    Totals,
    add_totals,
    encode,
    hiding_block,
    split_owner,
)
from rescind.core.features import feature_rows
from rescind.core.ngrams import NgramFeatures
from rescind.core.router_statistics import (
    ROUTER,
    RouterStatistics,
    reference_id,
    reference_tensors,
)
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_parameters import StatisticsParameters, Task
from rescind.core.statistics_tensors import check_statistics, contributed_tensors
from rescind.devnet.defaults import BASE_MODEL
from rescind.training import Assistant, Base, EngineSettings, Example, LoraModel, load_base
from rescind.training.model.text_rules import default_text
from rescind.training.routers.agreed import agreed_router

ORGANIZATIONS = 4
ROUNDS = 4
FACTS = "facts"
SKILLS: Mapping[str, tuple[str, str]] = {
    "banking77 Dirichlet 0.1": ("intents", "Which intent has this message? {text}"),
    "pubmedqa": ("findings", "What does this abstract find, yes, no or maybe? {text}"),
}
"""The name and the prompt of each task of classes."""
_MAX_MEMBERS = 16
_MAX_ROWS = 2048
_UNSEEN = 80


def arguments(doc: str | None, results: Path, buckets: int) -> argparse.ArgumentParser:
    """Return a parser of the options that all scripts about such a consortium have.

    Args:
        doc: The script's docstring.
        results: Its results file.
        buckets: Its usual number of features.
    """
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--base", type=Path, default=BASE_MODEL)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/learning"))
    parser.add_argument("--results", type=Path, default=results)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--buckets", type=int, default=buckets, help="of n-grams")
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--precision", default="bf16", choices=("auto", "float32", "bf16"))
    return parser


def base_of(options: argparse.Namespace) -> Base:
    """Return the base model that the options name, on as many threads as they say."""
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    torch.set_num_threads(options.threads)
    base = load_base(options.base)
    return base.reading(default_text(base))


Precision = Literal["auto", "float32", "bf16"]
Rows = Mapping[str, Sequence[Example]]
"""An organization's labelled rows, by the name of the task."""


@dataclass(frozen=True)
class Held:
    """The data of one organization.

    Attributes:
        facts: The pairs that its block is trained on.
        rows: The rows that its statistics are sums of, beside the questions of its facts.
    """

    facts: Sequence[Example]
    rows: Rows


@dataclass(frozen=True)
class Data:
    """The data of all organizations, by name, and the questions of the test.

    Attributes:
        facts: Pairs and questions of each organization.
        skills: The rows and the test of each task of classes, by the agreed name.
        public: Pairs that no organization holds; the router's reference.
        unseen: Pairs that neither an organization nor the reference has.
    """

    facts: TaskSet
    skills: Mapping[str, TaskSet]
    public: Sequence[Example]
    unseen: Sequence[Example]

    @classmethod
    def of(cls, folder: Path, seed: int, facts: str) -> Data:
        """Return the data of one seed, the same as that of benchmarks.learning.run.

        Args:
            folder: The folder of the data sets.
            seed: The seed.
            facts: The task of facts, "facts" (TOFU) or "people".
        """
        skills = {
            name: TASKS[task](folder, ORGANIZATIONS, seed) for task, (name, _) in SKILLS.items()
        }
        public = public_pairs(folder, seed)
        unseen, public = public[:_UNSEEN], public[_UNSEEN:]
        if facts == "people":
            unseen = other_people(seed)
            public = public + public_people(ORGANIZATIONS, seed)
        # The router learns from one half and sets its threshold by the other.
        random.Random(seed).shuffle(public)
        return cls(TASKS[facts](folder, ORGANIZATIONS, seed), skills, public, unseen)

    @property
    def names(self) -> list[str]:
        """The names of the organizations."""
        return list(self.facts.train)

    @property
    def held(self) -> dict[str, Held]:
        """The data of each organization."""
        return {
            name: Held(facts, {task: skill.train[name] for task, skill in self.skills.items()})
            for name, facts in self.facts.train.items()
        }


@dataclass(frozen=True)
class Agreed:
    """The agreed parameters.

    Attributes:
        parameters: The agreed parameters.
        model: The base model that they are for.
        reference: The features of the router's public reference.
        numbers: The member number of each organization, by name.
    """

    parameters: ConsortiumParameters
    model: LoraModel
    reference: NDArray[np.int64]
    numbers: Mapping[str, int]

    @classmethod
    def of(cls, setting: Setting, data: Data, buckets: int) -> Agreed:
        """Return parameters of n-grams in so many buckets, for every task and for the router."""
        features = NgramFeatures(buckets=buckets)
        reference = features.of([row.question for row in data.public])
        router = RouterStatistics(
            features=features,
            reference=reference_id(reference),
            max_members=_MAX_MEMBERS,
            max_rows=_MAX_ROWS,
        )
        tasks = {
            name: Task(
                prompt=prompt,
                features=features,
                labels=_labels(data.skills[name]),
                max_rows=_MAX_ROWS,
            )
            for name, prompt in SKILLS.values()
        }
        recipe = setting.recipe(
            coupling="hybrid",
            layout="blocks",
            extra={
                "statistics": StatisticsParameters(tasks=tasks, router=router),
                "hiding": True,
                "max_members": _MAX_MEMBERS,
            },
        )
        parameters, model = recipe.parameters(setting.base, setting.seed)
        numbers = {name: number for number, name in enumerate(data.names)}
        return cls(parameters, model, reference, numbers)

    @property
    def statistics(self) -> StatisticsParameters:
        """The agreed statistics."""
        if self.parameters.statistics is None:
            raise ValueError("a hybrid consortium has statistics")
        return self.parameters.statistics

    def collect(self, rows: Rows) -> dict[str, RowStatistics]:
        """Return the statistics of labelled rows, by task."""
        return {
            name: self.statistics.tasks[name].collect(
                [row.question for row in own], [row.answer for row in own]
            )
            for name, own in rows.items()
        }

    def contributed(self, name: str, held: Held) -> Totals:
        """Return the tensors of an organization's statistics, checked as an aggregator does."""
        router, number = self.statistics.router, self.numbers[name]
        if router is None:
            raise ValueError("the benchmark agrees on a router")
        questions = feature_rows(router.features, [row.question for row in held.facts])
        sums = {**self.collect(held.rows), ROUTER: router.collect(questions, number)}

        def hide(tensors: Mapping[str, Any]) -> NDArray[np.int32]:
            # As in a node: secret, and the same for the same tensors.
            return hiding_block(hashlib.sha256(name.encode() + encode(tensors)).digest())

        tensors = contributed_tensors(self.statistics, sums, hide)
        bare = {split_owner(key)[1]: value for key, value in tensors.items()}
        check_statistics(bare, self.statistics, number)
        return tensors

    def assistant(self, totals: Totals, names: Iterable[str]) -> Assistant:
        """Return the assistant of a model whose sums hold these organizations, all solved."""
        members = {address(name): self.numbers[name] for name in names}
        reference = reference_tensors(self.reference)
        router = agreed_router(self.parameters, totals, members, reference)
        assistant = Assistant(self.model, self.parameters, totals, router=router)
        assistant.route(["Who?"])
        return assistant


def _labels(skill: TaskSet) -> tuple[str, ...]:
    return tuple(sorted({row.answer for rows in skill.train.values() for row in rows}))


class Consortium:
    """The model of some organizations: blocks, and the sums of their statistics.

    Args:
        setting: How blocks are trained.
        agreed: What they agreed on.
        held: What each of them holds, by name.
    """

    def __init__(self, setting: Setting, agreed: Agreed, held: Mapping[str, Held]) -> None:
        self.setting, self.agreed, self.held = setting, agreed, held
        self.trainer, self.blocks, _ = self.trained(held)
        began = clock()
        self.contributed = {name: agreed.contributed(name, own) for name, own in held.items()}
        self.seconds_of_sums = (clock() - began) / len(held)

    def trained(self, held: Mapping[str, Held]) -> tuple[Trainer, Totals, int]:
        """Train the blocks of organizations, each from nothing and on its own facts alone."""
        facts = {name: own.facts for name, own in held.items()}
        return blocks_of(replace(self.setting, held=facts))

    @property
    def names(self) -> list[str]:
        """The names of the organizations."""
        return list(self.held)

    @cached_property
    def totals(self) -> Totals:
        """The adapter: every block, and one sum of all statistics."""
        return {**self.blocks, **add_totals(self.contributed.values())}

    def without(self, name: str) -> Totals:
        """Return the adapter without an organization: its block left out, its terms subtracted."""
        kept = {
            key: value for key, value in self.totals.items() if split_owner(key)[0] != address(name)
        }
        return _with_statistics(kept, [_negative(self.contributed[name])])

    def replaced(self, name: str, held: Held) -> Totals:
        """Return the adapter after an organization contributed again, without a person.

        Its block is trained again only if its facts changed.
        """
        own = {} if held.facts == self.held[name].facts else self.trained({name: held})[1]
        after = self.agreed.contributed(name, held)
        terms = [_negative(self.contributed[name]), after]
        return _with_statistics({**self.totals, **own}, terms)


def statistics_of(totals: Totals) -> Totals:
    """Return the tensors of the summed statistics of an adapter."""
    return {key: value for key, value in totals.items() if split_owner(key)[0] == STATISTICS}


def _with_statistics(totals: Totals, terms: Sequence[Totals]) -> Totals:
    return {**totals, **add_totals([statistics_of(totals), *terms])}


def _negative(tensors: Totals) -> Totals:
    return {key: -value.astype(np.int64) for key, value in tensors.items()}


def hybrid_setting(
    base: Base,
    data: Data,
    seed: int,
    *,
    steps: int,
    work: Path,
    say: Callable[[str], None],
    precision: Precision,
    learning_rate: float = 5e-3,
) -> Setting:
    """Return how the blocks are trained.

    Args:
        base: The base model.
        data: What organizations hold.
        seed: The seed.
        steps: The steps of all organizations together.
        work: The folder of trained blocks, which other runs use again.
        say: Gets a line of progress.
        precision: Of training and answers.
        learning_rate: The learning rate.
    """
    return Setting(
        base=base,
        held=data.facts.train,
        private=True,
        seed=seed,
        rounds=ROUNDS,
        steps=max(1, steps // ORGANIZATIONS // ROUNDS),
        batch_size=16,
        learning_rate=learning_rate,
        rank=16,
        work=work / f"{os.getpid()}",
        say=say,
        engine=EngineSettings(precision=precision, batching="bucketed"),
        kept=work / "kept",
    )
