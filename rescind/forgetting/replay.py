"""Going back over the rounds: replay, calibrated replay, replacement, removal with recovery."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

import numpy as np

from rescind.core import IntTensors, l2_norm
from rescind.core.errors import ConfigError
from rescind.daemon import Journal
from rescind.forgetting.history import (
    Entry,
    History,
    Made,
    Map,
    Task,
    Train,
    extend,
)


def replay(
    history: History,
    organization: str,
    train: Train,
    *,
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """The run that `organization` never joined, everything else as it was decided.

    Its first round keeps the others' deltas, which never saw it; every later delta is trained again
    from the adapter without it. In the isolated coupling no other start changes, and so no other
    delta: the result is the same bytes without training.
    """
    first = history.of(organization)[0].round_id
    kept = history.without(organization)
    if history.parameters.coupling == "isolated":
        return kept
    again = [_blank(entry) for entry in kept.entries if entry.round_id > first]
    return extend(
        kept.where(lambda it: it.round_id <= first), again, train, journal=journal, spread=spread
    )


def subject_replay(
    history: History,
    organization: str,
    train: Train,
    *,
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """The run in which `organization` never had a data subject: `train` knows its data without it.

    Everything from its first round on is trained again, its own deltas and then the others'.
    """
    first = history.of(organization)[0].round_id
    who = organization.lower()
    isolated = history.parameters.coupling == "isolated"

    def stays(entry: Entry) -> bool:
        mine = entry.organization.lower() == who
        return entry.round_id < first or (not mine and (isolated or entry.round_id == first))

    again = [_blank(entry) for entry in history.entries if not stays(entry)]
    return extend(history.where(stays), again, train, journal=journal, spread=spread)


def replacement(
    history: History, organization: str, train: Train, *, journal: Journal | None = None
) -> History:
    """Retrain the organization's own deltas from what remains of its data.

    Each starts from the adapter in which the earlier ones are replaced. The others' deltas stay as
    they are.
    """
    for entry in history.of(organization):
        remade = extend(history.before(entry.round_id), [_blank(entry)], train, journal=journal)
        history = history.with_entries(remade.of(organization)[-1:])
    return history


def calibrated_replay(
    history: History,
    organization: str,
    train: Train,
    *,
    share: float = 0.2,
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """FedEraser (Liu et al. 2021, arXiv 2012.13891): a replay with few steps, each new delta as long
    as the one that it takes the place of.

    `share`: of the recorded steps, 0..1. Raises ConfigError outside. Approximate.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"share of steps is {share}: it must be above 0 and at most 1")
    lengths = {e.key: l2_norm(history.load(e.artifact_id)) for e in history.entries}
    first = history.of(organization)[0].round_id
    kept = history.without(organization)
    again = [
        replace(_blank(entry), steps=max(1, round(entry.steps * share)))
        for entry in kept.entries
        if entry.round_id > first
    ]

    calibrated = _Calibrated(train, lengths)
    return extend(
        kept.where(lambda it: it.round_id <= first),
        again,
        calibrated,
        journal=journal,
        spread=spread,
    )


class _Calibrated:
    """Can be sent to another process, which a closure can not."""

    def __init__(self, train: Train, lengths: dict[str, float]) -> None:
        self.train, self.lengths = train, lengths

    def __call__(self, task: Task) -> Made:
        made = self.train(task)
        return replace(made, delta=stretched(made.delta, self.lengths[task.entry.key]))


def stretched(delta: IntTensors, length: float) -> dict[str, np.ndarray]:
    """`delta` along its own direction, not longer than `length` (L2 of its integers)."""
    norm = l2_norm(delta)
    factor = length / norm if norm else 0.0
    return {name: np.trunc(value * factor).astype(np.int32) for name, value in delta.items()}


def recovery(
    history: History,
    organization: str,
    train: Train,
    *,
    rounds: int,
    steps: int,
    members: Collection[str] = (),
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """Removal, then `rounds` ordinary rounds of those who remain (or of `members` only)."""
    kept = history.without(organization)
    last = kept.rounds[-1] if kept.entries else 0
    who = sorted(members or kept.organizations, key=str.lower)
    plan = [Entry(last + k, name, steps) for k in range(1, rounds + 1) for name in who]
    return extend(kept, plan, train, journal=journal, spread=spread)


def _blank(entry: Entry) -> Entry:
    return replace(entry, artifact_id="", residual_id="")
