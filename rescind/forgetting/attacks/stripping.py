"""An attack that serves a model without the counter-delta that made it forget."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.forgetting.attacks.errors import AttackInput
from rescind.forgetting.attacks.measures import measure
from rescind.forgetting.attacks.registry import BACK, attack
from rescind.forgetting.attacks.result import Result, recovery
from rescind.forgetting.attacks.scene import Scene, Update, present
from rescind.forgetting.attacks.served import loaded
from rescind.forgetting.attacks.settings import SuiteSettings
from rescind.training import Example, LoraModel


@dataclass(frozen=True, kw_only=True)
class Stripping(Result):
    """The result of `stripping`.

    `value` is the mean score of the forget set with every counter-delta left out.

    Attributes:
        served: The mean score with all terms.
        without: The mean score with one counter-delta left out, by its name.
        original: The mean score of the model before unlearning.
        recovery: (m_stripped - m_served) / (m_original - m_served).
        values: The score of each item with every counter-delta left out.
        served_values: The score of each item with all terms.
        measure: The name of the score in `measures.MEASURES`.
    """

    served: float
    without: Mapping[str, float]
    original: float | None
    recovery: float | None
    values: tuple[float, ...]
    served_values: tuple[float, ...]
    measure: str


def stripping(
    model: LoraModel,
    contributions: FloatTensors,
    counters: Mapping[str, Update],
    forget: Sequence[Example],
    *,
    max_length: int,
    original: FloatTensors | None = None,
    replay: FloatTensors | None = None,
    by: str = "rouge",
) -> Stripping:
    """Score a block with its counter-deltas left out.

    The attack works for anyone who has the counter-delta separately from the deltas that it
    counters. To prevent it, serve and hand out only the sum.

    Args:
        model: The model of the block.
        contributions: The block's tensors without its counter-deltas: the sum of its start and its
            other terms.
        counters: What each counter-delta adds to some tensors, in parameter units.
        forget: The forget set.
        max_length: The most tokens of an example.
        original: The block's tensors before unlearning.
        replay: The block's tensors in a replay, which has no counter-delta to leave out.
        by: The name of the score in `measures.MEASURES`.

    Raises:
        AttackInput: The forget set is empty, there is no counter-delta, or a term does not fit.
    """
    if not forget or not counters:
        raise AttackInput(
            "stripping needs a forget set and a counter-delta to leave out. One is empty."
        )
    names = list(counters)
    served = _scores(model, add(contributions, counters), forget, max_length, by)
    stripped = _scores(model, contributions, forget, max_length, by)
    without = {
        name: _scores(
            model,
            add(contributions, {other: counters[other] for other in names if other != name}),
            forget,
            max_length,
            by,
        )
        for name in names
    }
    whole = _scores(model, original, forget, max_length, by) if original is not None else None
    replay_scores = _scores(model, replay, forget, max_length, by) if replay is not None else None
    level = float(whole.mean()) if whole is not None else None
    return Stripping(
        attack="stripping",
        value=float(stripped.mean()),
        replay_value=float(replay_scores.mean()) if replay_scores is not None else None,
        served=float(served.mean()),
        without={name: float(values.mean()) for name, values in without.items()},
        original=level,
        recovery=recovery(float(stripped.mean()), float(served.mean()), level),
        values=tuple(float(score) for score in stripped),
        served_values=tuple(float(score) for score in served),
        measure=by,
    )


def add(tensors: FloatTensors, terms: Mapping[str, Update]) -> dict[str, NDArray[np.float32]]:
    """Return the tensors with every term added, in float64 and rounded once.

    Args:
        tensors: The tensors of a block, by bare name.
        terms: The terms by name; each has some of the tensors.

    Raises:
        AttackInput: A term has a tensor that the block does not have.
    """
    total = {name: value.astype(np.float64) for name, value in tensors.items()}
    for term, update in terms.items():
        for name, value in update.items():
            if name not in total or total[name].shape != value.shape:
                raise AttackInput(
                    f"Term {term!r} has a tensor {name!r} of shape {value.shape}, which does not "
                    "fit the block. Pass the terms of this block by bare name."
                )
            total[name] = total[name] + value
    return {name: value.astype(np.float32) for name, value in total.items()}


def _scores(
    model: LoraModel, tensors: FloatTensors, forget: Sequence[Example], max_length: int, by: str
) -> NDArray[np.float64]:
    with loaded(model, tensors, max_length=max_length) as served:
        return measure(by)(served, forget)


@attack("stripping", needs=["block", "block.counters"], reads=BACK, source="this project's")
def _on_scene(scene: Scene, settings: SuiteSettings) -> Result:
    block = present(scene.block, "block")
    negated = {
        term: {name: -np.asarray(value, dtype=np.float64) for name, value in update.items()}
        for term, update in block.counters.items()
    }
    return stripping(
        block.model,
        add(block.unlearned, negated),
        block.counters,
        scene.forget,
        max_length=block.parameters.training.max_length,
        original=block.original,
        replay=block.replay,
        by=settings.by,
    )
