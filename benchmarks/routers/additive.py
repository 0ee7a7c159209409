"""The router of sums beside the others, with names, in other words and without names; and orphans.

`python -m benchmarks.routers.additive` writes additive.jsonl beside itself, a line for each cell,
skips what is there, and prints the tables of docs/routers.md. Blocks are kept in --cache.
"""

from __future__ import annotations

import argparse
import json
import os
import sys
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import clock, conditions
from benchmarks.forgetting.table import spread
from benchmarks.routers.people import (
    MOST,
    STEPS,
    NoBlocks,
    People,
    Summed,
    adapter,
    anchored,
    base_answers,
    feature_maps,
    make_people,
    routers,
    trained_blocks,
)
from benchmarks.routers.world import LoadedBlocks, load_model, reworded, stripped
from rescind.core import ConsortiumParameters
from rescind.devnet.defaults import BASE_MODEL
from rescind.forgetting.orphans import audit_orphans
from rescind.training import Assistant, Example, LoraModel, load_base
from rescind.training.data import normalize
from rescind.training.routers import AdditiveRouter, Router, state_bytes
from rescind.training.serving.generation import generate

RESULTS = Path(__file__).with_name("additive.jsonl")
WIDTHS = (2, 4, 16, 64, MOST)
"""Numbers of organizations at which a router that needs no blocks is asked."""
BLOCKS = 4
ANCHORS = 128
"""Public questions that blocks are trained with; the router's threshold is set on others."""
MOST_ASKED = 384
LEAVERS = 2
OTHERS = 32
"""The remaining organizations' questions that are asked after each removal."""
FORMS: dict[str, Callable[[Example], str]] = {
    "named": lambda example: example.question,
    "reworded": reworded,
    "no name": stripped,
}
ROUTERS = ("likelihood", "prototypes, per subject", "additive, n-grams", "additive, hidden states")
Line = dict[str, Any]


def routing(router: Router, blocks: Any, people: People, seed: int) -> Line:
    """Return which block is chosen for each form of question, and what that costs."""
    router.fit(blocks)
    began = clock()
    router.route(["Who?"])
    solving = clock() - began
    rows = sorted({row for name in blocks.blocks for row in people.organizations[name]}, key=str)
    dice = np.random.default_rng(seed)
    asked = [rows[place] for place in sorted(dice.permutation(len(rows))[:MOST_ASKED])]
    blocks.passes = 0
    began = clock()
    router.route([row.question for row in asked])
    seconds, passes = clock() - began, blocks.passes
    line: Line = {}
    for form, worded in FORMS.items():
        own = router.route([worded(row) for row in asked])
        others = router.route([worded(row) for row in people.nobodys])
        right = [c.organization in people.holders(row) for c, row in zip(own, asked, strict=True)]
        line[f"right, {form}"] = float(np.mean(right))
        line[f"own to base, {form}"] = float(np.mean([c.organization is None for c in own]))
        line[f"nobody's to base, {form}"] = float(np.mean([c.organization is None for c in others]))
    return line | {
        "asked": len(asked),
        "passes": passes,
        "CPU ms a question": 1000 * seconds / len(asked),
        "seconds to solve": solving,
        "state bytes": state_bytes(router),
    }


