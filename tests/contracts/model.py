"""What a consortium's public record must say, as plain values: which deltas a model holds is an
explicit set with an exact integer sum, and each action changes the values or is refused.

Actions have the names and arguments of contracts.Consortium, after the address of who acts.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np
from numpy.typing import NDArray

from contracts import (
    AnswerState,
    Contribution,
    DeltaId,
    DeploySettings,
    MemberStatus,
    ModelKind,
    Rejection,
    RoundState,
    WithdrawalState,
)

Tensors = Mapping[str, NDArray[np.int64]]
TERMS = DeploySettings.model_construct()
"""What a consortium agrees on by default."""
QUORUM = 2
NOTHING = DeltaId("00" * 32, "")
_ATTESTED = (ModelKind.REPLAY, ModelKind.COUNTER_TRAINING)
_IN_WORK = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)


class Refusal(Exception):
    """Carries the name of the contracts' custom error."""


def require(holds: bool, reason: str) -> None:
    if not holds:
        raise Refusal(reason)


@dataclass
class Organization:
    status: MemberStatus = MemberStatus.ACTIVE
    bond: int = TERMS.bond_wei
    exit_at: int = 0
    reward: int = 0


@dataclass
class Answer:
    state: AnswerState
    delta: DeltaId = NOTHING
    salt: bytes = b""


@dataclass
class Round:
    parent: int
    commit_deadline: int
    state: RoundState = RoundState.OPEN
    reveal_deadline: int = 0
    finalize_deadline: int = 0
    model: int = 0
    answers: dict[str, Answer] = field(default_factory=dict)
    accepted: Sequence[Contribution] = ()

    def who(self, state: AnswerState) -> list[str]:
        found = [who for who, answer in self.answers.items() if answer.state is state]
        return sorted(found, key=str.lower)


@dataclass(frozen=True)
class Part:
    """`order`: when it was offered, among all offers; 0 for what a round brought."""

    round_id: int
    organization: str
    delta: DeltaId
    weight: int
    order: int = 0


@dataclass
class Model:
    """`applied`: the withdrawals that made it what it is."""

    adapter: DeltaId
    parent: int
    kind: ModelKind
    last_round: int
    parts: Sequence[Part]
    applied: frozenset[int] = frozenset()
    released: bool = False
    in_use: bool = True

    def has(self, organization: str) -> bool:
        return any(part.organization == organization for part in self.parts)


@dataclass
class Amendment:
    kind: ModelKind
    excludes: bool
    organization: str
    first_round: int
    withdrawal: int
    first_model: int = 0


@dataclass
class Claim:
    """`parts`: what the model must hold; `complete`: whether a replay replaced all it has to."""

    kind: ModelKind
    round_id: int
    source: int
    deadline: int
    adapter: DeltaId
    parts: Sequence[Part]
    right: bool
    complete: bool = True


@dataclass
class Withdrawal:
    organization: str
    method: ModelKind
    state: WithdrawalState
    deadline: int
    subject: str = ""
    expelled: bool = False
    evidence: str = ""
    offered: bool = False
    closed_model: int = 0

    @property
    def excludes(self) -> bool:
        return not self.subject and self.method is not ModelKind.COUNTER_TRAINING


@dataclass
class Proposal:
    action: str
    argument: str | int
    deadline: int
    voters: set[str] = field(default_factory=set)
    executed: bool = False


