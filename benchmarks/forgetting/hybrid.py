"""Measure a hybrid consortium after a removal beside its replay: python -m benchmarks.forgetting.hybrid

An organization leaves, then, from the whole model again, one person: with the facts in a block and
with labelled rows in the statistics. The replay is a run that never had them, all blocks trained
again from nothing. Its bytes are compared with those after the removal, and metrics and attacks are
measured on both and on the whole model.

One JSON line for each seed; what is there is not run again.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import clock, conditions
from benchmarks.learning.hybrid_model import (
    Agreed,
    Consortium,
    Data,
    Held,
    arguments,
    base_of,
    hybrid_setting,
    statistics_of,
)
from benchmarks.learning.trainings import Setting
from rescind.core import Totals, block, encode
from rescind.core.features import feature_rows
from rescind.core.parts import STATISTICS
from rescind.core.statistics_tensors import named_statistics
from rescind.forgetting.attacks.sums import leverages
from rescind.forgetting.metrics import membership_auc
from rescind.forgetting.metrics.live import measure, measure_privleak
from rescind.forgetting.orphans import audit_orphans
from rescind.training import Assistant, Base, Example

RESULTS = Path(__file__).parent / "results" / "hybrid.jsonl"
STEPS = 160
"""Steps of all blocks together: few, but enough that a block's facts are seen in every metric."""
METRICS = ("probability", "rouge_l_recall", "extraction_strength", "exact_memorization")
_PERSON_ROWS = 5
_NEW_TOKENS = 48


@dataclass(frozen=True)
class Question:
    """The rows that are taken back, and the replay that is compared.

    Attributes:
        facts: The pairs that are to be forgotten.
        kept: All other pairs.
        unseen: Pairs that no organization holds and that are not in the router's reference.
        rows: The labelled rows that are to be forgotten, by task.
        strangers: Labelled rows that no organization holds, by task.
    """

    facts: Sequence[Example]
    kept: Sequence[Example]
    unseen: Sequence[Example]
    rows: Mapping[str, Sequence[Example]]
    strangers: Mapping[str, Sequence[Example]]


class Measurer:
    """Measures models of one consortium in its agreed precision."""

    def __init__(self, setting: Setting, agreed: Agreed) -> None:
        self.setting, self.agreed = setting, agreed

    def figures(self, totals: Totals, names: Sequence[str], asked: Question) -> dict[str, float]:
        """Return every metric and attack of a model by its name."""
        assistant = self.agreed.assistant(totals, names)
        bf16 = self.setting.engine.precision == "bf16"
        with torch.autocast(self.setting.base.device.type, torch.bfloat16, enabled=bf16):
            found = self._of_blocks(assistant, asked)
        return {**found, **self._of_sums(assistant, totals, asked)}

    def _of_blocks(self, assistant: Assistant, asked: Question) -> dict[str, float]:
        found = {
            name: measure(name, assistant, asked.facts, max_new_tokens=_NEW_TOKENS).value
            for name in METRICS
        }
        member = measure_privleak(assistant, asked.facts, asked.unseen)
        kept = measure("probability", assistant, asked.kept)
        orphans = audit_orphans(assistant, asked.facts, asked.kept, max_new_tokens=_NEW_TOKENS)
        return {
            **found,
            "Min-K% AUC": float(member.details["auc"]),
            "orphan_substitution": orphans.value,
            "probability, kept": kept.value,
        }

    def _of_sums(self, assistant: Assistant, totals: Totals, asked: Question) -> dict[str, float]:
        """Return the AUC of membership by the sums, and the right labels of the forgotten rows."""
        found = {}
        sums = named_statistics(self.agreed.statistics, block(totals, STATISTICS))
        for name, rows in asked.rows.items():
            if not rows:
                continue
            task = self.agreed.statistics.tasks[name]
            scores = []
            for group in (rows, asked.strangers[name]):
                columns = [task.labels.index(row.answer) for row in group]
                features = feature_rows(task.features, [row.question for row in group])
                every = leverages(sums[name], features)
                scores.append(every[np.arange(len(group)), columns])
            found[f"leverage AUC, {name}"] = membership_auc(*scores)
            said = assistant.ask_many([task.question(row.question) for row in rows])
            right = [each.text == row.answer for each, row in zip(said, rows, strict=True)]
            found[f"rows right, {name}"] = float(np.mean(right))
        return found


def organization_level(whole: Consortium, data: Data, measurer: Measurer) -> dict[str, Any]:
    """Remove the first organization; return figures of the whole model, after it, and the replay."""
    leaver, *left = whole.names
    began = clock()
    totals = whole.without(leaver)
    measurer.agreed.assistant(totals, left)
    seconds = clock() - began
    never = Consortium(whole.setting, whole.agreed, {name: whole.held[name] for name in left})
    own = whole.held[leaver]
    kept = [row for name in left for row in whole.held[name].facts]
    asked = _asked(data, own.facts, kept, own.rows)
    return _level(measurer, asked, (whole, whole.names), totals, (never, left), seconds)


