"""Measures of how well a score distinguishes the forget set from other sets."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import roc_auc_score, roc_curve

from rescind.forgetting.attacks.errors import AttackInput, ScoresNotFinite
from rescind.forgetting.attacks.result import Result
from rescind.forgetting.attacks.served import intact
from rescind.training import Example
from rescind.training.serving.respond import Respondent

Score = Callable[[Respondent, Sequence[Example]], NDArray[np.float64]]


@dataclass(frozen=True)
class Separation:
    """The separation of the forget set from one other set.

    Attributes:
        auc: The chance that an item of the forget set scores above an item of the other set; ties
            count half.
        tpr_at_1pct: The largest share of the forget set that is found with a false positive rate of
            at most 1%. With fewer than 100 others it allows no false positive at all.
        tpr_at_01pct: The same at 0.1%. With fewer than 1,000 others it allows no false positive.
        forget: The number of items of the forget set.
        others: The number of items of the other set.
    """

    auc: float
    tpr_at_1pct: float
    tpr_at_01pct: float
    forget: int
    others: int


@dataclass(frozen=True, kw_only=True)
class Distinction(Result):
    """The result of an attack that distinguishes the forget set from other sets.

    `value` is the AUC; with several other sets it is the one furthest from 1/2.

    Attributes:
        scores: The score of each item, by set. "forget" is one of the sets.
        separations: The separation of the forget set from each other set.
        replay_separations: The same when a replay is attacked.
    """

    scores: Mapping[str, tuple[float, ...]]
    separations: Mapping[str, Separation]
    replay_separations: Mapping[str, Separation] | None = None


def separation(forget: NDArray[np.float64], others: NDArray[np.float64]) -> Separation:
    """Return the separation of the forget set from another set.

    Args:
        forget: The scores of the forget set, (items,); a high score says forget set.
        others: The scores of the other set, (other items,).

    Raises:
        AttackInput: A set has no scores.
        ScoresNotFinite: A score is not finite.
    """
    if not len(forget) or not len(others):
        raise AttackInput(
            f"There are {len(forget)} scores of the forget set and {len(others)} of the other set. "
            "Each set needs at least one."
        )
    scores = np.concatenate([forget, others])
    if not np.all(np.isfinite(scores)):
        raise ScoresNotFinite(
            f"{int(np.sum(~np.isfinite(scores)))} of {len(scores)} scores are not finite. The "
            "model has diverged, so this attack says nothing about it."
        )
    labels = np.concatenate([np.ones(len(forget)), np.zeros(len(others))])
    false, true, _ = roc_curve(labels, scores, drop_intermediate=False)
    return Separation(
        auc=float(roc_auc_score(labels, scores)),
        tpr_at_1pct=float(true[false <= 0.01].max()),
        tpr_at_01pct=float(true[false <= 0.001].max()),
        forget=len(forget),
        others=len(others),
    )


def distinguish(
    attack: str,
    score: Score,
    respondent: Respondent,
    forget: Sequence[Example],
    others: Mapping[str, Sequence[Example]],
    replay: Respondent | None,
) -> Distinction:
    """Score every set and return the separations of the forget set.

    Args:
        attack: The name of the attack.
        score: The function that scores examples under a model.
        respondent: The model to attack.
        forget: The forget set.
        others: The sets from which to distinguish it, by name. Empty ones are left out.
        replay: A model that never saw the forget set, to attack in the same way.

    Raises:
        AttackInput: The forget set or all other sets are empty.
    """
    if not forget or not any(others.values()):
        raise AttackInput(
            f"{attack} needs a forget set and another set to compare it with. One is empty."
        )
    sets = {"forget": forget, **{name: items for name, items in others.items() if items}}
    with intact(respondent, replay):
        scores = {name: score(respondent, items) for name, items in sets.items()}
        replay_scores = (
            {name: score(replay, items) for name, items in sets.items()} if replay else None
        )
    return distinction(attack, scores, replay_scores)


def distinction(
    attack: str,
    scores: Mapping[str, NDArray[np.float64]],
    replay_scores: Mapping[str, NDArray[np.float64]] | None,
) -> Distinction:
    """Return the result of an attack from its scores.

    Args:
        attack: The name of the attack.
        scores: The scores of each set by its name; "forget" is one of the sets.
        replay_scores: The same when a replay is attacked.
    """
    separations = _separations(scores)
    replay_separations = _separations(replay_scores) if replay_scores is not None else None
    best = max(separations, key=lambda name: abs(separations[name].auc - 0.5))
    return Distinction(
        attack=attack,
        value=separations[best].auc,
        replay_value=replay_separations[best].auc if replay_separations else None,
        scores={name: tuple(float(score) for score in values) for name, values in scores.items()},
        separations=separations,
        replay_separations=replay_separations,
    )


def _separations(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, Separation]:
    return {
        name: separation(scores["forget"], values)
        for name, values in scores.items()
        if name != "forget"
    }