class Members:
    """Members, money, votes and time."""

    def __init__(self, aggregator: str, organizations: Sequence[str], now: int) -> None:
        self.aggregator = aggregator
        self.organizations = {who: Organization() for who in organizations}
        self.now = now
        self.aggregator_bond = TERMS.aggregator_bond_wei
        self.pool = TERMS.pool_wei
        self.compensation = dict.fromkeys(organizations, 0)
        self.proposals: dict[int, Proposal] = {}

    def status(self, who: str) -> MemberStatus:
        found = self.organizations.get(who)
        return found.status if found else MemberStatus.NONE

    def active(self, who: str) -> bool:
        return self.status(who) is MemberStatus.ACTIVE

    def may_contribute(self, who: str) -> bool:
        return self.active(who) and self.organizations[who].bond >= TERMS.bond_wei

    def members_balance(self) -> int:
        bonds = sum(it.bond for it in self.organizations.values())
        return bonds + self.aggregator_bond + sum(self.compensation.values())

    def rewards_balance(self) -> int:
        return self.pool + sum(it.reward for it in self.organizations.values())

    def resign(self, who: str) -> None:
        require(self.active(who), "WrongStatus")
        self.organizations[who].status = MemberStatus.LEFT
        self.organizations[who].exit_at = self.now + TERMS.exit_seconds

    def top_up(self, who: str, amount: int) -> None:
        require(self.active(who), "WrongStatus")
        missing = TERMS.bond_wei - self.organizations[who].bond
        require(0 < amount <= missing, "WrongBond")
        self.organizations[who].bond += amount

    def reclaim_bond(self, who: str) -> None:
        gone = self.status(who) in (MemberStatus.LEFT, MemberStatus.WITHDRAWN)
        require(gone and self.organizations[who].bond > 0, "WrongStatus")
        require(self.now >= self.organizations[who].exit_at, "TooEarly")
        self.organizations[who].bond = 0

    def claim_reward(self, who: str) -> None:
        require(who in self.organizations and self.organizations[who].reward > 0, "NothingToClaim")
        self.organizations[who].reward = 0

    def claim_compensation(self, who: str) -> None:
        require(self.compensation.get(who, 0) > 0, "NothingToClaim")
        self.compensation[who] = 0

    def post_aggregator_bond(self, who: str, amount: int) -> None:
        require(who == self.aggregator, "NotAllowed")
        require(amount > 0, "WrongBond")
        self.aggregator_bond += amount

    def propose_expulsion(self, who: str, organization: str) -> None:
        self._propose(who, "expel", organization)

    def propose_fall_back(self, who: str, withdrawal_id: int) -> None:
        self._propose(who, "fall_back", withdrawal_id)

    def vote(self, who: str, number: int) -> None:
        it = self._open_proposal(number)
        require(self.active(who), "NotActive")
        require(who not in it.voters, "AlreadyVoted")
        it.voters.add(who)

    def votes_for(self, number: int) -> int:
        return sum(self.active(who) for who in self.proposals[number].voters)

    def execute(self, who: str, number: int) -> None:
        it = self._open_proposal(number)
        electorate = sum(self.active(organization) for organization in self.organizations)
        require(2 * self.votes_for(number) > electorate, "NotEnoughVotes")
        getattr(self, it.action)(it.argument)
        it.executed = True

    def _propose(self, who: str, action: str, argument: str | int) -> None:
        require(self.active(who), "NotActive")
        deadline = self.now + TERMS.proposal_seconds
        self.proposals[len(self.proposals) + 1] = Proposal(action, argument, deadline, {who})

    def _open_proposal(self, number: int) -> Proposal:
        require(number in self.proposals, "UnknownProposal")
        require(not self.proposals[number].executed, "AlreadyExecuted")
        require(self.now <= self.proposals[number].deadline, "Expired")
        return self.proposals[number]


class Deltas(Members):
    """Which delta anybody may still register, and which holds in place of which."""

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


