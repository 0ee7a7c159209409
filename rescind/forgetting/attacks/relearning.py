"""Relearning: the speed at which forgotten knowledge comes back in further training."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core import ConsortiumParameters, FloatTensors
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.measures import Measure, measure
from rescind.forgetting.attacks.registry import attack
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.scene import Scene, present
from rescind.forgetting.attacks.served import (
    Served,
    intact,
    loaded,
    scratch_adapter,
)
from rescind.forgetting.attacks.settings import RelearnSettings, SuiteSettings
from rescind.training import Example, LoraModel, Progress, RoundTraining, choose, train_round

_TRAINED = "round"


@dataclass(frozen=True)
class Curve:
    """Scores of the forget set during relearning.

    Attributes:
        steps: The numbers of steps at which the scores were measured.
        forget: The mean score of the whole forget set after each of `steps`.
        rest: The mean score of the items that were not trained on, or None if there are none.
        values: The score of each item after the last step.
        steps_to_level: The first of `steps` at which the whole set is at the original's level, or
            None if it never is or there is no original.
    """

    steps: tuple[int, ...]
    forget: tuple[float, ...]
    rest: tuple[float, ...] | None
    values: tuple[float, ...]
    steps_to_level: int | None


@dataclass(frozen=True, kw_only=True)
class Relearning(Result):
    """The result of `relearning`.

    `value` is the recovery (m_relearned - m_unlearned) / (m_original - m_unlearned) of the items
    that were not trained on, or of the whole forget set if all were. It is that of the best number
    of steps, because the attacker chooses when to stop. Items that come back without being taught
    again were never forgotten.

    Attributes:
        recovery_last: The same after the last step.
        recovery_all: The best recovery of the whole forget set.
        original: The original's mean score on the forget set.
        original_rest: The original's mean score on the items that were not trained on.
        trained_on: The forget set's questions that were trained on; none with benign text.
        examples: The number of pairs that were trained on.
        curve: The scores during relearning.
        replay_curve: The scores of a replay trained in the same way.
        settings: The settings of the relearning.
    """

    recovery_last: float | None
    recovery_all: float | None
    original: float | None
    original_rest: float | None
    trained_on: tuple[str, ...]
    examples: int
    curve: Curve
    replay_curve: Curve | None
    settings: RelearnSettings


@dataclass(frozen=True)
class _Run:
    model: LoraModel
    parameters: ConsortiumParameters
    forget: Sequence[Example]
    rest: NDArray[np.bool_]
    settings: RelearnSettings
    seed: int
    taught: Sequence[Example]


def relearning(
    model: LoraModel,
    parameters: ConsortiumParameters,
    unlearned: FloatTensors,
    forget: Sequence[Example],
    *,
    original: FloatTensors | None = None,
    replay: FloatTensors | None = None,
    benign: Sequence[Example] | None = None,
    settings: RelearnSettings | None = None,
    seed: int = 0,
) -> Relearning:
    """Train a copy of one block on a seeded choice of the forget set, or on benign pairs.

    Source: recovery and sample shares of 5 to 20% as in OFFSIDE (its relearn.py).

    Args:
        model: The model of the block.
        parameters: The agreed parameters.
        unlearned: All LoRA tensors of the block after unlearning, by bare name.
        forget: The forget set.
        original: The tensors before unlearning.
        replay: The tensors of a replay. Trained in the same way, it shows how much is simply
            learned again.
        benign: Pairs on related matters to train on in place of the forget set.
        settings: The settings of the relearning.
        seed: The seed of the choice and of the training.

    Raises:
        AttackInput: The forget set or the benign set is empty.
        TrainingError: The training diverges.
    """
    settings = settings or RelearnSettings()
    if not forget or (benign is not None and not benign):
        raise AttackInput(
            "relearning needs pairs to train on, but the forget set or the benign set is empty."
        )
    taught = list(benign) if benign is not None else choose(forget, settings.share, seed)
    rest = np.array([example not in set(taught) for example in forget])
    run = _Run(model, parameters, forget, rest, settings, seed, taught)
    level = _score_of(run, original) if original is not None else None
    curve = _curve(run, unlearned, level)
    replay_curve = _curve(run, replay, level) if replay is not None else None
    whole = float(level.mean()) if level is not None else None
    of_rest = float(level[rest].mean()) if level is not None and rest.any() else None
    level_of = _Level(whole, of_rest)
    return Relearning(
        attack="relearning" if benign is None else "benign_relearning",
        value=level_of.recovery(curve, max),
        replay_value=level_of.recovery(replay_curve, max) if replay_curve else None,
        recovery_last=level_of.recovery(curve, _last),
        recovery_all=recovery(max(curve.forget), curve.forget[0], whole),
        original=whole,
        original_rest=of_rest,
        trained_on=tuple(e.question for e in forget if e in set(taught)),
        examples=len(taught),
        curve=curve,
        replay_curve=replay_curve,
        settings=settings,
    )


@dataclass(frozen=True)
class _Level:
    """The original's mean scores."""

    whole: float | None
    rest: float | None

    def recovery(self, curve: Curve, reached: Callable[[tuple[float, ...]], float]) -> float | None:
        """Return the recovery of the rest, or of the whole set if there is no rest."""
        if curve.rest is None:
            return recovery(reached(curve.forget), curve.forget[0], self.whole)
        return recovery(reached(curve.rest), curve.rest[0], self.rest)


