"""The history of a consortium: the deltas of each round, their organizations and their effort.

A replay needs no more than this, and each organization's own data: what every model was is a sum over
the entries.
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

    `artifact_id` is empty before the delta exists, `residual_id` where the rounding error that the
    organization carried into its next delta is not at hand.
    """

    round_id: int
    organization: str
    steps: int
    data_fraction: float = 1.0
    artifact_id: str = ""
    residual_id: str = ""

    @property
    def key(self) -> str:
        return f"{self.round_id:06d}/{self.organization.lower()}"


@dataclass(frozen=True)
class Task:
    """The task of one organization in one round.

    `past`: the rounds before it, and its own deltas in them where control variates are made of them.
    `residual`: carried from its last delta.
    """

    entry: Entry
    parameters: ConsortiumParameters
    past: Past
    residual: Residual | None

    @property
    def aggregates(self) -> tuple[Totals, ...]:
        """The sums of the rounds before it, in order."""
        return tuple(it.aggregate for it in self.past.rounds)

    @property
    def adapter(self) -> Totals:
        """Return the adapter that the round starts from: the server optimizer's, of the rounds before."""
        return served(self.parameters, self.past.rounds)


@dataclass(frozen=True)
class Made:
    """A delta, what its rounding lost, and what the work came to."""

    delta: IntTensors
    residual: Residual
    tokens: int = 0
    seconds: float = 0.0


Train = Callable[[Task], Made]
Map = Callable[[Train, Iterable[Task]], Iterable[Made]]


@dataclass(frozen=True)
class History:
    """Entries in the order of rounds and addresses, and the store that their artifacts are in."""

    parameters: ConsortiumParameters
    store: ArtifactStore
    entries: tuple[Entry, ...] = ()

    def __post_init__(self) -> None:
        ordered = tuple(sorted(self.entries, key=lambda entry: entry.key))
        object.__setattr__(self, "entries", ordered)

    @property
    def organizations(self) -> list[str]:
        return sorted({entry.organization for entry in self.entries}, key=str.lower)

    @property
    def rounds(self) -> list[int]:
        return sorted({entry.round_id for entry in self.entries})

    def of(self, organization: str) -> list[Entry]:
        """Raises DataError when it never contributed."""
        found = [e for e in self.entries if e.organization.lower() == organization.lower()]
        if not found:
            raise DataError(f"{organization} has not contributed to any round of this history.")
        return found

    def where(self, keep: Callable[[Entry], bool]) -> History:
        return replace(self, entries=tuple(filter(keep, self.entries)))

    def without(self, organization: str) -> History:
        """Everybody else's entries as they are: what a removal leaves."""
        self.of(organization)
        return self.where(lambda entry: entry.organization.lower() != organization.lower())

    def before(self, round_id: int) -> History:
        return self.where(lambda entry: entry.round_id < round_id)

    def with_entries(self, entries: Iterable[Entry]) -> History:
        """Entries replaced by those of the same round and organization, others added."""
        merged = {entry.key: entry for entry in self.entries}
        merged |= {entry.key: entry for entry in entries}
        return replace(self, entries=tuple(merged.values()))

    def terms(self) -> list[Term]:
        """Every delta with its weight by the consortium's rule."""
        found = []
        for round_id, group in groupby(self.entries, key=lambda entry: entry.round_id):
            members = list(group)
            share = weights(self.parameters.layout, [entry.organization for entry in members])
            found += [
                Term(round_id, e.organization, e.artifact_id, share[e.organization])
                for e in members
            ]
        return found

    def aggregates(self) -> tuple[Totals, ...]:
        """The sum of each round, in order."""
        return tuple(it.aggregate for it in round_sums(self.terms(), self.load))

    def adapter(self) -> Totals:
        """The sum of all, which the chain has."""
        return adapter_totals(self.terms(), self.load)

    def served(self) -> Totals:
        """Return the served adapter. It differs from the sum only with a server optimizer."""
        return served(self.parameters, round_sums(self.terms(), self.load))

    def load(self, artifact_id: str) -> IntTensors:
        return self.store.load(artifact_id)

    def task(self, entry: Entry) -> Task:
        """`entry` on top of what this history holds of earlier rounds."""
        earlier = self.before(entry.round_id)
        own = [e for e in earlier.entries if e.organization.lower() == entry.organization.lower()]
        residual = None
        if own and own[-1].residual_id:
            residual = safetensors.numpy.load(self.store.get(own[-1].residual_id))
        wanted = own if uses_controls(self.parameters) else []
        deltas = {e.round_id: self.load(e.artifact_id) for e in wanted}
        past = Past(round_sums(earlier.terms(), self.load), deltas)
        return Task(entry, self.parameters, past, residual)

    def made(self, entry: Entry, made: Made) -> Entry:
        """The entry with what was made stored under its id."""
        return replace(
            entry,
            artifact_id=self.store.put(encode(made.delta)),
            residual_id=self.store.put(safetensors.numpy.save(dict(made.residual))),
        )


def extend(
    history: History,
    plan: Sequence[Entry],
    train: Train,
    *,
    journal: Journal | None = None,
    spread: Map = map,
) -> History:
    """`history` with the planned entries trained, round by round.

    The organizations of a round work from the same adapter, so `spread` may run them side by side
    (`ProcessPoolExecutor.map`). With a journal a run that was cut off goes on after its last delta: an
    entry is taken from it when it was made from the same adapter.
    """
    for round_id, group in groupby(sorted(plan, key=lambda it: it.key), lambda it: it.round_id):
        tasks = [history.task(entry) for entry in group]
        start = encode(history.before(round_id).served())
        start_id = history.store.put(start)
        done = {task.entry.key: _known(journal, task, start_id, history.store) for task in tasks}
        todo = [task for task in tasks if done[task.entry.key] is None]
        for task, made in zip(todo, spread(train, todo), strict=True):
            entry = history.made(task.entry, made)
            done[entry.key] = entry
            if journal is not None:
                fact = {"artifact": entry.artifact_id, "residual": entry.residual_id}
                journal.set(entry.key, {**fact, **_work(task.entry, start_id)})
        history = history.with_entries(entry for entry in done.values() if entry is not None)
    return history


def _work(entry: Entry, start_id: str) -> dict[str, object]:
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
