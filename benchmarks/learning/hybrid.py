"""Measure one hybrid consortium that holds facts and classes: python -m benchmarks.learning.hybrid

Each of four organizations holds facts, messages of Banking77 and abstracts of PubMedQA. Its block
learns its facts; its sums are over the labelled rows, and over the questions about its facts, from
which the router is solved. One assistant answers all questions. Beside it: each organization alone,
and one LoRA that all data trains in one place and that answers everything, in its own words or with
the label that it finds likeliest. benchmarks.forgetting.hybrid removes an organization and a person
from such a consortium.

One JSON line for each seed and part; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import clock, conditions
from benchmarks.consortium import address
from benchmarks.forgetting.table import spread
from benchmarks.learning.hybrid_model import (
    FACTS,
    ORGANIZATIONS,
    ROUNDS,
    Agreed,
    Consortium,
    Data,
    arguments,
    base_of,
    hybrid_setting,
)
from benchmarks.learning.one_place import in_one_place, planned_steps
from benchmarks.learning.run import PLAN
from benchmarks.learning.trainings import Setting
from rescind.core import STATISTICS, Totals, encode
from rescind.training import (
    Assistant,
    Example,
    normalize,
)
from rescind.training.serving.heads import answers_of_heads, skills_of
from rescind.training.serving.respond import OneNetwork, answers

RESULTS = Path(__file__).with_name("hybrid.jsonl")
CENTRALIZED = "centralized"
CHOOSING = "centralized, choosing"
HYBRID = "hybrid"
PARTS = ("consortium", "centralized")
COLUMNS = ("alone", "blocks", HYBRID, CENTRALIZED, CHOOSING)
_NEW_TOKENS = 64


@dataclass
class Measured:
    """The figures of one consortium.

    Attributes:
        setting: How blocks are trained.
        data: What organizations hold and what is asked.
        agreed: What they agreed on.
        steps: Of training in one place, for each kind of question.
    """

    setting: Setting
    data: Data
    agreed: Agreed
    steps: Mapping[str, int]

    def consortium(self) -> dict[str, Any]:
        """Return what the consortium gets right, beside blocks alone and each organization alone."""
        say = self.setting.say
        say("training blocks")
        whole = Consortium(self.setting, self.agreed, self.data.held)
        say("asking")
        assistant, solving = _timed(lambda: self.agreed.assistant(whole.totals, whole.names))
        by_likelihood = Assistant(self.agreed.model, whole.trainer.parameters, whole.blocks)
        return {
            "blocks": {FACTS: self.facts(by_likelihood, whole.names)},
            HYBRID: self.asked(assistant, whole.names),
            "alone": self.alone(whole),
            "same as in one place": self.as_in_one_place(whole),
            "bytes of statistics": len(encode(next(iter(whole.contributed.values())))),
            "bytes of the adapter": len(encode(whole.totals)),
            "seconds": {
                "training": whole.trainer.seconds,
                "statistics": whole.seconds_of_sums,
                "heads and router": solving,
            },
        }

    def counts(self) -> dict[str, int]:
        """Return the number of questions of each kind."""
        facts = sum(len(rows) for rows in self.data.facts.test.values())
        return {FACTS: facts} | {
            name: len(skill.test["all"]) for name, skill in self.data.skills.items()
        }

    def asked(self, assistant: Assistant, names: Iterable[str]) -> dict[str, float]:
        """Return the right answers of each kind, all from one assistant; facts of some organizations."""
        right = {FACTS: self.facts(assistant, names)}
        for name, skill in self.data.skills.items():
            rows = skill.test["all"]
            said = assistant.ask_many(self._questions(name))
            if any(answer.task != name for answer in said):
                raise ValueError(f"a question of {name} was not answered by its head")
            right[name] = _share([answer.text for answer in said], rows)
        return right

    def _questions(self, name: str) -> list[str]:
        return [row.question for row in self._asked(name, self.data.skills[name].test["all"])]

    def facts(self, assistant: Assistant, names: Iterable[str]) -> float:
        """Return the share of facts of some organizations that are answered right."""
        rows = [row for name in names for row in self.data.facts.test[name]]
        with self._precision():
            said = assistant.ask_many([row.question for row in rows], max_new_tokens=_NEW_TOKENS)
        return _share([answer.text for answer in said], rows)

    def alone(self, whole: Consortium) -> dict[str, float]:
        """Return what an organization gets right with its own block and the heads of its own sums, on average."""
        right = {FACTS: float(np.mean([self._block_alone(name) for name in self.data.names]))}
        heads = [self._heads_alone(whole.contributed[name]) for name in self.data.names]
        return right | {name: float(np.mean([each[name] for each in heads])) for name in heads[0]}

    def _heads_alone(self, statistics: Totals) -> dict[str, float]:
        skills = skills_of(self.agreed.parameters, statistics)
        right = {}
        for name, skill in self.data.skills.items():
            rows = skill.test["all"]
            given = answers_of_heads(skills, self._questions(name))
            labels = [given[index].label if index in given else None for index in range(len(rows))]
            right[name] = _share([label or "" for label in labels], rows)
        return right

    def _block_alone(self, name: str) -> float:
        network = self.agreed.model.use(f"block_{address(name)}")
        one = OneNetwork(self.setting.base, network, self.setting.max_length)
        rows = self.data.facts.test[name]
        with self._precision():
            said = answers(one, [row.question for row in rows], max_new_tokens=_NEW_TOKENS)
        return _share(said, rows)

    def centralized(self) -> dict[str, Any]:
        """Return what one LoRA gets right that all data trained in one place."""
        self.setting.say("training in one place")
        model = in_one_place(self.setting, self._rows(), self.steps)
        self.setting.say("asking")
        written, chosen = {}, {}
        with self._precision():
            for kind, rows in self._tests().items():
                questions = [row.question for row in rows]
                said = answers(model.respondent, questions, max_new_tokens=_NEW_TOKENS)
                written[kind] = _share(said, rows)
                if kind != FACTS:
                    labels = self.agreed.statistics.tasks[kind].labels
                    chosen[kind] = _share(model.choices(questions, labels), rows)
        return {
            CENTRALIZED: written,
            CHOOSING: chosen,
            "steps": model.steps,
            "rows of a pass": dict(model.rows),
            "seconds": {"training": model.seconds},
        }

    def _rows(self) -> dict[str, list[Example]]:
        """Return all that organizations hold, by kind, as a language model is asked it."""
        rows = {FACTS: [row for own in self.data.facts.train.values() for row in own]}
        for name, skill in self.data.skills.items():
            rows[name] = self._asked(name, [row for own in skill.train.values() for row in own])
        return rows

    def _tests(self) -> dict[str, list[Example]]:
        """Return the rows of the test, by kind, as a language model is asked them."""
        rows = {FACTS: [row for own in self.data.facts.test.values() for row in own]}
        for name, skill in self.data.skills.items():
            rows[name] = self._asked(name, skill.test["all"])
        return rows

    def _asked(self, name: str, rows: Sequence[Example]) -> list[Example]:
        task = self.agreed.statistics.tasks[name]
        return [replace(row, question=task.question(row.question)) for row in rows]

    def as_in_one_place(self, whole: Consortium) -> bool:
        """Return whether the sums of all tasks are those of all rows in one place."""
        for name, skill in self.data.skills.items():
            rows = [row for own in skill.train.values() for row in own]
            # More rows than one organization may have.
            task = self.agreed.statistics.tasks[name].model_copy(update={"max_rows": 2**14})
            central = task.collect([row.question for row in rows], [row.answer for row in rows])
            for bare, value in central.tensors().items():
                if not np.array_equal(whole.totals[f"{STATISTICS}/{name}.{bare}"], value):
                    return False
        return True

    def _precision(self) -> torch.autocast:
        bf16 = self.setting.engine.precision == "bf16"
        return torch.autocast(self.setting.base.device.type, torch.bfloat16, enabled=bf16)


def _timed(call: Callable[[], Any]) -> tuple[Any, float]:
    began = clock()
    result = call()
    return result, clock() - began


def _share(said: Sequence[str], rows: Sequence[Example]) -> float:
    pairs = zip(said, rows, strict=True)
    return float(np.mean([normalize(text) == normalize(row.answer) for text, row in pairs]))


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return what one consortium gets right beside others, and its distance from them, paired by seed."""
    seeds = [_of_seed(lines, seed) for seed in sorted({line["seed"] for line in lines})]
    columns = [name for name in COLUMNS if any(name in each for each in seeds)]
    kinds = seeds[0]["n"]
    rows = [f"| what is asked | {' | '.join(columns)} | n |", "|" + "---|" * (len(columns) + 2)]
    for kind in kinds:
        cells = [
            _mean([each[name].get(kind) for each in seeds if name in each]) for name in columns
        ]
        rows.append(f"| {kind} | {' | '.join(cells)} | {kinds[kind]} |")
    others = [name for name in columns if name != HYBRID]
    rows += ["", f"| hybrid less, points | {' | '.join(others)} |"]
    rows.append("|" + "---|" * (len(others) + 1))
    for kind in kinds:
        cells = [_mean(_differences(seeds, kind, name), digits=1) for name in others]
        rows.append(f"| {kind} | {' | '.join(cells)} |")
    counts = [f"{name} {sum(name in each for each in seeds)}" for name in columns]
    return "\n".join([*rows, "", f"Seeds: {', '.join(counts)}."]) + "\n"


