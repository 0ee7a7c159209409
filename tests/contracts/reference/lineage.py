"""Models and the one that is claimed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from rescind.contracts import DeltaId, ModelKind, RoundState
from tests.contracts.reference.deltas import Deltas
from tests.contracts.reference.records import (
    NOTHING,
    TERMS,
    Amendment,
    Claim,
    Model,
    Part,
    Round,
)
from tests.contracts.reference.refusal import require
from tests.contracts.reference.sums import (
    Tensors,
    same,
    total,
    weighed,
)


class Lineage(Deltas):
    def __init__(
        self, aggregator: str, organizations: Sequence[str], now: int, *, shared: bool
    ) -> None:
        super().__init__(aggregator, organizations, now)
        self.shared = shared
        self.library: dict[DeltaId, Tensors] = {}
        """The integers of every delta, sum and adapter that was ever named."""
        self.models = {0: Model(NOTHING, 0, ModelKind.ROUND, 0, (), in_use=False)}
        self.head = 0
        self.rounds: dict[int, Round] = {}
        self.amendments: list[Amendment] = []
        self.claim: Claim | None = None

    def in_use(self) -> list[int]:
        return [number for number, it in self.models.items() if it.in_use]

    def containing(self, organization: str) -> list[int]:
        return [number for number, it in self.models.items() if it.has(organization)]

    def exact(self, parts: Sequence[Part]) -> dict[str, NDArray[np.int64]]:
        return total([(self.library[part.delta], part.weight) for part in parts])

    def amendment_of(self, withdrawal: int) -> Amendment | None:
        return next((it for it in self.amendments if it.withdrawal == withdrawal), None)

    def concerns(self, it: Amendment, number: int) -> bool:
        """Whether the model has yet to be replaced because of the amendment."""
        model = self.models[number]
        if it.withdrawal in model.applied:
            return False
        if it.excludes or it.kind is ModelKind.COUNTER_TRAINING:
            return model.has(it.organization)
        mine = [p.round_id for p in model.parts if p.organization == it.organization]
        return it.first_round in mine

    def done(self, it: Amendment) -> bool:
        return it.first_model > 0 and not any(self.concerns(it, n) for n in self.in_use())

    def first_round(self, withdrawal: int, organization: str, *, excludes: bool) -> int:
        mine = self.rounds_of(organization)
        if not excludes:
            mine = [n for n in mine if (withdrawal, n, organization) in self.offers]
        return min(mine, default=0)

    def rounds_of(self, organization: str) -> list[int]:
        return [
            number
            for number, it in self.rounds.items()
            if it.state is RoundState.FINAL
            and any(c.organization == organization for c in it.accepted)
        ]

    def amended(self, source: int, it: Amendment) -> list[Part]:
        """The parts of the model that takes the place of `source`."""
        parts = [self._substituted(part, it) for part in self.models[source].parts]
        if it.excludes:
            parts = [part for part in parts if part.organization != it.organization]
        if it.kind is ModelKind.COUNTER_TRAINING:
            order, delta = self.offers[it.withdrawal, 0, it.organization]
            parts.append(Part(0, it.organization, delta, 10_000, order))
        return weighed(parts, self.shared)

    def _substituted(self, part: Part, it: Amendment) -> Part:
        offer = self.offers.get((it.withdrawal, part.round_id, part.organization))
        counts = part.round_id > it.first_round or part.organization == it.organization
        swaps = it.kind in (ModelKind.REPLACEMENT, ModelKind.REPLAY) and part.round_id > 0
        if offer is None or not swaps or part.round_id < it.first_round or not counts:
            return part
        return replace(part, order=offer[0], delta=offer[1]) if offer[0] > part.order else part

    def _complete(self, source: int, it: Amendment, parts: Sequence[Part]) -> bool:
        old = {
            part.delta
            for part in self.models[source].parts
            if part.round_id > it.first_round
            and (self.shared or part.organization == it.organization)
        }
        kept = any(part.delta in old for part in parts)
        return it.kind is not ModelKind.REPLAY or not kept

    def claim_round(self, number: int, aggregate: DeltaId, adapter: DeltaId) -> None:
        it = self.rounds[number]
        new = [
            Part(number, c.organization, DeltaId(c.artifact_id, c.digest_root), c.weight)
            for c in it.accepted
        ]
        parts = weighed([*self.models[self.head].parts, *new], self.shared)
        right = same(self.exact(new), self.library[aggregate]) and self._right(parts, adapter)
        self.claim = Claim(
            ModelKind.ROUND, number, self.head, it.finalize_deadline, adapter, parts, right
        )

    def claim_amendment(self, it: Amendment, source: int, adapter: DeltaId) -> None:
        kept = list(self.amendments)
        if self.claim:
            require(self.claim.kind is not ModelKind.ROUND, "ClaimPending")
            kept = [made for made in kept if made.first_model > 0]
        require(source in self.in_use(), "NotInUse")
        if it not in kept:
            require(not kept or self.done(kept[-1]), "AnotherWithdrawalFirst")
            require(it.kind is not ModelKind.REPLAY or source == self.head, "HeadFirst")
            kept.append(it)
        require(it is kept[-1] and self.concerns(it, source), "NotAffected")
        parts = self.amended(source, it)
        deadline = self.now + TERMS.finalize_seconds
        complete = self._complete(source, it, parts)
        right = self._right(parts, adapter)
        self.amendments = kept
        self.claim = Claim(it.kind, 0, source, deadline, adapter, parts, right, complete)

    def prove(self, who: str, fault: str, last: bool) -> None:
        """`fault`: the error that the given digests lead to; `last`: whether none is missing."""
        require(self.claim is not None, "NoClaim")
        require(self.claim.complete, "ReplayIncomplete")
        require(not fault, fault)
        if last:
            require(self.claim.right, "SumMismatch")
            self._register(self.claim)

    def drop_unproven(self, who: str) -> None:
        require(self.claim is not None, "NoClaim")
        require(self.now > self.claim.deadline, "WindowOpen")
        if self.claim.kind is ModelKind.ROUND:
            self.rounds[self.claim.round_id].state = RoundState.ABANDONED
            self.rounds[self.claim.round_id].accepted = ()
        self.amendments = [it for it in self.amendments if it.first_model > 0]
        self.claim = None

    def release(self, who: str, number: int) -> None:
        require(who == self.aggregator, "NotAggregator")
        require(number == self.head != 0, "NotInUse")
        self.models[number].released = True

    def retire(self, who: str, number: int) -> None:
        require(who == self.aggregator, "NotAggregator")
        require(number != self.head, "IsHead")
        require(self.claim is None or self.claim.source != number, "ClaimPending")
        require(number in self.in_use(), "NotInUse")
        self.models[number].in_use = False

    def _right(self, parts: Sequence[Part], adapter: DeltaId) -> bool:
        return same(self.exact(parts), self.library[adapter])

    def _register(self, claim: Claim) -> None:
        source, number = self.models[claim.source], len(self.models)
        is_round = claim.kind is ModelKind.ROUND
        new = replace(source, adapter=claim.adapter, parent=claim.source, kind=claim.kind)
        new.parts, new.in_use = claim.parts, True
        if is_round:
            new.last_round, new.released = claim.round_id, False
            self._pay(claim.round_id, number)
        else:
            newest = self.amendments[-1]
            new.applied = source.applied | {newest.withdrawal}
            newest.first_model = newest.first_model or number
        self.models[number] = new
        source.in_use = source.in_use and is_round and source.released
        self.head = number if claim.source == self.head else self.head
        self.claim = None

    def _pay(self, number: int, model: int) -> None:
        it = self.rounds[number]
        it.state, it.model = RoundState.FINAL, model
        scores = sum(c.score for c in it.accepted)
        available = min(self.pool, TERMS.reward_per_round_wei) if scores else 0
        for c in it.accepted:
            amount = available * c.score // scores if scores else 0
            self.organizations[c.organization].reward += amount
            self.pool -= amount
