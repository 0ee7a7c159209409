"""Every method that trains: one of ten people withdrawn from an isolated block."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property
from typing import Any

from benchmarks.methods.scene import OWNER, Scene, added, examples_of, right
from rescind.core import Totals
from rescind.core.errors import TrainingError
from rescind.devnet.people import make_population
from rescind.unlearning import Problem, counter_delta, find, methods

PEOPLE = 10
TRAINED = [name for name, method in methods().items() if method.trains]
COUNTED = {"answers": False, "questions too": True}
BEFORE = "before"
ROWS = [BEFORE, *(f"{name}, {counted}" for counted in COUNTED for name in TRAINED)]


class CounterTraining:
    """The setting of docs/unlearning-losses.md; the block is trained when the first row needs it."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        population = make_population(["a", "b"], seed=seed, own_people=PEOPLE, shared_people=0)
        own, self.unseen = (examples_of(population.organizations[name]) for name in ("a", "b"))
        self.own = own
        self.forget = [e for e in own if e.subject == own[0].subject]
        self.retain = [e for e in own if e.subject != own[0].subject]

    @cached_property
    def scene(self) -> Scene:
        return Scene.make(train_a=True, seed=self.seed)

    @cached_property
    def learned(self) -> Totals:
        return self.scene.learn(self.own)

    def sizes(self) -> dict[str, int]:
        return {"forget": len(self.forget), "retain": len(self.retain), "unseen": len(self.unseen)}

    def measure(self, row: str) -> dict[str, Any]:
        if row == BEFORE:
            return self._state(self.learned)
        name, counted = row.split(", ")
        problem = self._problem()
        settings = find(name).settings(prompt_in_loss=COUNTED[counted], **self._needed(name))
        report = (outcome := find(name).run(problem, settings)).report
        found = {key: report[key] for key in ("ended", "steps", "verdict", "why", "kept_step")}
        found["never_taught"] = report["before"]["never_taught"]
        try:
            delta = counter_delta(problem, outcome).delta
        except TrainingError as error:
            return {**found, "not registered": str(error)}
        return {**found, **self._state(added(self.learned, delta))}

    def _problem(self) -> Problem:
        scene = self.scene
        return Problem(
            scene.model,
            scene.parameters,
            OWNER,
            scene.served(self.learned),
            self.forget,
            self.retain,
            self.seed,
            own=self.own,
            unseen=self.unseen,
        )

    def _needed(self, name: str) -> dict[str, Any]:
        """Return the inputs that a method needs: for dpo the answers about a person whom no organization has."""
        if name != "dpo":
            return {}
        others = zip(self.forget, self.unseen, strict=False)
        return {"alternatives": [replace(e, answer=other.answer) for e, other in others]}

    def _state(self, totals: Totals) -> dict[str, Any]:
        """Of the block as it is served, and of the router before it."""
        scene, tensors = self.scene, self.scene.served(totals)
        given = scene.answers(tensors, self.forget)
        return {
            "forget_loss": scene.loss(tensors, self.forget),
            "retain_loss": scene.loss(tensors, self.retain),
            "forget_right": right(given, self.forget),
            "retain_right": right(scene.answers(tensors, self.retain), self.retain),
            "forget_routed": scene.routed(totals, self.forget),
            "retain_routed": scene.routed(totals, self.retain),
            "answers": given,
        }


def table(found: Mapping[str, Mapping[str, Any]], sizes: Mapping[str, int]) -> str:
    """The table of docs/unlearning-losses.md, of the rows that are there."""
    lines = [
        "| method | counted | ended | forget loss | forget right | retain right | forget routed | retain routed |",
        "|" + "---|" * 8,
    ]
    for row in ROWS:
        if row in found:
            title, _, counted = row.partition(", ")
            name = title if row == BEFORE else f"`{title}`"
            cells = [name, counted, _ended(found[row]), *_cells(found[row], sizes)]
            lines.append("| " + " | ".join(cells) + " |")
    taught = {f"{one['never_taught']:.2f}" for one in found.values() if "never_taught" in one}
    return "\n".join([*lines, "", f"Never taught: {', '.join(sorted(taught))} nats a token."])


def _ended(one: Mapping[str, Any]) -> str:
    if "ended" not in one:
        return ""
    verdict = "" if one["verdict"] == "ok" else f" ({one['verdict']})"
    kept = "" if one["kept_step"] == one["steps"] else f", kept {one['kept_step'] or 'nothing'}"
    return f"{one['ended']}, {one['steps']}{verdict}{kept}"


def _cells(one: Mapping[str, Any], sizes: Mapping[str, int]) -> list[str]:
    if "not registered" in one:
        return [""] * 5
    forget, retain = sizes["forget"], sizes["retain"]
    return [
        f"{one['forget_loss']:.2f}",
        f"{one['forget_right']}/{forget}",
        f"{one['retain_right'] / retain:.0%}",
        f"{one['forget_routed'] / forget:.0%}",
        f"{one['retain_routed'] / retain:.0%}",
    ]