def _last(scores: tuple[float, ...]) -> float:
    return scores[-1]


def _score_of(run: _Run, tensors: FloatTensors) -> NDArray[np.float64]:
    with loaded(run.model, tensors, max_length=run.parameters.training.max_length) as served:
        return _measure(run)(served, run.forget)


def _measure(run: _Run) -> Measure:
    return measure(run.settings.measure)


def _curve(run: _Run, start: FloatTensors, level: NDArray[np.float64] | None) -> Curve:
    scores = {0: _score_of(run, start)}
    with _trained_copy(run) as served:

        def record(progress: Progress) -> None:
            if progress.step % run.settings.every == 0 or progress.step == progress.steps:
                scores[progress.step] = _measure(run)(served, run.forget)

        train_round(
            run.model,
            _attackers(run),
            start,
            run.taught,
            RoundTraining(steps=run.settings.steps, seed=run.seed, progress=record),
        )
    enough = run.settings.reach * float(level.mean()) if level is not None else np.inf
    return Curve(
        steps=tuple(scores),
        forget=tuple(float(values.mean()) for values in scores.values()),
        rest=tuple(float(v[run.rest].mean()) for v in scores.values()) if run.rest.any() else None,
        values=tuple(float(score) for score in scores[run.settings.steps]),
        steps_to_level=next((s for s, values in scores.items() if values.mean() >= enough), None),
    )


@contextmanager
def _trained_copy(run: _Run) -> Iterator[Served]:
    length = run.parameters.training.max_length
    with intact(Served(run.model, None, length)), scratch_adapter(run.model, _TRAINED):
        yield Served(run.model, _TRAINED, length)


def _attackers(run: _Run) -> ConsortiumParameters:
    """Return the parameters with the attacker's rate and without privacy, which slows learning."""
    changes: dict[str, object] = {"privacy": None}
    if run.settings.learning_rate is not None:
        changes["learning_rate"] = run.settings.learning_rate
    training = run.parameters.training.model_copy(update=changes)
    return run.parameters.model_copy(update={"training": training})


@attack(
    "relearning",
    needs=["block"],
    reads="recovery; high: what was not taught again comes back too",
    source="OFFSIDE, relearn.py",
)
def _on_forget_set(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
    return _on_scene(scene, settings, seed, benign=None)


@attack(
    "benign_relearning",
    needs=["block", "benign"],
    reads="recovery; high: related text alone brings the forget set back",
    source="OFFSIDE, relearn.py",
)
def _on_benign_pairs(scene: Scene, settings: SuiteSettings, seed: int) -> Result:
    return _on_scene(scene, settings, seed, benign=scene.benign)


def _on_scene(
    scene: Scene, settings: SuiteSettings, seed: int, *, benign: Sequence[Example] | None
) -> Relearning:
    block = present(scene.block, "block")
    return relearning(
        block.model,
        block.parameters,
        block.unlearned,
        scene.forget,
        original=block.original,
        replay=block.replay,
        benign=benign,
        settings=settings.relearning,
        seed=seed,
    )
