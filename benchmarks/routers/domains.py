"""Organizations of different domains: `python -m benchmarks.routers.domains`.

Two archives hold facts about TOFU authors, two clinics PubMedQA, two banks the messages of Banking77.
Asked are the archives' own questions, with the authors' names and without, and new questions of the
clinics' and banks' domains. Authors whom no organization holds, and a domain that is neither in the
organizations' data nor in the public reference (GSM8K), should go to the base.

Writes domains.jsonl beside itself, a line for each cell, and skips what is there.
"""

from __future__ import annotations

import argparse
import json
import random
import re
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks import tofu
from benchmarks.learning import tasks
from benchmarks.routers.additive import Line, Run, table
from benchmarks.routers.people import NoBlocks, Summed, feature_maps, trained_blocks
from benchmarks.routers.world import LoadedBlocks, load_model
from rescind.core.features import Features
from rescind.core.ngrams import NgramFeatures
from rescind.devnet.defaults import BASE_MODEL
from rescind.training import Base, Example, load_base
from rescind.training.data import normalize
from rescind.training.routers import LikelihoodRouter, Router
from rescind.training.serving.generation import generate

RESULTS = Path(__file__).with_name("domains.jsonl")
STEPS = 60
MOST_ROWS = 160
"""The most rows of one organization."""
ASKED = 80
"""Questions of each kind."""
_NAME = re.compile(r"\b[A-Z][\w'-]+(?: [A-Z][\w'-]+)+")


@dataclass(frozen=True)
class Domains:
    """`wider`: the reference with GSM8K's training questions. `asked`: by kind, each question with the organizations that should answer; none for the base."""

    organizations: Mapping[str, tuple[Example, ...]]
    reference: tuple[str, ...]
    wider: tuple[str, ...]
    asked: Mapping[str, Sequence[tuple[Example, frozenset[str]]]]


def make_domains(data: Path, seed: int) -> Domains:
    dice = random.Random(seed)
    clinics = tasks.pubmedqa(data, 2, seed)
    banks = tasks.banking77(data, 2, seed, 0.1)
    archives = {
        f"archive {n + 1}": tofu.authors(
            data / "tofu", range(4 * n + 8 * seed, 4 * n + 8 * seed + 4)
        )
        for n in range(2)
    }
    skills = {
        **{f"clinic {n + 1}": rows for n, rows in enumerate(clinics.train.values())},
        **{f"bank {n + 1}": rows for n, rows in enumerate(banks.train.values())},
    }
    sampled = {n: dice.sample(rows, min(MOST_ROWS, len(rows))) for n, rows in skills.items()}
    public = [row.question for row in tofu.authors(data / "tofu", range(60, 90))]
    general = [
        row["question"]
        for name in ("real_authors_perturbed", "world_facts_perturbed")
        for row in tofu.rows(data / "tofu", name)
    ]
    # Two thirds in the form of the archives' questions.
    reference = dice.sample(public, 300) + dice.sample(general, 150)
    dice.shuffle(reference)
    wider = reference + [row["question"] for row in tofu.rows(data / "gsm8k", "train")[:150]]
    unknown = tofu.authors(data / "tofu", range(100, 110))
    sums = [
        Example(row["question"], row["answer"], "") for row in tofu.rows(data / "gsm8k", "test")
    ]
    own = [(row, frozenset({name})) for name, rows in archives.items() for row in rows]
    own = dice.sample(own, ASKED)
    nameless = [(_stripped(row), who) for row, who in own]

    def sample(rows: Sequence[Example], *names: str) -> list[tuple[Example, frozenset[str]]]:
        return [(row, frozenset(names)) for row in dice.sample(list(rows), ASKED)]

    return Domains(
        {_address(n): tuple(rows) for n, rows in {**archives, **sampled}.items()},
        tuple(reference),
        tuple(random.Random(seed).sample(wider, len(wider))),
        {
            "archives' facts": _addressed(own),
            "facts without names": _addressed(nameless),
            "PubMedQA": _addressed(sample(clinics.test["all"], "clinic 1", "clinic 2")),
            "Banking77": _addressed(sample(banks.test["all"], "bank 1", "bank 2")),
            "unknown authors": sample(unknown),
            "GSM8K": sample(sums),
        },
    )


def _stripped(row: Example) -> Example:
    return Example(_NAME.sub("this author", row.question), row.answer, row.subject)


def _address(name: str) -> str:
    return f"0x{name.encode().hex():0>40}"


