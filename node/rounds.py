"""The start of a round: the served model before it and, where they matter, the sums of its rounds.

In a shared layout the aggregator gives the sums of single rounds, and each is checked: its digest
must be the sum of the digests on chain. In blocks a node starts from its own deltas alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from rescind.contracts import NO_ADAPTER
from rescind.core import (
    SHARED,
    ZERO_DIGEST,
    ArtifactMalformed,
    ArtifactWrongDigest,
    OutOfBounds,
    Past,
    RoundSum,
    Term,
    Totals,
    adapter_totals,
    add_totals,
    by_round,
    digest,
    l2_norm,
    needs_rounds,
    qualify,
    sum_key,
    uses_controls,
)
from rescind.core.round_sums import round_sum, served
from rescind.node.facts import CheckedSum
from rescind.node.session import Session

Listed = Callable[[], list[str]]


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
        return Start(fetch(session, session.consortium.model(model_id).adapter_id))
    content = session.consortium.content(model_id)
    return start_of_terms(session, content, lambda: session.client.round_sums(model_id))


def start_of_terms(session: Session, terms: Sequence[Term], listed: Listed) -> Start:
    """Return the start that terms make; in blocks the node's own terms alone.

    Args:
        session: The node's session.
        terms: The terms of the model to start from.
        listed: Asks the aggregator for the artifact ids of all sums by rounds.

    Raises:
        ArtifactWrongDigest: A sum is not the one on chain.
        OutOfBounds: A sum's norm is above the bound under which a digest binds.
        ArtifactMalformed: Sums are missing, or have tensors that were not agreed on.
    """
    parameters = session.parameters
    own = [term for term in terms if term.organization == session.me]
    if parameters.layout == "blocks":
        groups = by_round(own).items()
        sums = [round_sum(number, group, session.store.load) for number, group in groups]
    else:
        sums = _checked_sums(session, by_round(terms), listed)
    # Round 0 holds counter-deltas, which no round trained.
    rounds = tuple(part for part in sums if part.round_id)
    counters = add_totals(part.aggregate for part in sums if not part.round_id)
    deltas = {}
    if uses_controls(parameters):
        deltas = {t.round_id: session.store.load(t.artifact_id) for t in own if t.round_id}
    return Start(served(parameters, rounds, counters), Past(rounds, deltas))


def fetch(session: Session, artifact_id: str) -> dict[str, Any]:
    """Return an adapter or a sum from the node's own store, or else from the aggregator."""
    if artifact_id == NO_ADAPTER:
        return {}
    if not session.store.has(artifact_id):
        limit = session.parameters.max_artifact_bytes
        session.store.put(session.client.download(artifact_id, limit))
    return session.store.load(artifact_id)


def check_sum(session: Session, named: str, totals: Totals, terms: Sequence[Term]) -> None:
    """Check that totals are the weighted sum of registered deltas, by their digests.

    Args:
        session: The node's session.
        named: The artifact id, for the message.
        totals: The totals to check.
        terms: The deltas that are to be in the sum.

    Raises:
        ArtifactWrongDigest: They are not.
        OutOfBounds: The norm is above the bound under which a digest binds.
    """
    expected = ZERO_DIGEST
    for term in terms:
        expected = expected + term.weight * session.client.digest(term.digest_root)
    actual = digest(totals) if totals else ZERO_DIGEST
    if actual.root != expected.root:
        raise ArtifactWrongDigest(
            f"adapter {named} has digest {actual.root}, the deltas on chain come to {expected.root}"
        )
    norm, bound = l2_norm(totals), session.parameters.adapter_norm_bound
    if norm > bound:
        raise OutOfBounds(f"adapter {named}: norm {norm:.4g} is over the bound {bound:.4g}")


def own_sum(session: Session, terms: Sequence[Term]) -> dict[str, Any]:
    """Return the weighted sum of the node's own deltas among terms, from its own store."""
    own = [term for term in terms if term.organization == session.me]
    return adapter_totals(own, session.store.load)


def own_totals(session: Session, model_id: int) -> dict[str, Any]:
    """Return the weighted sum of the node's own deltas in a model, from its own store."""
    return own_sum(session, session.consortium.content(model_id))


def _checked_sums(
    session: Session, groups: dict[int, tuple[Term, ...]], listed: Listed
) -> list[RoundSum]:
    """Return the sums by rounds. A sum that was checked once is not checked again."""
    keys = {number: sum_key(group) for number, group in groups.items()}
    checked = {number: CheckedSum.find(session.journal, key) for number, key in keys.items()}
    own = {number: fact.artifact for number, fact in checked.items() if fact}
    artifacts = own
    if any(number not in own or not session.store.has(own[number]) for number in groups):
        artifacts = _listed_sums(groups, listed)
    sums = []
    for number, group in groups.items():
        artifact = artifacts[number]
        totals = fetch(session, artifact)
        if own.get(number) != artifact:
            _check_tensors(session, number, totals)
            check_sum(session, artifact, totals, group)
            CheckedSum(keys[number], artifact).save(session.journal)
        sums.append(RoundSum(number, tuple(term.organization for term in group), totals))
    return sums


def _listed_sums(groups: dict[int, tuple[Term, ...]], listed: Listed) -> dict[int, str]:
    """Ask the aggregator for the artifact id of each round's sum."""
    artifacts = listed()
    if len(artifacts) != len(groups):
        raise ArtifactMalformed(
            f"the aggregator names {len(artifacts)} sums, the model has {len(groups)} rounds"
        )
    return dict(zip(groups, artifacts, strict=True))


def _check_tensors(session: Session, round_id: int, totals: dict[str, Any]) -> None:
    agreed = session.parameters.delta_shapes()
    shapes = {qualify(SHARED, name): shape for name, shape in agreed.items()}
    for name, value in totals.items():
        if shapes.get(name) != value.shape or value.dtype != np.int64:
            raise ArtifactMalformed(f"sum of round {round_id}: tensor {name!r} is not agreed on")
