"""How well a score tells the forget set from other sets."""

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
    """`auc`: chance that an item of the forget set scores above one of the other set, ties half.

    `tpr_at_1pct`, `tpr_at_01pct`: largest share of the forget set found while at most 1% and 0.1% of
    the other set is taken for it. With fewer than 1,000 `others` no false alarm at all is allowed
    for the latter, with fewer than 100 for either.
    """

    auc: float
    tpr_at_1pct: float
    tpr_at_01pct: float
    forget: int
    others: int


@dataclass(frozen=True, kw_only=True)
class Distinction(Result):
    """`value`: the AUC; where there are several other sets, the one furthest from 1/2.

    `scores`: of each item of each set, "forget" being one of them. `separations`: forget against
    each other set. `replay_separations`: the same when a replay is attacked.
    """

    scores: Mapping[str, tuple[float, ...]]
    separations: Mapping[str, Separation]
    replay_separations: Mapping[str, Separation] | None = None


def separation(forget: NDArray[np.float64], others: NDArray[np.float64]) -> Separation:
    """Of scores where higher says forget set; raises AttackInput for an empty side."""
    if not len(forget) or not len(others):
        raise AttackInput(
            f"{len(forget)} scores of the forget set and {len(others)} of the other set: "
            "both need at least one"
        )
    scores = np.concatenate([forget, others])
    if not np.all(np.isfinite(scores)):
        raise ScoresNotFinite(
            f"{int(np.sum(~np.isfinite(scores)))} of {len(scores)} scores are not finite: the model "
            "has diverged, so this attack says nothing"
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
    """Scores of every set under `respondent`, and the separations; the same for `replay`."""
    if not forget or not any(others.values()):
        raise AttackInput(f"{attack} needs a forget set and a set to tell it from: one is empty")
    sets = {"forget": forget, **{name: items for name, items in others.items() if items}}
    with intact(respondent, replay):
        scores = {name: score(respondent, items) for name, items in sets.items()}
        again = {name: score(replay, items) for name, items in sets.items()} if replay else None
    return distinction(attack, scores, again)


def distinction(
    attack: str,
    scores: Mapping[str, NDArray[np.float64]],
    replay_scores: Mapping[str, NDArray[np.float64]] | None,
) -> Distinction:
    found = _separations(scores)
    again = _separations(replay_scores) if replay_scores is not None else None
    told = max(found, key=lambda name: abs(found[name].auc - 0.5))
    return Distinction(
        attack=attack,
        value=found[told].auc,
        replay_value=again[told].auc if again else None,
        scores={name: tuple(float(one) for one in values) for name, values in scores.items()},
        separations=found,
        replay_separations=again,
    )


def _separations(scores: Mapping[str, NDArray[np.float64]]) -> dict[str, Separation]:
    return {
        name: separation(scores["forget"], values)
        for name, values in scores.items()
        if name != "forget"
    }
