"""Trainings that several arrangements start with: each runs once, and its adapter is kept."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

from benchmarks.consortium import Recipe, Trainer, address, history, schedule
from rescind.core import (
    ConsortiumParameters,
    Totals,
    adapter_totals,
    decode,
    encode,
    write_atomically,
)
from rescind.daemon import Journal
from rescind.forgetting.history import History, Task, TrainedDelta, extend
from rescind.training import Base, EngineSettings, Example, LoraModel


@dataclass(frozen=True)
class Setting:
    """`held`: what each organization trains on, by name. `rounds` of `steps` each. `public`: pairs that
    everybody has. `ridge_bits`: of summed ranks. `kept`: where trained adapters are kept for other
    arrangements of the same training."""

    base: Base
    held: Mapping[str, Sequence[Example]]
    private: bool
    seed: int
    rounds: int
    steps: int
    batch_size: int
    learning_rate: float
    rank: int
    work: Path
    say: Callable[[str], None]
    engine: EngineSettings = field(default_factory=EngineSettings)
    max_length: int = 256
    public: Sequence[Example] = ()
    ridge_bits: int = 10
    kept: Path | None = None

    def recipe(self, **changes: Any) -> Recipe:
        agreed = {
            "coupling": "federated",
            "layout": "shared",
            "rank": self.rank,
            "alpha": 2 * self.rank,
            "train_a": True,
            "rounds": self.rounds,
            "steps": self.steps,
            "batch_size": self.batch_size,
            "learning_rate": self.learning_rate,
            "max_length": self.max_length,
        }
        return Recipe.model_validate(agreed | changes)


def blocks_of(it: Setting) -> tuple[Trainer, Totals, int]:
    """An isolated block of each organization, and the bytes of all deltas."""
    recipe = it.recipe(coupling="isolated", layout="blocks")
    return trained_history(it, recipe, dict(it.held))


def trained_history(
    it: Setting,
    recipe: Recipe,
    held: Mapping[str, Sequence[Example]],
    pair: tuple[ConsortiumParameters, LoraModel] | None = None,
) -> tuple[Trainer, Totals, int]:
    """Return a history of all rounds: its trainer, its adapter, and the bytes of all deltas.

    With `it.kept` a training that was interrupted goes on after its last delta, and one that is
    whole is used again by every arrangement that starts with it.
    """
    parameters, model = pair or recipe.parameters(it.base, it.seed)
    data = {address(name): rows for name, rows in held.items()}
    trainer = Trainer(model, parameters, data, it.say, it.engine)
    plan = schedule(sorted(data), recipe.rounds, recipe.steps)
    if it.kept is None:
        return _summed(trainer, extend(history(parameters, it.work), plan, trainer))
    path = it.kept / f"{_key(it, recipe, parameters, data)}.rescind"
    if path.exists():
        return _kept(trainer, path)
    begun = path.with_suffix(".begun")
    journal = Journal(begun / "journal.db")
    train = _counted(trainer, journal)
    done = _summed(trainer, extend(history(parameters, begun), plan, train, journal=journal))
    cost = {"tokens": trainer.tokens, "seconds": trainer.seconds, "uploads": done[2]}
    path.with_suffix(".json").write_text(json.dumps(cost), encoding="utf-8")
    write_atomically(path, encode(done[1]))
    shutil.rmtree(begun)
    return done


def _summed(trainer: Trainer, done: History) -> tuple[Trainer, Totals, int]:
    uploads = sum(len(done.store.get(entry.artifact_id)) for entry in done.entries)
    return trainer, adapter_totals(done.terms(), done.load), uploads


def _counted(trainer: Trainer, journal: Journal) -> Callable[[Task], TrainedDelta]:
    """Return the trainer, with its cost so far in the journal and that of earlier runs added."""
    spent = journal.get("cost", {"tokens": 0, "seconds": 0.0})
    trainer.tokens, trainer.seconds = spent["tokens"], spent["seconds"]

    def train(task: Task) -> TrainedDelta:
        trained = trainer(task)
        journal.set("cost", {"tokens": trainer.tokens, "seconds": trainer.seconds})
        return trained

    return train


def _key(
    it: Setting,
    recipe: Recipe,
    parameters: ConsortiumParameters,
    data: Mapping[str, Sequence[Example]],
) -> str:
    """Return a name of a training: a hash of all inputs that it depends on."""
    whole = (parameters.id, recipe.rounds, recipe.steps, it.engine, sorted(data.items()))
    return hashlib.sha256(repr(whole).encode()).hexdigest()[:32]


def _kept(trainer: Trainer, path: Path) -> tuple[Trainer, Totals, int]:
    cost = json.loads(path.with_suffix(".json").read_text(encoding="utf-8"))
    trainer.tokens, trainer.seconds = cost["tokens"], cost["seconds"]
    return trainer, cast(Totals, decode(path.read_bytes())), cost["uploads"]
