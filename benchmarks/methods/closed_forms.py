"""Closed forms: four of six people forgotten in turn, with A trained and with A frozen."""

from __future__ import annotations

from collections.abc import Mapping
from functools import cached_property
from typing import Any

import numpy as np

from benchmarks.methods.scene import OWNER, Scene, added, examples_of, right
from rescind.core import FloatTensors, Totals
from rescind.devnet.people import make_population
from rescind.training import Example
from rescind.unlearning import Problem, counter_delta, find
from rescind.unlearning.closed_form import FisherMeasure, NothingSelected

PEOPLE, FORGOTTEN, UNSEEN = 6, 4, 8
BEFORE, WITHOUT = "before", "trained without"
METHODS: Mapping[str, tuple[str, Mapping[str, Any]]] = {
    "`ssd`, published selection 10": ("ssd", {}),
    "`ssd`, selection 2": ("ssd", {"selection": 2}),
    "`ssd`, selection 2, batches of 4": (
        "ssd",
        {"selection": 2, "measure": FisherMeasure(batch_size=4)},
    ),
    "`ssd`, label-free, selection 1.5": (
        "ssd",
        {"selection": 1.5, "measure": FisherMeasure(label_free=True)},
    ),
    "`partial`": ("partial", {}),
    "`partial`, threshold 1.5": ("partial", {"threshold": 1.5}),
    "`partial`, positions last-prompt": (
        "partial",
        {"positions": "last-prompt", "keep_positions": "last-prompt"},
    ),
    "`redirect`": ("redirect", {}),
    "`redirect`, c 1": ("redirect", {"c": 1}),
    "`redirect`, target base": ("redirect", {"target": "base"}),
    "`redirect`, positions answer": ("redirect", {"positions": "answer"}),
}
ROWS = [BEFORE, WITHOUT, *METHODS]


class ClosedForms:
    """The setting of docs/unlearning-closed-form.md; the block is trained when a row needs it."""

    def __init__(self, seed: int, *, train_a: bool) -> None:
        self.seed, self.train_a = seed, train_a
        population = make_population(["a"], seed=seed, own_people=PEOPLE)
        self.own = examples_of(population.organizations["a"])
        self.unseen = examples_of(population.held_out)[:UNSEEN]
        self.subjects = list(dict.fromkeys(e.subject for e in self.own))[:FORGOTTEN]

    @cached_property
    def scene(self) -> Scene:
        return Scene.make(train_a=self.train_a, seed=self.seed)

    @cached_property
    def learned(self) -> Totals:
        return self.scene.learn(self.own)

    def sizes(self) -> dict[str, int]:
        """Pairs: of all four forget sets, of all four retain sets, of people whom nobody taught."""
        forget = sum(len(self._split(subject)[0]) for subject in self.subjects)
        retain = sum(len(self._split(subject)[1]) for subject in self.subjects)
        return {"forget": forget, "retain": retain, "unseen": len(self.unseen)}

    def measure(self, row: str) -> dict[str, Any]:
        """The measurements of each of the four subjects."""
        return {"subjects": [self._one(row, subject) for subject in self.subjects]}

    def _split(self, subject: str) -> tuple[list[Example], list[Example]]:
        forget = [example for example in self.own if example.subject == subject]
        return forget, [example for example in self.own if example.subject != subject]

    def _one(self, row: str, subject: str) -> dict[str, Any]:
        scene, (forget, retain) = self.scene, self._split(subject)
        start = scene.served(self.learned)
        if row == BEFORE:
            return self._state(start, forget, retain)
        if row == WITHOUT:
            return self._state(scene.served(scene.learn(retain)), forget, retain)
        problem = Problem(
            scene.model, scene.parameters, OWNER, start, forget, retain, self.seed, own=self.own
        )
        name, settings = METHODS[row]
        try:
            outcome = find(name).run(problem, find(name).settings(**settings))
        except NothingSelected as error:
            return {"nothing selected": str(error), **self._state(start, forget, retain)}
        delta = counter_delta(problem, outcome).delta
        state = self._state(scene.served(added(self.learned, delta)), forget, retain)
        return {**state, "edits": _edits(outcome.report)}

    def _state(
        self, tensors: FloatTensors, forget: list[Example], retain: list[Example]
    ) -> dict[str, Any]:
        given = self.scene.answers(tensors, forget)
        return {
            "forget_loss": self.scene.loss(tensors, forget),
            "retain_loss": self.scene.loss(tensors, retain),
            "unseen_loss": self.scene.loss(tensors, self.unseen),
            "forget_right": right(given, forget),
            "retain_right": right(self.scene.answers(tensors, retain), retain),
            "answers": given,
        }


def _edits(report: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Of a redirection, by module: what was left undone."""
    names = ("left", "left_unconstrained", "relative_error")
    modules = report.get("modules", {}).values()
    return [{name: one[name] for name in names} for one in modules if "left" in one]


def table(
    found: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int], *, train_a: bool
) -> str:
    """One of the two tables of docs/unlearning-closed-form.md, of the rows that are there."""
    lines = [
        f"| A {'trained' if train_a else 'frozen'} | forget | retain | unseen | right, forget | right, retain |",
        "|" + "---|" * 6,
    ]
    lines += [
        f"| {row} | {' | '.join(_cells(found[row]['subjects'], sizes))} |"
        for row in ROWS
        if row in found
    ]
    return "\n".join([*lines, "", *_left(found)])


def _cells(subjects: list[dict[str, Any]], sizes: Mapping[str, int]) -> list[str]:
    unchanged = sum("nothing selected" in one for one in subjects)
    if unchanged == len(subjects):
        return ["nothing selected", "", "", "", ""]
    mean = {
        key: float(np.mean([one[key] for one in subjects]))
        for key in ("retain_loss", "unseen_loss")
    }
    losses = [one["forget_loss"] for one in subjects]
    forget = f"{np.mean(losses):.2f} ({min(losses):.2f} to {max(losses):.2f})"
    if unchanged:
        forget += f", nothing selected for {unchanged}"
    return [
        forget,
        f"{mean['retain_loss']:.2f}",
        f"{mean['unseen_loss']:.2f}",
        f"{sum(one['forget_right'] for one in subjects)} of {sizes['forget']}",
        f"{sum(one['retain_right'] for one in subjects)} of {sizes['retain']}",
    ]


def _left(found: Mapping[str, Mapping[str, Any]]) -> list[str]:
    """Return how far a redirection within the block's shapes fell short, a line for each row."""
    lines = []
    for row, one in found.items():
        edits = [edit for subject in one["subjects"] for edit in subject.get("edits", ())]
        if edits:
            spans = (
                f"{name} {min(e[name] for e in edits):.2f} to {max(e[name] for e in edits):.2f}"
                for name in edits[0]
            )
            lines.append(f"{row}: {', '.join(spans)}")
    return lines
