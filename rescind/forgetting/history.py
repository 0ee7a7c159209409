"""The history of a consortium: the deltas of each round, their organizations and their effort.

A replay needs only this and each organization's own data: every earlier model is a sum over the
entries.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from typing import Any

import safetensors.numpy
from numpy.typing import NDArray

from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    IntTensors,
    Past,
    Term,
    Totals,
    adapter_totals,
    encode,
    uses_controls,
    weights,
)
from rescind.core.errors import DataError
from rescind.core.round_sums import round_sums, served
from rescind.daemon import Journal

Residual = Mapping[str, NDArray[Any]]


@dataclass(frozen=True)
class Entry:
    """One organization's part in one round, as it was decided and registered.

    Attributes:
        round_id: The round.
        organization: The address of the organization.
        steps: The number of training steps.
        data_fraction: The share of its data that the organization trains on, 0..1.
        artifact_id: The id of the delta; empty before the delta exists.
        residual_id: The id of the rounding error that the organization carries into its next
            delta; empty if it is not available.
    """

    round_id: int
    organization: str
    steps: int
    data_fraction: float = 1.0
    artifact_id: str = ""
    residual_id: str = ""

    @property
    def key(self) -> str:
        """Return a key that sorts entries by round, then by address."""
        return f"{self.round_id:06d}/{self.organization.lower()}"


@dataclass(frozen=True)
class Task:
    """The task of one organization in one round.

    Attributes:
        entry: The round, the organization and its effort.
        parameters: The agreed parameters.
        past: The sums of the earlier rounds and, if the consortium uses control variates, the
            organization's own deltas in them.
        residual: The rounding error of the organization's last delta, by tensor name.
    """

    entry: Entry
    parameters: ConsortiumParameters
    past: Past
    residual: Residual | None

    @property
    def aggregates(self) -> tuple[Totals, ...]:
        """Return the sums of the earlier rounds, in order."""
        return tuple(past_round.aggregate for past_round in self.past.rounds)

    @property
    def adapter(self) -> Totals:
        """Return the adapter that the round starts from, after the server optimizer."""
        return served(self.parameters, self.past.rounds)


@dataclass(frozen=True)
class TrainedDelta:
    """A delta and the cost of its training.

    Attributes:
        delta: The quantized delta, by tensor name.
        residual: The rounding error of the delta, by tensor name.
        tokens: The number of tokens trained on.
        seconds: The time that the training took.
    """

    delta: IntTensors
    residual: Residual
    tokens: int = 0
    seconds: float = 0.0


Train = Callable[[Task], TrainedDelta]
Map = Callable[[Train, Iterable[Task]], Iterable[TrainedDelta]]


@dataclass(frozen=True)
class History:
    """The entries of a consortium's rounds.

    Attributes:
        parameters: The agreed parameters.
        store: The store of the entries' artifacts.
        entries: The entries, which are sorted by round and address.
    """

    parameters: ConsortiumParameters
    store: ArtifactStore
    entries: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.entries, key=lambda entry: entry.key))
        object.__setattr__(self, "entries", ordered)

    @property
    def organizations(self) -> list[str]:
        """Return the addresses of all organizations that contributed, sorted."""
        return sorted({entry.organization for entry in self.entries}, key=str.lower)

    @property
    def rounds(self) -> list[int]:
        """Return the rounds that have entries, in order."""
        return sorted({entry.round_id for entry in self.entries})

    def of(self, organization: str) -> list[Entry]:
        """Return the entries of an organization, in the order of rounds.

        Raises:
            DataError: The organization never contributed.
        """
        entries = [e for e in self.entries if e.organization.lower() == organization.lower()]
        if not entries:
            raise DataError(f"{organization} has not contributed to any round of this history.")
        return entries

    def where(self, keep: Callable[[Entry], bool]) -> History:
        """Return the history of the entries for which `keep` returns true."""
        return replace(self, entries=tuple(filter(keep, self.entries)))

    def without(self, organization: str) -> History:
        """Return the other organizations' entries unchanged, which is the result of a removal.

        Raises:
            DataError: The organization never contributed.
        """
        self.of(organization)
        return self.where(lambda entry: entry.organization.lower() != organization.lower())

    def before(self, round_id: int) -> History:
        """Return the history of the rounds before `round_id`."""
        return self.where(lambda entry: entry.round_id < round_id)

    def with_entries(self, entries: Iterable[Entry]) -> History:
        """Return the history with `entries` added, which replace those of the same key."""
        merged = {entry.key: entry for entry in self.entries}
        merged |= {entry.key: entry for entry in entries}
        return replace(self, entries=tuple(merged.values()))

    def terms(self) -> list[Term]:
        """Return every delta with its weight by the consortium's rule."""
        terms = []
        for round_id, group in groupby(self.entries, key=lambda entry: entry.round_id):
            members = list(group)
            share = weights(self.parameters.layout, [entry.organization for entry in members])
            terms += [
                Term(round_id, e.organization, e.artifact_id, share[e.organization])
                for e in members
            ]
        return terms

    def aggregates(self) -> tuple[Totals, ...]:
        """Return the sum of each round, in order."""
        return tuple(sums.aggregate for sums in round_sums(self.terms(), self.load))

    def adapter(self) -> Totals:
        """Return the sum of all deltas, which is the adapter on the chain."""
        return adapter_totals(self.terms(), self.load)

    def served(self) -> Totals:
        """Return the served adapter, which differs from the sum only with a server optimizer."""
        return served(self.parameters, round_sums(self.terms(), self.load))

    def load(self, artifact_id: str) -> IntTensors:
        """Return the delta with the given id."""
        return self.store.load(artifact_id)

    def task(self, entry: Entry) -> Task:
        """Return the task of `entry` on top of the earlier rounds of this history."""
        earlier = self.before(entry.round_id)
        own = [e for e in earlier.entries if e.organization.lower() == entry.organization.lower()]
        residual = None
        if own and own[-1].residual_id:
            residual = safetensors.numpy.load(self.store.get(own[-1].residual_id))
        needed = own if uses_controls(self.parameters) else []
        deltas = {e.round_id: self.load(e.artifact_id) for e in needed}
        past = Past(round_sums(earlier.terms(), self.load), deltas)
        return Task(entry, self.parameters, past, residual)

    def stored(self, entry: Entry, trained: TrainedDelta) -> Entry:
        """Store a delta and its residual, and return the entry with their ids."""
        return replace(
            entry,
            artifact_id=self.store.put(encode(trained.delta)),
            residual_id=self.store.put(safetensors.numpy.save(dict(trained.residual))),
        )


