"""The rows of the table: every way of forgetting, as a model and what it cost to make."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

import torch

from benchmarks.conditions import clock
from benchmarks.forgetting.scene import Scene
from rescind.core import (
    SHARED,
    Totals,
    adapter_totals,
    dequantize,
    encode,
    split_owner,
)
from rescind.core.errors import ConfigError
from rescind.forgetting.history import History
from rescind.forgetting.replay import calibrated_replay, recovery, replay
from rescind.unlearning import Method, find, methods


@dataclass(frozen=True)
class Made:
    """A model to measure.

    `seconds`: of training and arithmetic by everybody together. `tokens`: trained on. `moved`: bytes
    of new deltas that travel, and of the new adapter to every member that remains. `counter`: the
    counter-delta, where there is one.
    """

    totals: Totals
    seconds: float
    tokens: int = 0
    moved: int = 0
    counter: Totals | None = None
    report: Mapping[str, Any] = field(default_factory=dict)


def full(scene: Scene) -> Made:
    history = scene.full
    return _of_history(scene, history, history, 0.0)


def removal(scene: Scene) -> Made:
    """The sum of what remains."""
    history = scene.full
    began = clock()
    kept = history.without(scene.leaver)
    totals = adapter_totals(kept.terms(), kept.load)
    return Made(totals, clock() - began, moved=_adapter_moves(scene, totals))


def _replay(scene: Scene) -> Made:
    return _again(scene, "replay", lambda history, **how: replay(history, scene.leaver, **how))


def _recovery(scene: Scene) -> Made:
    recipe = scene.config.couplings[scene.coupling]
    return _again(
        scene,
        "recovery",
        lambda history, **how: recovery(
            history,
            scene.leaver,
            rounds=scene.config.recovery_rounds,
            steps=recipe.steps,
            **how,
        ),
    )


def _calibrated(scene: Scene) -> Made:
    return _again(
        scene,
        "calibrated",
        lambda history, **how: calibrated_replay(
            history, scene.leaver, share=scene.config.calibration_share, **how
        ),
    )


HISTORIES: Mapping[str, Callable[[Scene], Made]] = {
    "full": full,
    "removal": removal,
    "replay": _replay,
    "removal_recovery": _recovery,
    "calibrated_replay": _calibrated,
}


def make(scene: Scene, row: str) -> Made:
    """Raises ConfigError for a row that is neither a way back over the history nor a method."""
    if row in HISTORIES:
        return HISTORIES[row](scene)
    if row in methods():
        return _countered(scene, find(row), scene.config.counter.methods.get(row, {}))
    if row in scene.config.counter.variants:
        given = dict(scene.config.counter.variants[row])
        return _countered(scene, find(given.pop("method")), given)
    raise ConfigError(
        f"no row is called {row!r}; there are {', '.join([*HISTORIES, *sorted(methods())])}"
    )


def _again(scene: Scene, name: str, run: Callable[..., History]) -> Made:
    history = scene.full
    spent = scene.folder / f"{name}.json"
    before = json.loads(spent.read_text()) if spent.exists() else {"seconds": 0.0, "tokens": 0}
    had, began = scene.trainer.tokens, clock()
    made = run(history, train=scene.trainer, journal=scene.journal(name))
    # What an earlier run that was cut off spent is part of the cost.
    cost: dict[str, Any] = {
        "seconds": before["seconds"] + (clock() - began),
        "tokens": before["tokens"] + (scene.trainer.tokens - had),
    }
    if scene.trainer.tokens > had:
        spent.write_text(json.dumps(cost))
    else:
        cost = before if spent.exists() else cost
    return _of_history(scene, history, made, cost["seconds"], cost["tokens"])


def _of_history(scene: Scene, old: History, new: History, seconds: float, tokens: int = 0) -> Made:
    known = {entry.artifact_id for entry in old.entries}
    fresh = [entry.artifact_id for entry in new.entries if entry.artifact_id not in known]
    totals = new.adapter()
    uploads = sum(len(new.store.get(artifact)) for artifact in fresh)
    # Each new round's adapter goes to every member before it can train the next.
    rounds = len({entry.round_id for entry in new.entries if entry.artifact_id in set(fresh)})
    moved = uploads + _adapter_moves(scene, totals) * max(1, rounds)
    return Made(totals, seconds, tokens, moved)


def _adapter_moves(scene: Scene, totals: Totals) -> int:
    return len(encode(totals)) * len(scene.config.others)


def _countered(scene: Scene, method: Method, given: Mapping[str, Any]) -> Made:
    common = scene.config.counter.common if method.trains else {}
    settings = {**common, **given, **_derived(scene, method.name)}
    problem = scene.problem()
    began = clock()
    bf16 = method.trains and scene.config.engine.get("precision") == "bf16"
    with torch.autocast(scene.base.device.type, torch.bfloat16, enabled=bf16):
        outcome = method.run(problem, method.settings(**settings))
    totals, counter = scene.countered(problem, outcome)
    seconds = clock() - began
    moved = len(encode(counter)) + _adapter_moves(scene, totals)
    tokens = int(outcome.report.get("tokens", 0))
    return Made(totals, seconds, tokens, moved, counter, outcome.report)


def _derived(scene: Scene, name: str) -> dict[str, Any]:
    """Settings that come from the consortium's record: the others' average, one's own part."""
    if scene.owner != SHARED:
        return {}
    history = scene.full
    if name == "halimi":
        kept = history.without(scene.leaver)
        return {"reference": scene.tensors(adapter_totals(kept.terms(), kept.load))}
    if name == "task_vector":
        own = [t for t in history.terms() if t.organization == scene.leaver]
        bits = scene.parameters.fraction_bits
        part = dequantize(adapter_totals(own, history.load), fraction_bits=bits)
        return {"delta": {split_owner(name)[1]: value for name, value in part.items()}}
    return {}