def _addressed(
    asked: Sequence[tuple[Example, frozenset[str]]],
) -> list[tuple[Example, frozenset[str]]]:
    return [(row, frozenset(map(_address, names))) for row, names in asked]


def measure(router: Router, blocks: Any, domains: Domains, *, answering: bool) -> Line:
    """Return the share of each kind that goes where it should, and the right answers to PubMedQA."""
    router.fit(blocks)
    line: Line = {}
    for kind, asked in domains.asked.items():
        choices = router.route([row.question for row, _ in asked])
        right = [
            c.organization in names if names else c.organization is None
            for c, (_, names) in zip(choices, asked, strict=True)
        ]
        line[kind] = float(np.mean(right))
        if answering and kind == "PubMedQA":
            rows = [row for row, _ in asked]
            line["PubMedQA right"] = _answered(blocks, rows, [c.organization for c in choices])
    return line


def _answered(blocks: Any, rows: Sequence[Example], chosen: Sequence[str | None]) -> float:
    right = 0
    for name in set(chosen):
        own = [row for row, choice in zip(rows, chosen, strict=True) if choice == name]
        texts = generate(blocks.base, blocks.network(name), [row.question for row in own], 8)
        right += sum(
            normalize(text) == normalize(row.answer) for text, row in zip(texts, own, strict=True)
        )
    return right / len(rows)


def _summed(features: Features, blocks: Any, domains: Domains, reference: Sequence[str]) -> Line:
    summed = Summed.of(features, blocks, domains.organizations, reference)
    return measure(summed.router(), blocks, domains, answering=isinstance(blocks, LoadedBlocks))


def routing_alone(run: Run, base: Base, domains: Domains, key: Line, layers: Sequence[int]) -> None:
    """Measure routers that need no blocks."""
    blocks = NoBlocks(base, sorted(domains.organizations))
    for kind, features in feature_maps(base, tuple(layers)).items():
        run.cell(
            {**key, "router": kind, "blocks": False},
            partial(_summed, features, blocks, domains, domains.reference),
        )

    key = {**key, "router": "additive, n-grams, wider reference", "blocks": False}
    run.cell(key, partial(_summed, NgramFeatures(), blocks, domains, domains.wider))


def with_blocks(run: Run, domains: Domains, key: Line, cache: Path) -> None:
    """Train the shipped base's blocks, and measure every router with them."""
    model, parameters = load_model(key["seed"])
    training = parameters.training.model_copy(update={"max_length": 1024, "batch_size": 8})
    parameters = parameters.model_copy(update={"training": training})
    folder = cache / f"domains {key['seed']}"
    blocks = LoadedBlocks(
        model, trained_blocks(model, parameters, domains.organizations, STEPS, folder)
    )
    run.cell(
        {**key, "router": "likelihood", "blocks": True},
        partial(measure, LikelihoodRouter(), blocks, domains, answering=True),
    )
    for kind, features in feature_maps(model.base).items():
        run.cell(
            {**key, "router": kind, "blocks": True},
            partial(_summed, features, blocks, domains, domains.reference),
        )


COLUMNS = (
    "archives' facts",
    "facts without names",
    "PubMedQA",
    "Banking77",
    "unknown authors",
    "GSM8K",
)


def page(lines: Sequence[Line]) -> str:
    """Return the tables: routers that need no blocks over seeds, and those with blocks."""
    plain = [{**line, "part": str(line["blocks"])} for line in lines]
    columns = {name: name for name in COLUMNS}
    return "\n".join(
        [
            table(plain, "False", ("base", "router"), columns),
            table(
                plain, "True", ("base", "router"), {**columns, "PubMedQA right": "PubMedQA right"}
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument("--blocks", action="store_true", help="train blocks, and ask all routers")
    parser.add_argument("--base", type=Path, help="the base of routers without blocks")
    parser.add_argument("--layers", type=int, nargs="+", default=(1, 2, 3))
    parser.add_argument("--cache", type=Path, default=Path("runs/routers"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(options.results)
    for seed in options.seed or (0, 1, 2):
        domains = make_domains(options.data, seed)
        key = {"seed": seed, "base": options.base.name if options.base else "shipped"}
        if options.blocks:
            with_blocks(run, domains, key, options.cache)
        else:
            base = load_base(options.base or BASE_MODEL, device="cpu")
            routing_alone(run, base, domains, key, options.layers)
    sys.stdout.write(page(run.lines))
    sys.stdout.write(json.dumps(run.lines[-1]["conditions"]) + "\n")


if __name__ == "__main__":
    main()
