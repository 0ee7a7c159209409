"""Measure one hybrid consortium that holds facts and classes: python -m benchmarks.learning.hybrid

Each of four organizations holds facts, messages of Banking77 and abstracts of PubMedQA. Its block
learns its facts; its sums are over the labelled rows, and over the questions about its facts, from
which the router is solved. One assistant answers all questions. benchmarks.forgetting.hybrid removes
an organization and a person from such a consortium.

One JSON line for each seed; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import clock, conditions
from benchmarks.consortium import address
from benchmarks.forgetting.table import spread
from benchmarks.learning.hybrid_model import (
    ORGANIZATIONS,
    ROUNDS,
    Agreed,
    Consortium,
    Data,
    arguments,
    base_of,
    hybrid_setting,
)
from benchmarks.learning.run import PLAN
from benchmarks.learning.trainings import Setting
from rescind.core import STATISTICS, encode
from rescind.training import (
    Assistant,
    Base,
    Example,
    normalize,
)
from rescind.training.serving.respond import OneNetwork, answers

RESULTS = Path(__file__).with_name("hybrid.jsonl")
_NEW_TOKENS = 64


@dataclass
class Measured:
    """The figures of one consortium.

    Attributes:
        setting: How blocks are trained.
        data: What organizations hold and what is asked.
        agreed: What they agreed on.
    """

    setting: Setting
    data: Data
    agreed: Agreed

    def line(self) -> dict[str, Any]:
        """Return everything that is reported of a seed."""
        say = self.setting.say
        say("training blocks")
        whole = Consortium(self.setting, self.agreed, self.data.held)
        say("asking")
        assistant, solving = _timed(lambda: self.agreed.assistant(whole.totals, whole.names))
        by_likelihood = Assistant(self.agreed.model, whole.trainer.parameters, whole.blocks)
        return {
            "blocks": {"facts": self.facts(by_likelihood, whole.names)},
            "hybrid": self.asked(assistant, whole.names),
            "alone": self.alone(),
            "same as in one place": self.as_in_one_place(whole),
            "n": self.counts(),
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
        return {"facts": facts} | {
            name: len(skill.test["all"]) for name, skill in self.data.skills.items()
        }

    def asked(self, assistant: Assistant, names: Iterable[str]) -> dict[str, float]:
        """Return the right answers of each kind, all from one assistant; facts of some organizations."""
        right = {"facts": self.facts(assistant, names)}
        for name, skill in self.data.skills.items():
            task, rows = self.agreed.statistics.tasks[name], skill.test["all"]
            said = assistant.ask_many([task.question(row.question) for row in rows])
            if any(answer.task != name for answer in said):
                raise ValueError(f"a question of {name} was not answered by its head")
            right[name] = _share([answer.text for answer in said], rows)
        return right

    def facts(self, assistant: Assistant, names: Iterable[str]) -> float:
        """Return the share of facts of some organizations that are answered right."""
        rows = [row for name in names for row in self.data.facts.test[name]]
        with self._precision():
            said = assistant.ask_many([row.question for row in rows], max_new_tokens=_NEW_TOKENS)
        return _share([answer.text for answer in said], rows)

    def alone(self) -> dict[str, float]:
        """Return what an organization gets right with its own block, of those that were asked last.

        benchmarks.learning.sums has what its own sums are worth.
        """
        return {"facts": float(np.mean([self._block_alone(name) for name in self.data.names]))}

    def _block_alone(self, name: str) -> float:
        network = self.agreed.model.use(f"block_{address(name)}")
        one = OneNetwork(self.setting.base, network, self.setting.max_length)
        rows = self.data.facts.test[name]
        with self._precision():
            said = answers(one, [row.question for row in rows], max_new_tokens=_NEW_TOKENS)
        return _share(said, rows)

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
    """Return a table: what one consortium gets right, beside blocks alone and each organization alone."""
    names = ("alone", "blocks", "hybrid")
    rows = [f"| what is asked | {' | '.join(names)} | n |", "|" + "---|" * 5]
    for kind in lines[0]["hybrid"]:
        cells = [_mean([line[name].get(kind) for line in lines]) for name in names]
        rows.append(f"| {kind} | {' | '.join(cells)} | {lines[0]['n'][kind]} |")
    return "\n".join(rows) + "\n"


def _mean(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, half = spread(known)
    return f"{mean:.2f}" if half is None else f"{mean:.2f} ± {half:.2f}"


def main() -> None:
    parser = arguments(__doc__, RESULTS, buckets=2047)
    parser.add_argument("--facts", choices=("people", "facts"), default="people")
    parser.add_argument("--steps", type=int, help="of all blocks together")
    options = parser.parse_args()
    base = base_of(options)
    lines = _lines(options.results)
    total = options.steps or PLAN[options.facts]["total_steps"]
    chosen = {
        "base": base.id,
        "facts": options.facts,
        "buckets": options.buckets,
        "steps_each": max(1, total // ORGANIZATIONS // ROUNDS) * ROUNDS,
        "precision": options.precision,
    }
    for seed in options.seed or (0, 1, 2):
        key = {"seed": seed, **chosen}
        if not any(line.items() >= key.items() for line in lines):
            lines.append({**key, **_run(options, base, seed, total)})
            with options.results.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(lines[-1]) + "\n")
    sys.stdout.write(page([line for line in lines if line.items() >= chosen.items()]))


def _lines(path: Path) -> list[dict[str, Any]]:
    if not path.exists():
        return []
    return [json.loads(line) for line in path.read_text(encoding="utf-8").splitlines()]


def _run(options: argparse.Namespace, base: Base, seed: int, total: int) -> dict[str, Any]:
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began:6.1f} s] seed {seed}: {text}\n")

    data = Data.of(options.data, seed, options.facts)
    setting = hybrid_setting(
        base,
        data,
        seed,
        steps=total,
        work=options.work,
        say=say,
        precision=options.precision,
    )
    try:
        measured = Measured(setting, data, Agreed.of(setting, data, options.buckets))
        figures = measured.line()
    finally:
        shutil.rmtree(setting.work, ignore_errors=True)
    return {
        **figures,
        "load": os.getloadavg()[0],
        "conditions": conditions(),
    }


if __name__ == "__main__":
    main()
