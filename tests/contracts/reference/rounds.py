"""Rounds, from their opening to the claim of the model that they lead to."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.contracts import (
    AnswerState,
    Contribution,
    DeltaId,
    ModelKind,
    Rejection,
    RoundState,
)
from tests.contracts.reference.lineage import Lineage
from tests.contracts.reference.records import TERMS, Answer, Round
from tests.contracts.reference.refusal import require
from tests.contracts.reference.sums import shares


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
