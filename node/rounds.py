"""What a round starts from: the model before it as it is served, and its rounds where they matter.

In a shared layout the sums of single rounds come from the aggregator, and each is checked: its digest
must be what the digests on chain come to. In blocks one's own deltas are all that one starts from.
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
    Term,
    Totals,
    adapter_totals,
    add_totals,
    digest,
    l2_norm,
    qualify,
)
from rescind.core.round_sums import (
    Past,
    RoundSum,
    by_round,
    needs_rounds,
    round_sum,
    served,
    sum_key,
    uses_controls,
)
from rescind.node.session import Session

Listed = Callable[[], list[str]]


@dataclass(frozen=True)
class Start:
    """`adapter`: what is trained from. `past`: the rounds that it is made of, where they are needed."""

    adapter: Totals
    past: Past | None = None


def start_from(session: Session, model_id: int) -> Start:
    """What a round after this model starts from, and what is served as the model."""
    if not model_id:
        return Start({}, Past())
    if not needs_rounds(session.parameters):
        return Start(fetch(session, session.consortium.model(model_id).adapter_id))
    content = session.consortium.content(model_id)
    return start_of_terms(session, content, lambda: session.client.round_sums(model_id))


def start_of_terms(session: Session, terms: Sequence[Term], listed: Listed) -> Start:
    """From the sums of these terms by rounds; `listed` asks the aggregator for the ids of them all.

    In blocks one's own alone. Raises ArtifactWrongDigest, OutOfBounds or ArtifactMalformed for a sum
    that is not the one on chain.
    """
    parameters = session.parameters
    own = [it for it in terms if it.organization == session.me]
    if parameters.layout == "blocks":
        sums = [round_sum(n, its, session.store.load) for n, its in by_round(own).items()]
    else:
        sums = _checked_sums(session, by_round(terms), listed)
    rounds = tuple(it for it in sums if it.round_id)
    counters = add_totals(it.aggregate for it in sums if not it.round_id)
    deltas = {}
    if uses_controls(parameters):
        deltas = {it.round_id: session.store.load(it.artifact_id) for it in own if it.round_id}
    return Start(served(parameters, rounds, counters), Past(rounds, deltas))


def fetch(session: Session, artifact_id: str) -> dict[str, Any]:
    """An adapter or a sum, from one's own store or else from the aggregator."""
    if artifact_id == NO_ADAPTER:
        return {}
    if not session.store.has(artifact_id):
        limit = session.parameters.max_artifact_bytes
        session.store.put(session.client.download(artifact_id, limit))
    return session.store.load(artifact_id)


def check_sum(session: Session, named: str, totals: Totals, terms: Sequence[Term]) -> None:
    """Raises unless `totals` is the sum that the chain's deltas come to: digests tell."""
    expected = ZERO_DIGEST
    for term in terms:
        expected = expected + term.weight * session.client.digest(term.digest_root)
    found = digest(totals) if totals else ZERO_DIGEST
    if found.root != expected.root:
        raise ArtifactWrongDigest(
            f"adapter {named} has digest {found.root}, the deltas on chain come to {expected.root}"
        )
    norm, bound = l2_norm(totals), session.parameters.adapter_norm_bound
    if norm > bound:
        raise OutOfBounds(f"adapter {named}: norm {norm:.4g} is over the bound {bound:.4g}")


def own_sum(session: Session, terms: Sequence[Term]) -> dict[str, Any]:
    """Of one's own deltas, from one's own store."""
    return adapter_totals([it for it in terms if it.organization == session.me], session.store.load)


def _checked_sums(
    session: Session, groups: dict[int, tuple[Term, ...]], listed: Listed
) -> list[RoundSum]:
    """A sum that was checked once is known by what it is the sum of."""
    keys = {number: f"round-sum/{sum_key(group)}" for number, group in groups.items()}
    known = {number: session.journal.get(key) for number, key in keys.items()}
    if any(it is None or not session.store.has(it) for it in known.values()):
        named = listed()
        if len(named) != len(groups):
            raise ArtifactMalformed(
                f"the aggregator names {len(named)} sums, the model has {len(groups)} rounds"
            )
        given = dict(zip(groups, named, strict=True))
    else:
        given = {}
    sums = []
    for number, group in groups.items():
        artifact = str(given.get(number, known[number]))
        totals = fetch(session, artifact)
        if known[number] != artifact:
            _check_tensors(session, number, totals)
            check_sum(session, artifact, totals, group)
            session.journal.set(keys[number], artifact)
        sums.append(RoundSum(number, tuple(it.organization for it in group), totals))
    return sums


def _check_tensors(session: Session, round_id: int, totals: dict[str, Any]) -> None:
    shapes = {qualify(SHARED, n): it for n, it in session.parameters.delta_shapes().items()}
    for name, value in totals.items():
        if shapes.get(name) != value.shape or value.dtype != np.int64:
            raise ArtifactMalformed(f"sum of round {round_id}: tensor {name!r} is not agreed on")
