"""The updates of a round, loaded from the store when they are needed."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from numpy.typing import NDArray

from rescind.core import ArtifactStore


class StoredDeltas(Mapping[str, Mapping[str, NDArray[Any]]]):
    """Deltas by organization. Each access reads one from the store, and none is kept.

    A rule that looks at updates one after the other, or in pairs, so has two of them in memory at
    most, whatever the number of organizations.

    Args:
        store: Where the deltas are.
        artifact_ids: The artifacts of each organization, which were checked already: its delta, or
            both deltas of a split coupling.
    """

    def __init__(self, store: ArtifactStore, artifact_ids: Mapping[str, Sequence[str]]) -> None:
        self._store, self._ids = store, dict(artifact_ids)

    def __getitem__(self, organization: str) -> Mapping[str, NDArray[Any]]:
        first, *others = self._ids[organization]
        delta = self._store.load(first)
        return {**delta, **self._store.load(others[0])} if others else delta

    def __iter__(self) -> Iterator[str]:
        return iter(self._ids)

    def __len__(self) -> int:
        return len(self._ids)