def orphans(
    make: Callable[[], Router],
    model: LoraModel,
    parameters: ConsortiumParameters,
    tensors: dict[str, Any],
    people: People,
) -> Line:
    """Return what becomes of each leaver's questions, for each form; means over the leavers."""
    lines: list[dict[str, Any]] = []
    totals = adapter(model, parameters, tensors)
    for leaver in sorted(tensors)[:LEAVERS]:
        assistant = Assistant(model, parameters, totals, router=make())
        known = _known(assistant, leaver, people.organizations[leaver])
        before = assistant.ask_many(known, max_new_tokens=24)
        assistant.drop(leaver)
        kept = [row for n in assistant.blocks for row in people.organizations[n]]
        kept_sample = kept[:: max(1, len(kept) // OTHERS)]
        honest = assistant.ask_many(kept_sample, max_new_tokens=24)
        line: Line = {
            "known": len(known) / len(people.organizations[leaver]),
            "right before": float(
                np.mean([_right(a.text, row) for a, row in zip(before, known, strict=True)])
            ),
            "others' right": float(
                np.mean([_right(a.text, row) for a, row in zip(honest, kept_sample, strict=True)])
            ),
        }
        for form, worded in FORMS.items():
            asked = [Example(worded(row), row.answer, row.subject) for row in known]
            shared = people.shared & set(kept)
            held = [Example(worded(row), row.answer, row.subject) for row in shared]
            found = audit_orphans(assistant, asked, held, max_new_tokens=24)
            line |= {f"{key}, {form}": value for key, value in found.details.items()}
        lines.append(line)
    return {key: float(np.mean([line[key] for line in lines])) for key in lines[0]}


def _known(assistant: Assistant, leaver: str, rows: Sequence[Example]) -> list[Example]:
    """Return the rows that the leaver's own block answers right."""
    questions = [row.question for row in rows]
    texts = generate(assistant.base, assistant.network(leaver), questions, 24)
    return [row for row, text in zip(rows, texts, strict=True) if _right(text, row)]


def _right(text: str, row: Example) -> bool:
    return normalize(text) == normalize(row.answer)


class Run:
    """The cells that are measured, one line each, and the file that they are kept in."""

    def __init__(self, results: Path) -> None:
        self._results = results
        text = results.read_text(encoding="utf-8") if results.exists() else ""
        self.lines: list[Line] = [json.loads(line) for line in text.splitlines()]

    def has(self, key: Line) -> bool:
        """Return whether a cell was measured."""
        return any(line.items() >= key.items() for line in self.lines)

    def cell(self, key: Line, measure: Callable[[], Line]) -> None:
        if self.has(key):
            return
        line = {**key, **measure(), "load": os.getloadavg()[0], "conditions": conditions()}
        self.lines.append(line)
        with self._results.open("a", encoding="utf-8") as handle:
            handle.write(json.dumps(line) + "\n")
        sys.stderr.write(f"{key}\n")


def widths(run: Run, seed: int, counts: Sequence[int]) -> None:
    """Measure routers that need no blocks, at every number of organizations."""
    base = load_base(BASE_MODEL, device="cpu")
    people = make_people(MOST, seed, shared=False)
    for count in counts:
        names = sorted(people.organizations)[:count]
        held = {name: people.organizations[name] for name in names}
        blocks = NoBlocks(base, names)
        for kind, features in feature_maps(base).items():
            key = {"part": "widths", "seed": seed, "organizations": count, "router": kind}
            run.cell(key, partial(_summed_routing, features, blocks, held, people, seed))


def _summed_routing(features: Any, blocks: NoBlocks, held: Any, people: People, seed: int) -> Line:
    summed = Summed.of(features, blocks, held, people.reference)
    router = summed.router()
    line = routing(router, blocks, people, seed)
    total = router.total
    served = AdditiveRouter(summed.agreed, total, summed.numbers, summed.reference)
    served.fit(blocks)
    posted = summed.agreed.tensors(next(iter(summed.posted.values())))
    return line | {
        "state bytes": state_bytes(served),
        "posted bytes": sum(tensor.nbytes for tensor in posted.values()),
    }


def blocks_part(run: Run, seed: int, cache: Path, steps: int) -> None:
    """Measure every router with blocks, trained with a public anchor and without, and orphans."""
    model, parameters = load_model(seed)
    people = make_people(BLOCKS, seed, shared=True)
    for training in ("own data alone", "half public"):
        cell = {"seed": seed, "organizations": BLOCKS, "training": training}
        if all(
            run.has({"part": part, "router": kind, **cell})
            for part in ("blocks", "orphans")
            for kind in ROUTERS
        ):
            continue
        held = dict(people.organizations)
        if training == "half public":
            public = base_answers(model, parameters, people.reference[:ANCHORS])
            held = {name: anchored(rows, public) for name, rows in held.items()}
        # The same number of steps on own pairs.
        many = steps * (2 if training == "half public" else 1)
        folder = cache / f"{training} {seed}"
        tensors = trained_blocks(model, parameters, held, many, folder)
        blocks = LoadedBlocks(model, tensors)
        for kind, make in routers(blocks, people.organizations, people.reference).items():
            key = {"router": kind, **cell}
            run.cell({"part": "blocks", **key}, partial(_block_routing, make, blocks, people, seed))
            run.cell(
                {"part": "orphans", **key},
                partial(orphans, make, model, parameters, tensors, people),
            )


def _block_routing(
    make: Callable[[], Router], blocks: LoadedBlocks, people: People, seed: int
) -> Line:
    return routing(make(), blocks, people, seed)


def table(lines: Sequence[Line], part: str, rows: Sequence[str], columns: dict[str, str]) -> str:
    """Return a table with means over seeds and half widths of 95 % intervals."""
    own = [line for line in lines if line["part"] == part]
    keys = list(dict.fromkeys(tuple(line[name] for name in rows) for line in own))
    out = [
        f"| {' | '.join(rows)} | seeds | {' | '.join(columns)} |",
        "|---" * (len(rows) + 1 + len(columns)) + "|",
    ]
    for key in keys:
        cell = [line for line in own if tuple(line[name] for name in rows) == key]
        values = [_cell([line[name] for line in cell]) for name in columns.values()]
        named = " | ".join(str(value) for value in key)
        out.append(f"| {named} | {len(cell)} | {' | '.join(values)} |")
    return "\n".join(out) + "\n"


def _cell(values: Sequence[float]) -> str:
    mean, half = spread(values)
    shown = f"{mean:.2f}" if mean < 100 else f"{mean:,.0f}"
    return (
        shown if half is None or not np.isfinite(half) or half < 0.005 else f"{shown} ± {half:.2f}"
    )


ROUTING = {
    **{f"right, {form}": f"right, {form}" for form in ("named", "reworded")},
    "no name to base": "own to base, no name",
    "nobody's to base": "nobody's to base, named",
    "nobody's reworded to base": "nobody's to base, reworded",
    "passes": "passes",
    "CPU ms": "CPU ms a question",
}
ORPHANS = {
    **{
        f"{fate}, {form}": f"{fate}, {form}"
        for form in FORMS
        for fate in ("substituted", "refused", "invented")
    },
    "shared kept": "shared_kept, named",
    "others' right": "others' right",
}


def page(lines: Sequence[Line]) -> str:
    """Return the tables."""
    return "\n".join(
        [
            table(
                lines,
                "widths",
                ("organizations", "router"),
                {**ROUTING, "s to solve": "seconds to solve"},
            ),
            table(lines, "blocks", ("training", "router"), ROUTING),
            table(
                lines,
                "orphans",
                ("training", "router"),
                {"known": "known", "right before": "right before", **ORPHANS},
            ),
        ]
    )


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seed", type=int, action="append")
    parser.add_argument(
        "--part",
        choices=("widths", "blocks", "table"),
        action="append",
        help="by default both; table prints what is there",
    )
    parser.add_argument("--organizations", type=int, nargs="+", default=WIDTHS)
    parser.add_argument("--steps", type=int, default=STEPS)
    parser.add_argument("--cache", type=Path, default=Path("runs/routers"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    options = parser.parse_args()
    torch.set_num_threads(1)
    run = Run(options.results)
    for seed in options.seed or (0, 1, 2):
        if "widths" in (options.part or ["widths"]):
            widths(run, seed, options.organizations)
        if "blocks" in (options.part or ["blocks"]):
            blocks_part(run, seed, options.cache, options.steps)
    sys.stdout.write(page(run.lines))


if __name__ == "__main__":
    main()
