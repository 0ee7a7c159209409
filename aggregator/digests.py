"""Digests and commitments of stored artifacts, computed once each."""

from __future__ import annotations

import threading
from collections import OrderedDict

from rescind.core import ArtifactStore, Digest, Scan

_CACHED = 2048
"""Digests held in memory; 16 KiB each, so 32 MiB."""


class Digests:
    """The digests of stored artifacts.

    Args:
        store: Where the artifacts are.
    """

    def __init__(self, store: ArtifactStore) -> None:
        self._store = store
        self._lock = threading.Lock()
        self._known: OrderedDict[str, tuple[Digest, str]] = OrderedDict()

    def forget(self) -> None:
        """Drop every digest in memory. A digest of an erased artifact must not outlive it."""
        with self._lock:
            self._known.clear()

    def of(self, artifact_id: str) -> Digest:
        """Return the digest of an artifact, which is read in pieces if its digest is not known.

        Raises:
            StoreError: The artifact is missing or damaged.
            ArtifactError: It is not an artifact.
        """
        return self._entry(artifact_id)[0]

    def point_hash(self, artifact_id: str) -> str:
        """Return the hash of the point that commits to an artifact's digest; raise as `of`."""
        return self._entry(artifact_id)[1]

    def learn(self, scanned: Scan) -> None:
        """Keep what a pass over an artifact found."""
        entry = (scanned.digest, scanned.point_hash)
        with self._lock:
            self._known[scanned.artifact_id] = entry
            self._known.move_to_end(scanned.artifact_id)
            while len(self._known) > _CACHED:
                self._known.popitem(last=False)

    def _entry(self, artifact_id: str) -> tuple[Digest, str]:
        with self._lock:
            if artifact_id in self._known:
                self._known.move_to_end(artifact_id)
                return self._known[artifact_id]
        scanned = self._store.scan(artifact_id)
        self.learn(scanned)
        return scanned.digest, scanned.point_hash
