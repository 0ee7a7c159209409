"""Withdrawals, from the request to the model without what was withdrawn."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from rescind.contracts import (
    DeltaId,
    MemberStatus,
    ModelKind,
    RoundState,
    WithdrawalState,
)
from tests.contracts.reference.records import (
    TERMS,
    Amendment,
    Part,
    Withdrawal,
)
from tests.contracts.reference.refusal import require
from tests.contracts.reference.rounds import Rounds

QUORUM = 2
_ATTESTED = (ModelKind.REPLAY, ModelKind.COUNTER_TRAINING)
_IN_WORK = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)


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
                    and (it.excludes or (made and self._superseded(part, made)))
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
