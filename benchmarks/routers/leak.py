"""Traces of a withdrawn organization's questions in a router's choices and scores."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from statistics import fmean, stdev

import numpy as np
from numpy.typing import NDArray
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.model_selection import GroupKFold
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler

from benchmarks.routers.world import LoadedBlocks, World, score_rows
from rescind.training.routers import Router

FOLDS = 6


def leak(
    make: Callable[[], Router], blocks: LoadedBlocks, world: World, withdrawn: Sequence[str]
) -> dict[str, dict[str, float]]:
    """AUC of telling the withdrawn organization's questions from nobody's, mean and deviation over
    the withdrawals, each of them alone.

    before: by the score of its block. after, best: by the best score of those who are left; after,
    learned: logistic regression over all their scores, cross-validated over people. control: as after,
    best, of as many of nobody's people, in groups as large, against the others.
    """
    found: dict[str, list[float]] = {}
    nobodys = [example.question for example in world.nobodys]
    own = {name: world.organizations[name] for name in withdrawn}
    everything = [e.question for name in withdrawn for e in own[name]] + nobodys
    router = make()
    router.fit(blocks)
    before = dict(zip(everything, router.route(everything), strict=True))
    for name in withdrawn:
        asked = [example.question for example in own[name]] + nobodys
        truth = np.array([1] * len(own[name]) + [0] * len(nobodys))
        people = [example.subject for example in (*own[name], *world.nobodys)]
        router = make()
        router.fit(blocks)
        router.drop(name)
        left = score_rows([one.scores for one in router.route(asked)])
        aucs = {
            "before": float(roc_auc_score(truth, [before[q].scores[name] for q in asked])),
            "after, best": float(roc_auc_score(truth, left.max(axis=1))),
            "after, learned": _learned(left, truth, people),
            "control": _control(
                left[len(own[name]) :].max(axis=1), len(own[name]), len(found.get("control", ()))
            ),
        }
        for key, value in aucs.items():
            found.setdefault(key, []).append(value)
    return {
        key: {"mean": fmean(values), "deviation": stdev(values), "withdrawals": len(values)}
        for key, values in found.items()
    }


def _control(best: NDArray[np.float64], size: int, number: int) -> float:
    """AUC of the number-th group of `size` questions of nobody's against the rest of them."""
    start = number * size % (len(best) - size + 1)
    truth = np.zeros(len(best), dtype=np.int64)
    truth[start : start + size] = 1
    return float(roc_auc_score(truth, best))


def _learned(scores: NDArray[np.float64], truth: NDArray[np.int64], people: Sequence[str]) -> float:
    """Mean over folds, none of whose people was learned from."""
    groups = _folds(truth, people)
    values = []
    for train, test in GroupKFold(FOLDS).split(scores, truth, groups):
        attacker = make_pipeline(
            StandardScaler(), LogisticRegression(class_weight="balanced", max_iter=1000)
        )
        attacker.fit(scores[train], truth[train])
        values.append(roc_auc_score(truth[test], attacker.decision_function(scores[test])))
    return fmean(float(value) for value in values)


def _folds(truth: NDArray[np.int64], people: Sequence[str]) -> list[int]:
    """A fold for each row: people of each kind dealt in turn, so that every fold has both."""
    dealt: dict[str, int] = {}
    counts = {0: 0, 1: 0}
    for kind, person in zip(truth.tolist(), people, strict=True):
        if person not in dealt:
            dealt[person] = counts[kind] % FOLDS
            counts[kind] += 1
    return [dealt[person] for person in people]