def shares(shared: bool, organizations: Sequence[str]) -> dict[str, int]:
    """The weights of one round's organizations."""
    ordered = sorted(organizations, key=str.lower)
    count = len(ordered)
    if not shared:
        return dict.fromkeys(ordered, 10_000)
    return {who: (10_000 + count - 1 - place) // count for place, who in enumerate(ordered)}


def weighed(parts: Sequence[Part], shared: bool) -> list[Part]:
    """In the record's order, with the weights that follow from who is in each round."""
    found: list[Part] = sorted((p for p in parts if not p.round_id), key=lambda p: p.order)
    for round_id in sorted({p.round_id for p in parts} - {0}):
        group = [p for p in parts if p.round_id == round_id]
        share = shares(shared, [p.organization for p in group])
        ordered = sorted(group, key=lambda p: p.organization.lower())
        found += [replace(p, weight=share[p.organization]) for p in ordered]
    return found


def total(terms: Sequence[tuple[Tensors, int]]) -> dict[str, NDArray[np.int64]]:
    """The exact sum, without tensors that come to zero."""
    found: dict[str, NDArray[np.int64]] = {}
    for tensors, weight in terms:
        for name, value in tensors.items():
            found[name] = found.get(name, 0) + weight * np.asarray(value, np.int64)
    return {name: value for name, value in found.items() if value.any()}


def same(one: Tensors, other: Tensors) -> bool:
    return one.keys() == other.keys() and all((one[n] == other[n]).all() for n in one)


class Lineage(Deltas):
    """Models and the one that is claimed."""

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
        old = {part.delta for part in self.models[source].parts if part.round_id > it.first_round}
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


class Rounds(Lineage):
    def open_round(self, who: str) -> None:
        require(who == self.aggregator, "NotAggregator")
        last = self.rounds.get(len(self.rounds))
        require(last is None or last.state.over, "RoundUnfinished")
        require(self.aggregator_bond >= TERMS.aggregator_bond_wei, "AggregatorBondMissing")
        require(not self.any_overdue(), "WithdrawalOverdue")
        deadline = self.now + TERMS.commit_seconds
        made = Round(self.head, deadline)
        self.rounds[len(self.rounds) + 1] = made
        made.reveal_deadline = deadline + TERMS.reveal_seconds
        made.finalize_deadline = made.reveal_deadline + TERMS.finalize_seconds

    def commit(self, who: str, number: int, delta: DeltaId, salt: bytes) -> None:
        self._answer(who, number, Answer(AnswerState.COMMITTED, delta, salt))

    def sit_out(self, who: str, number: int) -> None:
        self._answer(who, number, Answer(AnswerState.SAT_OUT))

    def close_commits(self, who: str, number: int) -> None:
        it = self._in(number, RoundState.OPEN)
        waiting = set(filter(self.may_contribute, self.organizations)) - set(it.answers)
        require(self.now > it.commit_deadline or not waiting, "DeadlineAhead")
        if not it.who(AnswerState.COMMITTED):
            it.state = RoundState.ABANDONED
            return
        it.state = RoundState.COMMITTED
        it.reveal_deadline = self.now + TERMS.reveal_seconds
        it.finalize_deadline = it.reveal_deadline + TERMS.finalize_seconds

    def reveal(self, who: str, number: int, delta: DeltaId, salt: bytes) -> None:
        it = self._in(number, RoundState.COMMITTED)
        require(self.now <= it.reveal_deadline, "DeadlinePassed")
        require(who in it.who(AnswerState.COMMITTED), "NothingCommitted")
        mine = it.answers[who]
        require((mine.delta, mine.salt) == (delta, salt), "CommitmentMismatch")
        self.register_reveal(number, delta)
        mine.state = AnswerState.REVEALED

    def close_reveals(self, who: str, number: int) -> None:
        it = self._in(number, RoundState.COMMITTED)
        missing = list(filter(self.active, it.who(AnswerState.COMMITTED)))
        require(self.now > it.reveal_deadline or not missing, "DeadlineAhead")
        it.state = RoundState.ABANDONED
        if it.who(AnswerState.REVEALED):
            it.state = RoundState.REVEALED
            it.finalize_deadline = self.now + TERMS.finalize_seconds
        for late in missing:
            penalty = min(self.organizations[late].bond, TERMS.unrevealed_penalty_wei)
            self.organizations[late].bond -= penalty
            self.pool += penalty

    def aggregate(
        self,
        who: str,
        number: int,
        accepted: Sequence[Contribution],
        rejected: Sequence[Rejection],
        aggregate: DeltaId,
        adapter: DeltaId,
    ) -> None:
        require(who == self.aggregator, "NotAggregator")
        it = self._in(number, RoundState.REVEALED)
        require(self.now <= it.finalize_deadline, "DeadlinePassed")
        revealed = it.who(AnswerState.REVEALED)
        require(len(accepted) + len(rejected) == len(revealed), "UnaccountedFor")
        if not accepted:
            it.state = RoundState.ABANDONED
            return
        share = shares(self.shared, [c.organization for c in accepted])
        for c in accepted:
            named = DeltaId(c.artifact_id, c.digest_root)
            require(it.answers[c.organization].delta == named, "NotRevealed")
            require(self.active(c.organization), "Withdrawn")
            require(c.weight == share[c.organization], "WrongWeight")
        require(self.claim is None, "ClaimPending")
        replay = self.amendments[-1:] and self.amendments[-1].kind is ModelKind.REPLAY
        require(not replay or self.done(self.amendments[-1]), "AnotherWithdrawalFirst")
        it.accepted = accepted
        it.state = RoundState.AGGREGATED
        self.claim_round(number, aggregate, adapter)

    def abandon(self, who: str, number: int) -> None:
        it = self._in(number, RoundState.OPEN, RoundState.COMMITTED, RoundState.REVEALED)
        require(self.now > it.finalize_deadline, "DeadlineAhead")
        it.state = RoundState.ABANDONED

    def any_overdue(self) -> bool:
        raise NotImplementedError

    def _answer(self, who: str, number: int, answer: Answer) -> None:
        it = self._in(number, RoundState.OPEN)
        require(self.now <= it.commit_deadline, "DeadlinePassed")
        require(self.may_contribute(who), "MayNotContribute")
        require(who not in it.answers, "AlreadyAnswered")
        it.answers[who] = answer

    def _in(self, number: int, *states: RoundState) -> Round:
        require(number in self.rounds and self.rounds[number].state in states, "WrongState")
        return self.rounds[number]


class Reference(Rounds):
    """The whole consortium: with its withdrawals."""

    def __init__(
        self, aggregator: str, organizations: Sequence[str], now: int, *, shared: bool
    ) -> None:
        super().__init__(aggregator, organizations, now, shared=shared)
        self.withdrawals: dict[int, Withdrawal] = {}

    def any_overdue(self) -> bool:
        return any(
            it.state is not WithdrawalState.CLOSED and self.now > it.deadline
            for it in self.withdrawals.values()
        )

    def request_withdrawal(self, who: str, method: ModelKind) -> None:
        require(method not in (ModelKind.ROUND, ModelKind.REPLACEMENT), "WrongMethod")
        self._withdraw(who)
        self._request(Withdrawal(who, method, WithdrawalState.REQUESTED, 0))

    def request_subject_withdrawal(self, who: str, subject: str, method: ModelKind) -> None:
        require(method not in (ModelKind.ROUND, ModelKind.REMOVAL), "WrongMethod")
        require(self.status(who) in (MemberStatus.ACTIVE, MemberStatus.LEFT), "WrongStatus")
        mine = [it for it in self.withdrawals.values() if it.organization == who]
        unfinished = [it for it in mine if it.state is not WithdrawalState.CLOSED]
        require(len(unfinished) < 8, "TooManyOpen")
        self._request(Withdrawal(who, method, WithdrawalState.REQUESTED, 0, subject))

    def expel(self, organization: str) -> None:
        self._withdraw(organization)
        made = Withdrawal(organization, ModelKind.REMOVAL, WithdrawalState.REQUESTED, 0)
        self._request(replace(made, expelled=True))

    def offer(self, who: str, number: int, round_id: int, delta: DeltaId) -> None:
        it = self._in_work(number, *_IN_WORK)
        require(it.method is not ModelKind.REMOVAL, "WrongMethod")
        if it.method is not ModelKind.REPLAY:
            require(who == it.organization, "NotOrganization")
            self._in_work(number, WithdrawalState.PREPARING)
        require(self.amendment_of(number) is None, "ClaimPending")
        require(round_id <= self.models[self.head].last_round, "NotContributed")
        newest = len(self.rounds)
        is_open = newest > 0 and self.rounds[newest].state is RoundState.OPEN
        contributed = round_id in self.rounds_of(who)
        if it.method is ModelKind.COUNTER_TRAINING:
            contributed = round_id == 0 and bool(self.rounds_of(who))
        copy_from = newest if is_open else newest + 1
        self.register_offer((number, round_id, who), delta, copy_from, contributed)
        it.offered = it.offered or who == it.organization

    def ready(self, who: str, number: int) -> None:
        it = self._in_work(number, WithdrawalState.PREPARING)
        require(who == it.organization, "NotOrganization")
        require(it.offered, "NothingOffered")
        it.state = WithdrawalState.REQUESTED
        it.deadline = self.now + TERMS.withdrawal_seconds

    def escalate(self, who: str, number: int) -> None:
        it = self._in_work(number, WithdrawalState.PREPARING)
        require(self.now > it.deadline, "NotOverdue")
        self._to_removal(it)

    def fall_back(self, number: int) -> None:
        it = self._in_work(number, *_IN_WORK)
        begun = self.amendment_of(number) is not None
        require(it.method is not ModelKind.REMOVAL and not begun, "WrongMethod")
        self._to_removal(it)

    def carry_out(
        self,
        who: str,
        number: int,
        source: int,
        adapter: DeltaId,
        evidence: str,
        signers: Sequence[str],
        auditors: Sequence[str],
    ) -> None:
        require(who == self.aggregator, "NotAggregator")
        it = self._in_work(number, WithdrawalState.REQUESTED)
        if it.method in _ATTESTED:
            require(bool(evidence), "EmptyValue")
            require(len(signers) >= QUORUM, "QuorumMissing")
            require(set(signers) <= set(auditors), "NotAuditor")
            ascending = sorted(set(signers), key=str.lower) == list(signers)
            require(ascending, "SignersNotAscending")
        self.claim_amendment(self.amendment(number), source, adapter)
        it.evidence = evidence if it.method in _ATTESTED else ""

    def amendment(self, number: int) -> Amendment:
        """What the withdrawal changes, or would change if it were carried out now."""
        it = self.withdrawals[number]
        first = self.first_round(number, it.organization, excludes=it.excludes)
        made = Amendment(it.method, it.excludes, it.organization, first, number)
        return self.amendment_of(number) or made

    def close_withdrawal(self, who: str, number: int) -> None:
        it = self._in_work(number, WithdrawalState.REQUESTED)
        made = self.amendment_of(number)
        clean = not any(self.models[n].has(it.organization) for n in self.in_use())
        finished = self.done(made) if made else clean
        require(self.claim is None and finished, "NotCarriedOut")
        it.state = WithdrawalState.CLOSED
        it.closed_model = self.head
        if not it.subject and self.status(it.organization) is MemberStatus.WITHDRAWING:
            self.organizations[it.organization].status = MemberStatus.WITHDRAWN
            self.organizations[it.organization].exit_at = self.now + TERMS.exit_seconds

    def slash(self, who: str, number: int) -> None:
        it = self._in_work(number, WithdrawalState.REQUESTED)
        require(self.now > it.deadline, "NotOverdue")
        require(self.aggregator_bond > 0, "NothingToSlash")
        share = self.aggregator_bond * TERMS.slash_share // 10_000
        self.compensation[it.organization] += share
        self.pool += self.aggregator_bond - share
        self.aggregator_bond = 0

    def taken_back(self) -> set[DeltaId]:
        """Deltas that a closed withdrawal took out of the models for good."""
        gone: set[DeltaId] = set()
        for number, it in self.withdrawals.items():
            if it.state is WithdrawalState.CLOSED:
                made = self.amendment_of(number)
                gone |= {
                    part.delta
                    for model in self.models.values()
                    for part in model.parts
                    if part.organization == it.organization
                    and ((it.excludes) or (made and self._superseded(part, made)))
                }
        return gone

    def _superseded(self, part: Part, it: Amendment) -> bool:
        return self._substituted(part, it) is not part

    def _request(self, it: Withdrawal) -> None:
        prepares = it.method in (ModelKind.REPLACEMENT, ModelKind.COUNTER_TRAINING)
        wait = TERMS.withdrawal_seconds
        if prepares or (it.subject and it.method is ModelKind.REPLAY):
            it.state, wait = WithdrawalState.PREPARING, TERMS.preparation_seconds
        it.deadline = self.now + wait
        self.withdrawals[len(self.withdrawals) + 1] = it

    def _withdraw(self, who: str) -> None:
        allowed = (MemberStatus.ACTIVE, MemberStatus.LEFT)
        require(self.status(who) in allowed, "WrongStatus")
        self.organizations[who].status = MemberStatus.WITHDRAWING

    def _to_removal(self, it: Withdrawal) -> None:
        it.method, it.subject, it.evidence = ModelKind.REMOVAL, "", ""
        it.state = WithdrawalState.REQUESTED
        it.deadline = self.now + TERMS.withdrawal_seconds
        if self.status(it.organization) in (MemberStatus.ACTIVE, MemberStatus.LEFT):
            self._withdraw(it.organization)

    def _in_work(self, number: int, *states: WithdrawalState) -> Withdrawal:
        it = self.withdrawals.get(number)
        require(it is not None and it.state in states, "WrongState")
        return it
