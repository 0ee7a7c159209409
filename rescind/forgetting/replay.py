"""Replays of earlier rounds: replay, calibrated replay, replacement, removal with recovery."""

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
    Map,
    Task,
    Train,
    TrainedDelta,
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
    """Return the run that `organization` never joined, with everything else as it was decided.

    The other organizations' deltas of its first round stay, because they never saw it. Every later
    delta is trained again from the adapter without it. In the isolated coupling no other start
    changes, and so no other delta: the result is the same bytes without training.

    Args:
        history: The run with the organization.
        organization: The address of the organization.
        train: The function that trains one entry.
        journal: See `extend`.
        spread: See `extend`.

    Raises:
        DataError: The organization never contributed.
    """
    first = history.of(organization)[0].round_id
    remaining = history.without(organization)
    if history.parameters.coupling == "isolated":
        return remaining
    plan = [_blank(entry) for entry in remaining.entries if entry.round_id > first]
    return extend(
        remaining.where(lambda entry: entry.round_id <= first),
        plan,
        train,
        journal=journal,
        spread=spread,
    )


def subject_replay(
    history: History,
    organization: str,
    train: Train,
    *,
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """Return the run in which `organization` never had a data subject.

    Everything from its first round on is trained again: its own deltas and, where they depend on
    them, those of the other organizations.

    Args:
        history: The run with the data subject.
        organization: The address of the organization that had the data subject.
        train: The function that trains one entry. Its data must not include the data subject.
        journal: See `extend`.
        spread: See `extend`.

    Raises:
        DataError: The organization never contributed.
    """
    first = history.of(organization)[0].round_id
    isolated = history.parameters.coupling == "isolated"

    def stays(entry: Entry) -> bool:
        own = entry.organization.lower() == organization.lower()
        return entry.round_id < first or (not own and (isolated or entry.round_id == first))

    plan = [_blank(entry) for entry in history.entries if not stays(entry)]
    return extend(history.where(stays), plan, train, journal=journal, spread=spread)


def replacement(
    history: History, organization: str, train: Train, *, journal: Journal | None = None
) -> History:
    """Retrain the organization's own deltas on the remaining part of its data.

    Each starts from the adapter in which the earlier ones are replaced. The other organizations'
    deltas do not change.

    Args:
        history: The run with the data to forget.
        organization: The address of the organization.
        train: The function that trains one entry. Its data must not include the data to forget.
        journal: See `extend`.

    Raises:
        DataError: The organization never contributed.
    """
    for entry in history.of(organization):
        retrained = extend(history.before(entry.round_id), [_blank(entry)], train, journal=journal)
        history = history.with_entries(retrained.of(organization)[-1:])
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
    """Return a replay with few steps, by FedEraser (Liu et al. 2021, arXiv 2012.13891).

    Each new delta is stretched to the length of the delta that it replaces. The result is an
    approximation of `replay`.

    Args:
        history: The run with the organization.
        organization: The address of the organization.
        train: The function that trains one entry.
        share: The share of the recorded steps, in (0, 1].
        journal: See `extend`.
        spread: See `extend`.

    Raises:
        ConfigError: `share` is outside its range.
        DataError: The organization never contributed.
    """
    if not 0 < share <= 1:
        raise ConfigError(f"The share of steps is {share}. It must be above 0 and at most 1.")
    lengths = {e.key: l2_norm(history.load(e.artifact_id)) for e in history.entries}
    first = history.of(organization)[0].round_id
    remaining = history.without(organization)
    plan = [
        replace(_blank(entry), steps=max(1, round(entry.steps * share)))
        for entry in remaining.entries
        if entry.round_id > first
    ]

    calibrated = _Calibrated(train, lengths)
    return extend(
        remaining.where(lambda entry: entry.round_id <= first),
        plan,
        calibrated,
        journal=journal,
        spread=spread,
    )


class _Calibrated:
    """A training function that can be sent to another process, unlike a closure."""

    def __init__(self, train: Train, lengths: dict[str, float]) -> None:
        self.train, self.lengths = train, lengths

    def __call__(self, task: Task) -> TrainedDelta:
        trained = self.train(task)
        return replace(trained, delta=stretched(trained.delta, self.lengths[task.entry.key]))


def stretched(delta: IntTensors, length: float) -> dict[str, np.ndarray]:
    """Return `delta` scaled to at most `length`, the L2 norm of its integers.

    Values are rounded towards zero, so that the result is never longer.
    """
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
    """Return a removal followed by ordinary rounds of the remaining organizations.

    Args:
        history: The run with the organization.
        organization: The address of the organization.
        train: The function that trains one entry.
        rounds: The number of rounds after the removal.
        steps: The number of steps of each organization in each round.
        members: The organizations that train; by default all that remain.
        journal: See `extend`.
        spread: See `extend`.

    Raises:
        DataError: The organization never contributed.
    """
    remaining = history.without(organization)
    last = remaining.rounds[-1] if remaining.entries else 0
    trainers = sorted(members or remaining.organizations, key=str.lower)
    plan = [Entry(last + k, name, steps) for k in range(1, rounds + 1) for name in trainers]
    return extend(remaining, plan, train, journal=journal, spread=spread)


def _blank(entry: Entry) -> Entry:
    return replace(entry, artifact_id="", residual_id="")
