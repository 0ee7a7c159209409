"""The tasks that organizations learn together: facts that each holds alone, and skills that all share."""

from __future__ import annotations

import csv
import json
import random
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks import tofu
from rescind.devnet.people import Population, Row, make_population
from rescind.training import Example

_NOBODY = "nobody"


@dataclass(frozen=True)
class TaskSet:
    """`train`: what each organization holds, by name. `test`: what is asked, by the name of whoever it
    belongs to, or "all" for a test that is the same for everybody."""

    train: Mapping[str, list[Example]]
    test: Mapping[str, list[Example]]


def names(count: int) -> list[str]:
    return [f"organization {number:02d}" for number in range(1, count + 1)]


def facts(data: Path, organizations: int, seed: int, authors: int = 16) -> TaskSet:
    """TOFU authors, the same ones however many organizations they are dealt to; the questions that
    were trained on are asked again."""
    who = names(organizations)
    dealt = tofu.spread(0, authors - 1, organizations)
    held = {
        name: tofu.authors(data / "tofu", numbers) for name, numbers in zip(who, dealt, strict=True)
    }
    dice = random.Random(seed)
    asked = {
        name: dice.sample(rows, min(len(rows), 160 // organizations)) for name, rows in held.items()
    }
    return TaskSet(held, asked)


def public_pairs(data: Path, seed: int, count: int = 400) -> list[Example]:
    """Pairs that are public and that no organization of a task holds: TOFU's real authors and world
    facts, and authors that the base was made with."""
    general = [
        Example(row["question"], row["answer"], _NOBODY)
        for name in ("real_authors_perturbed", "world_facts_perturbed")
        for row in tofu.rows(data / "tofu", name)
    ]
    rows = general + tofu.authors(data / "tofu", range(60, 180))
    rows = [row for row in rows if len(row.question) + len(row.answer) < 300]
    return random.Random(f"public {seed}").sample(rows, count)


_PUBLIC_PEOPLE = 96
_OWN_PEOPLE = 10


def people(data: Path, organizations: int, seed: int) -> TaskSet:  # noqa: ARG001
    """Return facts about invented people, in the words that the shipped base knows questions in; the
    questions that were trained on are asked again."""
    everybody = _population(organizations, seed)
    held = {name: _examples(rows) for name, rows in everybody.organizations.items()}
    return TaskSet(held, held)


def public_people(organizations: int, seed: int) -> list[Example]:
    """Return pairs about people whom no organization of the task `people` holds."""
    return _examples(_population(organizations, seed).held_out)


def other_people(seed: int) -> list[Example]:
    """Return facts about people whom neither an organization of `people` nor the public holds."""
    return [row for rows in people(Path(), 2, seed + 2**20).train.values() for row in rows]


def _population(organizations: int, seed: int) -> Population:
    return make_population(
        names(organizations),
        seed=seed,
        own_people=_OWN_PEOPLE,
        shared_people=0,
        held_out_people=_PUBLIC_PEOPLE,
    )


def _examples(rows: Sequence[Row]) -> list[Example]:
    return [Example(row.question, row.answer, row.subject) for row in rows]


def banking77(
    data: Path, organizations: int, seed: int, alpha: float, train: int = 1540, test: int = 308
) -> TaskSet:
    """Customers' questions to 77 intents; the shares of each intent among organizations are drawn from
    a symmetric Dirichlet distribution (Hsu et al. 2019, arXiv 1909.06335)."""
    rows = _banking(data / "banking77" / "train.csv", train, seed)
    dice = np.random.default_rng(seed)
    held: dict[str, list[Example]] = {name: [] for name in names(organizations)}
    by_intent: dict[str, list[Example]] = defaultdict(list)
    for row in rows:
        by_intent[row.answer].append(row)
    for intent in sorted(by_intent):
        mine = by_intent[intent]
        shares = dice.dirichlet([alpha] * organizations)
        cuts = [0, *np.round(np.cumsum(shares) * len(mine)).astype(int)]
        for name, first, last in zip(held, cuts[:-1], cuts[1:], strict=True):
            held[name] += mine[first:last]
    held = {name: mine or rows[:1] for name, mine in held.items()}
    return TaskSet(held, {"all": _banking(data / "banking77" / "test.csv", test, seed)})


def _banking(path: Path, count: int, seed: int) -> list[Example]:
    """As many of each intent, as far as there are."""
    with path.open(encoding="utf-8", newline="") as handle:
        rows = [
            Example(row["text"].strip(), row["category"].replace("_", " "), _NOBODY)
            for row in csv.DictReader(handle)
        ]
    dice = random.Random(seed)
    by_intent: dict[str, list[Example]] = defaultdict(list)
    for row in dict.fromkeys(rows):
        by_intent[row.answer].append(row)
    each = max(1, count // len(by_intent))
    return [
        row
        for intent in sorted(by_intent)
        for row in dice.sample(by_intent[intent], min(each, len(by_intent[intent])))
    ]


def pubmedqa(data: Path, organizations: int, seed: int) -> TaskSet:
    """Yes, no or maybe, from the question and the abstract's conclusion (the reasoning-free setting of
    Jin et al. 2019, arXiv 1909.06146); dealt at random."""
    table = json.loads((data / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
    rows = [
        Example(f"{it['QUESTION']} {it['LONG_ANSWER']}", it["final_decision"], _NOBODY)
        for it in table.values()
    ]
    rows = [row for row in rows if len(row.question) < 700]
    random.Random(seed).shuffle(rows)
    cut = len(rows) * 3 // 4
    return TaskSet(_in_turn(rows[:cut], organizations), {"all": rows[cut:]})


_GIVEN = (
    "Ada",
    "Bela",
    "Carlo",
    "Dina",
    "Emil",
    "Frida",
    "Goran",
    "Hana",
    "Ivo",
    "Jana",
    "Karl",
    "Lena",
)
_FAMILY = (
    "Novak",
    "Weber",
    "Rossi",
    "Silva",
    "Kowalski",
    "Jensen",
    "Dubois",
    "Popov",
    "Costa",
    "Lund",
)
_TOWNS = ("Lisbon", "Graz", "Porto", "Turin", "Oslo", "Lyon", "Bergen", "Ghent", "Split", "Zurich")


def form(data: Path, organizations: int, seed: int, train: int = 400, test: int = 80) -> TaskSet:  # noqa: ARG001
    """One form of answer that all share, over people that differ: a record written from a sentence."""
    dice = random.Random(f"form {seed}")
    people = [(g, f, t) for g in _GIVEN for f in _FAMILY for t in _TOWNS]
    rows = [
        Example(
            f"Write the record: {given} {family} lives in {town}.",
            f"name={family}, {given}; town={town}",
            _NOBODY,
        )
        for given, family, town in dice.sample(people, train + test)
    ]
    return TaskSet(_in_turn(rows[:train], organizations), {"all": rows[train:]})


def _in_turn(rows: Sequence[Example], organizations: int) -> dict[str, list[Example]]:
    return {
        name: list(rows[place::organizations]) for place, name in enumerate(names(organizations))
    }


Deal = Callable[[Path, int, int], TaskSet]


def _banking_at(alpha: float) -> Deal:
    return lambda data, organizations, seed: banking77(data, organizations, seed, alpha)


TASKS: Mapping[str, Deal] = {
    "facts": facts,
    "people": people,
    "banking77 Dirichlet 0.1": _banking_at(0.1),
    "banking77 Dirichlet 0.5": _banking_at(0.5),
    "pubmedqa": pubmedqa,
    "form": form,
}
