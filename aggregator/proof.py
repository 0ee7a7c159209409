"""Digests of stored artifacts, and the proof of a claimed sum on chain, a transaction at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

from rescind.aggregator.facts import DigestRoot
from rescind.contracts import (
    DIGESTS_PER_TRANSACTION,
    Claim,
    Consortium,
    SumTerm,
)
from rescind.core import (
    ZERO_DIGEST,
    ArtifactStore,
    Digest,
    digest,
)
from rescind.daemon import Journal

_CACHED_DIGESTS = 1024
"""Digests held in memory; 16 KiB each, so 16 MiB."""

_PAYMENTS_PER_DIGEST = 8
"""Payments to organizations that cost about as much gas as adding one digest."""


class Digests:
    """The digests of stored artifacts, computed once each.

    Args:
        store: Where the artifacts are.
        journal: Where the artifact of each digest root is recorded.
    """

    def __init__(self, store: ArtifactStore, journal: Journal) -> None:
        self._store, self._journal = store, journal
        self.of = lru_cache(maxsize=_CACHED_DIGESTS)(self._compute)

    def by_root(self, root: str) -> Digest | None:
        """Return the digest with a Merkle root, or None if no artifact with it is known."""
        if root == ZERO_DIGEST.root:
            return ZERO_DIGEST
        fact = DigestRoot.load(self._journal, root)
        return None if fact is None else self.of(fact.artifact_id)

    def _compute(self, artifact_id: str) -> Digest:
        result = digest(self._store.load(artifact_id))
        DigestRoot(result.root, artifact_id).save(self._journal)
        return result


def prove(consortium: Consortium, claim: Claim, digests: Digests) -> None:
    """Send one transaction that adds digests to a claim's sum; the last one concludes the claim.

    Args:
        consortium: The contracts, called with the aggregator's account.
        claim: The claim to prove, as it is on chain now.
        digests: Digests of all deltas in the sum.
    """
    done, todo = _split_terms(consortium, claim)
    batch = todo[:DIGESTS_PER_TRANSACTION]
    # The last transaction also registers the model, and pays every organization in it.
    payments = (len(done) + len(todo)) // _PAYMENTS_PER_DIGEST
    room = max(0, DIGESTS_PER_TRANSACTION - 1 - payments)
    last = len(todo) <= room
    consortium.prove(
        _sum(done, digests).to_bytes() if claim.carried else b"",
        [digests.of(term.artifact_id).to_bytes() for term in batch],
        _source(consortium, claim, digests).to_bytes() if last else b"",
    )


def _split_terms(consortium: Consortium, claim: Claim) -> tuple[list[SumTerm], list[SumTerm]]:
    """Return the terms that the chain has added, and those that it has not."""
    steps = consortium.claim_terms()
    earlier = [term for step in steps[: claim.step] for term in step]
    current = steps[claim.step] if claim.step < len(steps) else []
    later = [term for step in steps[claim.step + 1 :] for term in step]
    return [*earlier, *current[: claim.place]], [*current[claim.place :], *later]


def _sum(terms: Sequence[SumTerm], digests: Digests) -> Digest:
    total = ZERO_DIGEST
    for term in terms:
        total = total + term.coefficient * digests.of(term.artifact_id)
    return total


def _source(consortium: Consortium, claim: Claim, digests: Digests) -> Digest:
    """Return the digest registered for the source model.

    If another adapter than the sum of the source's deltas was registered, its digest does not match;
    the registered root is then that of the sum.
    """
    if claim.source == 0:
        return ZERO_DIGEST
    model = consortium.model(claim.source)
    registered = digests.of(model.adapter_id)
    if registered.root == model.digest_root:
        return registered
    terms = consortium.content(claim.source)
    return _sum([SumTerm(t.artifact_id, t.digest_root, t.weight) for t in terms], digests)
