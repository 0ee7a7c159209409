"""The digests of what is stored, and the proof of a claimed sum, one transaction at a time."""

from __future__ import annotations

from collections.abc import Sequence
from functools import lru_cache

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
    decode,
    digest,
)
from rescind.daemon import Journal

_KEPT = 1024
"""Digests held in memory, 16 KiB each."""


class Digests:
    """Digests of stored artifacts, computed once, and found again by their root."""

    def __init__(self, store: ArtifactStore, journal: Journal) -> None:
        self._store, self._journal = store, journal
        self.of = lru_cache(maxsize=_KEPT)(self._compute)

    def by_root(self, root: str) -> Digest | None:
        if root == ZERO_DIGEST.root:
            return ZERO_DIGEST
        artifact = self._journal.get(f"digest/{root}")
        return None if artifact is None else self.of(str(artifact))

    def _compute(self, artifact_id: str) -> Digest:
        found = digest(decode(self._store.get(artifact_id)))
        self._journal.set(f"digest/{found.root}", artifact_id)
        return found


def prove(consortium: Consortium, claim: Claim, digests: Digests) -> None:
    """Add the next digests to the claim's sum, and conclude it with the last."""
    done, todo = _terms(consortium, claim)
    batch = todo[:DIGESTS_PER_TRANSACTION]
    # The last transaction also registers the model, and pays every organization in it.
    room = max(0, DIGESTS_PER_TRANSACTION - 1 - (len(done) + len(todo)) // 8)
    last = len(todo) <= room
    consortium.prove(
        _sum(done, digests).to_bytes() if claim.carried else b"",
        [digests.of(term.artifact_id).to_bytes() for term in batch],
        _source(consortium, claim, digests).to_bytes() if last else b"",
    )


def _terms(consortium: Consortium, claim: Claim) -> tuple[list[SumTerm], list[SumTerm]]:
    """Those that the chain has added up, and those that it has not."""
    steps = consortium.claim_terms()
    earlier = [term for step in steps[: claim.step] for term in step]
    here = steps[claim.step] if claim.step < len(steps) else []
    later = [term for step in steps[claim.step + 1 :] for term in step]
    return [*earlier, *here[: claim.place]], [*here[claim.place :], *later]


def _sum(terms: Sequence[SumTerm], digests: Digests) -> Digest:
    total = ZERO_DIGEST
    for term in terms:
        total = total + term.coefficient * digests.of(term.artifact_id)
    return total


def _source(consortium: Consortium, claim: Claim, digests: Digests) -> Digest:
    """Of the source's adapter; of the sum that it should be, where another adapter was registered."""
    if claim.source == 0:
        return ZERO_DIGEST
    model = consortium.model(claim.source)
    found = digests.of(model.adapter_id)
    if found.root == model.digest_root:
        return found
    terms = consortium.content(claim.source)
    return _sum([SumTerm(t.artifact_id, t.digest_root, t.weight) for t in terms], digests)