def _of_seed(lines: Sequence[Mapping[str, Any]], seed: int) -> dict[str, Any]:
    """Return what all parts of a seed found."""
    own = [line for line in lines if line["seed"] == seed]
    return {key: value for line in own for key, value in line.items()}


def _differences(seeds: Sequence[Mapping[str, Any]], kind: str, other: str) -> list[float | None]:
    """Return by how many points the consortium is above another column, for each seed with both."""
    pairs = [
        (each[HYBRID][kind], each[other].get(kind))
        for each in seeds
        if HYBRID in each and other in each
    ]
    return [None if theirs is None else 100 * (ours - theirs) for ours, theirs in pairs]


def _mean(values: Sequence[float | None], digits: int = 2) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, half = spread(known)
    return f"{mean:.{digits}f}" if half is None else f"{mean:.{digits}f} ± {half:.{digits}f}"


def main() -> None:
    parser = arguments(__doc__, RESULTS, buckets=2047)
    parser.add_argument("--facts", choices=("people", "facts"), default="people")
    parser.add_argument("--steps", type=int, help="of all blocks together")
    parser.add_argument(
        "--share", type=float, default=1.0, help="of the usual steps for skills, in one place"
    )
    parser.add_argument("--learning-rate", type=float, default=5e-3)
    parser.add_argument("--part", choices=PARTS, action="append")
    options = parser.parse_args()
    base = base_of(options)
    lines = _lines(options.results)
    total = options.steps or PLAN[options.facts]["total_steps"]
    steps_each = max(1, total // ORGANIZATIONS // ROUNDS) * ROUNDS
    steps = planned_steps(steps_each * ORGANIZATIONS, options.share)
    chosen = {
        "base": base.id,
        "facts": options.facts,
        "buckets": options.buckets,
        "steps_each": steps_each,
        "steps_in_one_place": steps,
        "learning_rate": options.learning_rate,
        "precision": options.precision,
    }
    for seed in options.seed or (0, 1, 2):
        for part in options.part or PARTS:
            key = {"seed": seed, "part": part, **chosen}
            if not any(line.items() >= key.items() for line in lines):
                lines.append({**key, **_run(options, key, total)})
                with options.results.open("a", encoding="utf-8") as handle:
                    handle.write(json.dumps(lines[-1]) + "\n")
    sys.stdout.write(page([line for line in lines if line.items() >= chosen.items()]))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _run(options: argparse.Namespace, key: Mapping[str, Any], total: int) -> dict[str, Any]:
    began, seed, part = time.monotonic(), key["seed"], key["part"]

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began:6.1f} s] seed {seed}, {part}: {text}\n")

    data = Data.of(options.data, seed, options.facts)
    setting = hybrid_setting(
        base_of(options),
        data,
        seed,
        steps=total,
        work=options.work,
        say=say,
        precision=options.precision,
        learning_rate=options.learning_rate,
    )
    agreed = Agreed.of(setting, data, options.buckets)
    # On a base of its own: adapters of others stay in the layers of a base that has had them.
    apart = replace(setting, base=base_of(options))
    measured = Measured(apart, data, agreed, key["steps_in_one_place"])
    try:
        figures = measured.consortium() if part == "consortium" else measured.centralized()
    finally:
        shutil.rmtree(setting.work, ignore_errors=True)
    return {
        **figures,
        "n": measured.counts(),
        "load": os.getloadavg()[0],
        "conditions": conditions(),
    }


if __name__ == "__main__":
    main()