def extend(
    history: History,
    plan: Sequence[Entry],
    train: Train,
    *,
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """Train the planned entries on top of a history, round by round.

    Args:
        history: The earlier rounds.
        plan: The entries to train.
        train: The function that trains one entry.
        journal: With a journal, an interrupted run continues after its last delta. An entry of the
            journal is used only if it was trained from the same adapter with the same effort.
        spread: The function that maps `train` over the entries of a round. They all start from the
            same adapter, so it may run them in parallel (`ProcessPoolExecutor.map`).

    Returns:
        The history with the trained entries.
    """
    ordered = sorted(plan, key=lambda entry: entry.key)
    for round_id, group in groupby(ordered, lambda entry: entry.round_id):
        tasks = [history.task(entry) for entry in group]
        start = encode(history.before(round_id).served())
        start_id = history.store.put(start)
        done = {task.entry.key: _known(journal, task, start_id, history.store) for task in tasks}
        todo = [task for task in tasks if done[task.entry.key] is None]
        for task, trained in zip(todo, spread(train, todo), strict=True):
            entry = history.stored(task.entry, trained)
            done[entry.key] = entry
            if journal is not None:
                fact = {"artifact": entry.artifact_id, "residual": entry.residual_id}
                journal.set(entry.key, {**fact, **_work(task.entry, start_id)})
        history = history.with_entries(entry for entry in done.values() if entry is not None)
    return history


def _work(entry: Entry, start_id: str) -> dict[str, object]:
    """Return the facts that must match before a delta of the journal is used again."""
    return {"start": start_id, "steps": entry.steps, "data_fraction": entry.data_fraction}


def _known(
    journal: Journal | None, task: Task, start_id: str, store: ArtifactStore
) -> Entry | None:
    fact = journal.get(task.entry.key) if journal is not None else None
    if fact is None or any(fact[k] != v for k, v in _work(task.entry, start_id).items()):
        return None
    if store.missing([fact["artifact"], fact["residual"]]):
        return None
    return replace(task.entry, artifact_id=fact["artifact"], residual_id=fact["residual"])