def person_level(whole: Consortium, data: Data, measurer: Measurer) -> dict[str, Any]:
    """Remove one person of the first organization, from its block and its statistics."""
    name, own = whole.names[0], whole.held[whole.names[0]]
    person = own.facts[0].subject
    task = next(task for task in own.rows if len(own.rows[task]) > _PERSON_ROWS)
    rows = {task: own.rows[task][:_PERSON_ROWS]}
    left = Held(
        [row for row in own.facts if row.subject != person],
        {**own.rows, task: own.rows[task][_PERSON_ROWS:]},
    )
    began = clock()
    totals = whole.replaced(name, left)
    measurer.agreed.assistant(totals, whole.names)
    seconds = clock() - began
    # Trained in a place of its own, so that no block of the replacement is used.
    apart = replace(whole.setting, kept=None)
    never = Consortium(apart, whole.agreed, {**whole.held, name: left})
    gone = [row for row in own.facts if row.subject == person]
    others = [row for each in never.held.values() for row in each.facts]
    asked = _asked(data, gone, others, rows)
    return _level(measurer, asked, (whole, whole.names), totals, (never, never.names), seconds)


def _asked(
    data: Data,
    facts: Sequence[Example],
    kept: Sequence[Example],
    rows: Mapping[str, Sequence[Example]],
) -> Question:
    strangers = {name: data.skills[name].test["all"] for name in rows}
    return Question(facts, kept, data.unseen, rows, strangers)


Model = tuple[Consortium, Sequence[str]]


def _level(
    measurer: Measurer,
    asked: Question,
    whole: Model,
    totals: Totals,
    never: Model,
    seconds: float,
) -> dict[str, Any]:
    same = encode(totals) == encode(never[0].totals)
    sums = encode(statistics_of(totals)) == encode(statistics_of(never[0].totals))
    figures = {
        "full": measurer.figures(whole[0].totals, whole[1], asked),
        "removal": measurer.figures(totals, never[1], asked),
        "replay": measurer.figures(never[0].totals, never[1], asked),
    }
    return {
        "figures": figures,
        "same bytes": same,
        "same bytes of statistics": sums,
        "same figures": figures["removal"] == figures["replay"],
        "n": {
            "facts": len(asked.facts),
            "kept": len(asked.kept),
            "unseen": len(asked.unseen),
            **{name: len(rows) for name, rows in asked.rows.items()},
        },
        "seconds": seconds,
    }


def page(lines: Sequence[Mapping[str, Any]]) -> str:
    """Return a table for each level: the whole model, after the removal, and the replay."""
    parts = []
    for level in ("organization", "person"):
        own = [line[level] for line in lines]
        names = list(own[0]["figures"]["full"])
        rows = [f"| {level} | whole | after the removal | replay |", "|---|---|---|---|"]
        for name in names:
            cells = [
                _mean([each["figures"][model][name] for each in own])
                for model in ("full", "removal", "replay")
            ]
            rows.append(f"| {name} | {' | '.join(cells)} |")
        same = sum(each["same bytes"] for each in own)
        equal = sum(each["same figures"] for each in own)
        rows += [
            "",
            f"Same bytes: {same} of {len(own)}; same figures: {equal} of {len(own)}; "
            f"n: {own[0]['n']}; {_mean([each['seconds'] for each in own])} CPU s.",
        ]
        parts.append("\n".join(rows) + "\n")
    return "\n".join(parts)


def _mean(values: Sequence[float]) -> str:
    return f"{float(np.mean(values)):.2f}"


def main() -> None:
    parser = arguments(__doc__, RESULTS, buckets=511)
    parser.add_argument("--steps", type=int, default=STEPS, help="of all blocks together")
    options = parser.parse_args()
    base = base_of(options)
    held = options.results.read_text(encoding="utf-8") if options.results.exists() else ""
    lines = [json.loads(line) for line in held.splitlines()]
    for seed in options.seed or (0,):
        if not any((line["seed"], line["base"]) == (seed, base.id) for line in lines):
            lines.append(_run(options, base, seed))
            with options.results.open("a", encoding="utf-8") as handle:
                handle.write(json.dumps(lines[-1]) + "\n")
    sys.stdout.write(page([line for line in lines if line["base"] == base.id]))


def _run(options: argparse.Namespace, base: Base, seed: int) -> dict[str, Any]:
    say = _teller(seed)
    data = Data.of(options.data, seed, "people")
    setting = hybrid_setting(
        base,
        data,
        seed,
        steps=options.steps,
        work=options.work,
        say=say,
        precision=options.precision,
    )
    agreed = Agreed.of(setting, data, options.buckets)
    measurer = Measurer(setting, agreed)
    try:
        whole = Consortium(setting, agreed, data.held)
        say("an organization leaves")
        organization = organization_level(whole, data, measurer)
        say("a person leaves")
        person = person_level(whole, data, measurer)
    finally:
        shutil.rmtree(setting.work, ignore_errors=True)
    return {
        "seed": seed,
        "base": base.id,
        "buckets": options.buckets,
        "steps_each": setting.steps * setting.rounds,
        "organization": organization,
        "person": person,
        "load": os.getloadavg()[0],
        "conditions": conditions(),
    }


def _teller(seed: int) -> Callable[[str], None]:
    began = time.monotonic()

    def say(text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - began:6.1f} s] seed {seed}: {text}\n")

    return say


if __name__ == "__main__":
    main()
