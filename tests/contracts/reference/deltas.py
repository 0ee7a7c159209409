"""Which delta anybody may still register, and which holds in place of which."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.contracts import DeltaId
from tests.contracts.reference.members import Members
from tests.contracts.reference.refusal import require


class Deltas(Members):
    def __init__(self, aggregator: str, organizations: Sequence[str], now: int) -> None:
        super().__init__(aggregator, organizations, now)
        self.zero_root = ""
        self.revealed: set[DeltaId] = set()
        self.copy_from: dict[DeltaId, int] = {}
        self.offered_by: set[tuple[str, DeltaId]] = set()
        self.offers: dict[tuple[int, int, str], tuple[int, DeltaId]] = {}
        """Order and delta, by withdrawal, round (0: counter-training) and organization."""
        self._orders = 0

    def register_reveal(self, round_id: int, delta: DeltaId) -> None:
        self._require_unseen(delta)
        require(self.copy_from.get(delta, round_id + 1) > round_id, "ArtifactSeenBefore")
        self.revealed.add(delta)

    def register_offer(
        self, key: tuple[int, int, str], delta: DeltaId, copy_from: int, contributed: bool
    ) -> None:
        _, round_id, organization = key
        self._require_unseen(delta)
        require((organization, delta) not in self.offered_by, "ArtifactSeenBefore")
        require(contributed, "NotContributed")
        rivals = [self.offers[k][0] for k in self.offers if k[1:] == key[1:]]
        repeated = key in self.offers and (round_id == 0 or self.offers[key][0] == max(rivals))
        require(not repeated, "OfferedBefore")
        self.offered_by.add((organization, delta))
        self.copy_from.setdefault(delta, copy_from)
        self._orders += 1
        self.offers[key] = (self._orders, delta)

    def _require_unseen(self, delta: DeltaId) -> None:
        require(delta.digest_root != self.zero_root, "ZeroDelta")
        require(delta not in self.revealed, "ArtifactSeenBefore")
