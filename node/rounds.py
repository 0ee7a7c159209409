"""The start of a round: the served model before it and, where they matter, the sums of its rounds.

In a shared layout the aggregator gives the sums of single rounds, and each is checked by its
opening against the points on chain. In blocks a node starts from its own deltas alone.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import groupby

from rescind.contracts import Entry
from rescind.core import (
    SHARED,
    ArtifactMalformed,
    OpeningMismatch,
    Past,
    RoundSum,
    StoreMissing,
    Term,
    Totals,
    add_totals,
    by_round,
    needs_rounds,
    owner,
    split_owner,
    uses_controls,
)
from rescind.core.round_sums import round_sum, served
from rescind.node.adopting import adopted_tensors, download, fetch
from rescind.node.facts import CheckedSum
from rescind.node.own_deltas import own_terms, own_totals
from rescind.node.session import Session
from rescind.wire import ModelFiles
from rescind.withdrawals import RecordedModel, accept_files

Listed = Callable[[], list[ModelFiles]]


@dataclass(frozen=True)
class Start:
    """The start of a training.

    Attributes:
        adapter: The totals to train from.
        past: The rounds that the adapter is made of, where a rule or optimizer needs them.
    """

    adapter: Totals
    past: Past | None = None


def start_from(session: Session, model_id: int) -> Start:
    """Return what a round after a model starts from, which is also what is served as the model."""
    if not model_id:
        return Start({}, Past())
    if not needs_rounds(session.parameters):
        return Start(_plain_start(session, model_id))
    entries = session.consortium.content(model_id)
    return start_of_entries(session, entries, lambda: session.client.round_sums(model_id))


def _plain_start(session: Session, model_id: int) -> Totals:
    """Return the totals of a model; in blocks the node's own block, which it trains alone.

    In a split coupling the shared ranks are beside it.
    """
    if session.parameters.layout == "shared":
        return adopted_tensors(session, model_id)
    beside = shared_totals(session, model_id) if session.parameters.split else {}
    try:
        return {**own_totals(session, model_id), **beside}
    except StoreMissing:
        own = owner("blocks", session.me)
        return {**_owned(adopted_tensors(session, model_id), own), **beside}


def shared_totals(session: Session, model_id: int) -> Totals:
    """Return the totals of what all share in a model: the adapter, or the shared ranks."""
    return _owned(adopted_tensors(session, model_id), SHARED)


def _owned(tensors: Totals, wanted: str) -> Totals:
    return {name: value for name, value in tensors.items() if split_owner(name)[0] == wanted}


def start_of_entries(session: Session, entries: Sequence[Entry], listed: Listed) -> Start:
    """Return the start that a content makes; in blocks the node's own entries alone.

    Args:
        session: The node's session.
        entries: The content of the model to start from.
        listed: Asks the aggregator for the sums of all rounds, with their openings.

    Raises:
        OpeningMismatch: A sum is not the one on chain.
        ArtifactMalformed: Sums are missing.
    """
    own = own_terms(session, entries)
    if session.parameters.layout == "blocks":
        return start_of_own(session, own)
    sums = _checked_sums(session, entries_by_round(entries), listed)
    return _start(session, sums, own)


def start_of_own(session: Session, own: Sequence[Term]) -> Start:
    """Return the start that the node's own deltas make, from its own store."""
    groups = by_round(own).items()
    return _start(session, [round_sum(n, group, session.store.load) for n, group in groups], own)


def _start(session: Session, sums: Sequence[RoundSum], own: Sequence[Term]) -> Start:
    # Round 0 holds counter-deltas, which no round trained.
    rounds = tuple(part for part in sums if part.round_id)
    counters = add_totals(part.aggregate for part in sums if not part.round_id)
    deltas = {}
    if uses_controls(session.parameters):
        deltas = {t.round_id: session.store.load(t.artifact_id) for t in own if t.round_id}
    return Start(served(session.parameters, rounds, counters), Past(rounds, deltas))


def checked_sum(session: Session, files: ModelFiles, entries: Sequence[Entry]) -> Totals:
    """Return a sum of entries that the aggregator names, once it opens to their points.

    Args:
        session: The node's session.
        files: The sum and its opening.
        entries: What the sum is to contain.

    Raises:
        OpeningMismatch: It is another sum.
    """
    if not entries:
        return {}
    points = session.consortium.points({entry.point_hash for entry in entries})
    record = RecordedModel(0, tuple(entries), (), points)
    adapter, opening = download(session, files, record)
    result = accept_files(record, session.parameters, adapter, opening, files.adapter_id)
    if not result.complete:
        raise OpeningMismatch(f"the sum {files.adapter_id} is refused: {result.sentence()}")
    return fetch(session, files.adapter_id)


def entries_by_round(entries: Sequence[Entry]) -> dict[int, tuple[Entry, ...]]:
    """Return the entries of each round, ascending; round 0 holds the counter-deltas."""
    ordered = sorted(entries, key=lambda entry: (entry.round_id, entry.member_number))
    return {
        round_id: tuple(group)
        for round_id, group in groupby(ordered, key=lambda entry: entry.round_id)
    }


def entries_key(entries: Sequence[Entry]) -> str:
    """Return a name for the sum of entries: the SHA-256 of their points and weights."""
    text = "\n".join(sorted(f"{entry.point_hash} {entry.weight}" for entry in entries))
    return hashlib.sha256(text.encode()).hexdigest()


def _checked_sums(
    session: Session, groups: dict[int, tuple[Entry, ...]], listed: Listed
) -> list[RoundSum]:
    """Return the sums by rounds. A sum that was checked once is not checked again."""
    facts = {n: CheckedSum.find(session.journal, entries_key(group)) for n, group in groups.items()}
    known = {
        number: fact.artifact
        for number, fact in facts.items()
        if fact and session.store.has(fact.artifact)
    }
    files = {} if len(known) == len(groups) else _listed_sums(groups, listed)
    sums = []
    for number, group in groups.items():
        if number in known:
            totals: Totals = session.store.load(known[number])
        else:
            totals = checked_sum(session, files[number], group)
            CheckedSum(entries_key(group), files[number].adapter_id).save(session.journal)
        sums.append(RoundSum(number, tuple(entry.organization for entry in group), totals))
    return sums


def _listed_sums(groups: dict[int, tuple[Entry, ...]], listed: Listed) -> dict[int, ModelFiles]:
    """Ask the aggregator for the files of each round's sum."""
    files = listed()
    if len(files) != len(groups):
        raise ArtifactMalformed(
            f"the aggregator names {len(files)} sums, the model has {len(groups)} rounds"
        )
    return dict(zip(groups, files, strict=True))
