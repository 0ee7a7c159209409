"""Digests and commitments of stored artifacts, computed once each."""

from __future__ import annotations

from functools import lru_cache

from rescind.core import ArtifactStore, Digest, commit, digest, point_hash

_CACHED_DIGESTS = 2048
"""Digests held in memory; 16 KiB each, so 32 MiB."""


class Digests:
    """The digests of stored artifacts.

    Args:
        store: Where the artifacts are.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self.of = lru_cache(maxsize=_CACHED_DIGESTS)(self._compute)
        self.point_hash = lru_cache(maxsize=2**16)(self._point_hash)

    def forget(self) -> None:
        """Drop every digest in memory. A digest of an erased artifact must not outlive it."""
        self.of.cache_clear()
        self.point_hash.cache_clear()

    def _compute(self, artifact_id: str) -> Digest:
        return digest(self._store.load(artifact_id))

    def _point_hash(self, artifact_id: str) -> str:
        """Return the hash of the point that commits to an artifact's digest."""
        return point_hash(commit(self.of(artifact_id)))
