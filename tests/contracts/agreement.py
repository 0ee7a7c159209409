"""What the reference and the chain must both say, between any two actions."""

from __future__ import annotations

from rescind.contracts import AnswerState, DeltaId
from rescind.core import ZERO_DIGEST
from tests.contracts.reference import Part
from tests.contracts.stage import Stage


class Agreement:
    def __init__(self, stage: Stage) -> None:
        self.stage, self.model, self.record = stage, stage.rewind(), stage.record
        self.orgs = list(self.model.organizations)
        self.checked = 0
        self.dirty = True

    def check(self, *, each: bool = True) -> None:
        """`each`: also every organization, amendment and vote: most of the reads."""
        if not self.dirty:
            return
        self.dirty = not each
        if each:
            self._check_organizations()
            self._check_decisions()
        self._check_money()
        self._check_round()
        self._check_models()
        self._check_withdrawals()

    def _check_decisions(self) -> None:
        model, record = self.model, self.record
        amendments = [(a.kind, a.excludes, a.organization, a.from_round, a.withdrawal_id, a.first_model)
                for a in record.amendments()]  # fmt: skip
        assert amendments == [tuple(vars(a).values()) for a in model.amendments]
        assert [(p.votes, p.executed) for p in self.record.proposals()] == [
            (self.model.votes_for(n), p.executed) for n, p in self.model.proposals.items()
        ]

    def _check_organizations(self) -> None:
        model, record = self.model, self.record
        for who, expected in model.organizations.items():
            actual = record.member(who)
            assert (actual.status, actual.bond, actual.exit_at) == (
                expected.status,
                expected.bond,
                expected.exit_at,
            )
            assert record.pending_reward(who) == expected.reward
            assert record.compensation(who) == model.compensation[who]
            assert record.models_containing(who) == model.containing(who)
        rounds = len(model.rounds)
        answers = {who: answer.state for who, answer in record.answers(rounds).items()}
        given = model.rounds[rounds].answers if rounds else {}
        missing = dict.fromkeys(self.orgs, AnswerState.NONE)
        assert answers == missing | {who: answer.state for who, answer in given.items()}

    def _check_money(self) -> None:
        model, record = self.model, self.record
        assert record.aggregator_bond() == model.aggregator_bond
        where = self.stage.consortium.deployment.addresses()
        due = {"Members": model.members_balance(), "Rewards": model.rewards_balance(), "Lineage": 0}
        balance = {name: record.chain.web3.eth.get_balance(where[name]) for name in due}
        assert balance == due

    def _check_round(self) -> None:
        number = self.record.current_round_id()
        assert number == len(self.model.rounds)
        if not number:
            return
        expected, actual = self.model.rounds[number], self.record.round(number)
        assert (actual.state, actual.parent_model, actual.model_id) == (
            expected.state,
            expected.parent,
            expected.model,
        )
        assert actual.commit_deadline == expected.commit_deadline
        assert actual.reveal_deadline == expected.reveal_deadline
        assert actual.finalize_deadline == expected.finalize_deadline
        assert self.record.contributions(number) == list(expected.accepted)

    def _check_models(self) -> None:
        model, record = self.model, self.record
        assert record.model_count() == len(model.models) - 1
        assert record.latest_model_id() == model.head
        assert sorted(record.models_in_use()) == model.in_use()
        new = list(model.models)[max(self.checked, 1) :]
        self.checked = len(model.models)
        withdrawn = {delta.digest_root for delta in model.taken_back()}
        for number in new:
            self.check_model(number)
        for number in model.in_use():
            assert withdrawn.isdisjoint(term.digest_root for term in record.content(number))

    def check_model(self, number: int) -> None:
        expected, actual = self.model.models[number], self.record.model(number)
        content = self.record.content(number)
        named = [
            Part(t.round_id, t.organization, DeltaId(t.artifact_id, t.digest_root), t.weight)
            for t in content
        ]
        assert named == [
            Part(p.round_id, p.organization, p.delta, p.weight) for p in expected.parts
        ]
        summed = sum((t.weight * self.stage.digest_of(t.artifact_id) for t in content), ZERO_DIGEST)
        assert summed == self.stage.digest_of(expected.adapter.artifact_id)
        assert (actual.adapter_id, actual.digest_root) == (
            expected.adapter.artifact_id,
            expected.adapter.digest_root,
        )
        assert (actual.parent, actual.round_id, actual.kind) == (
            expected.parent,
            expected.last_round,
            expected.kind,
        )
        assert (actual.in_use, actual.released) == (expected.in_use, expected.released)
        for who in self.orgs:
            assert self.record.is_clean(number, who) != expected.has(who)

    def _check_withdrawals(self) -> None:
        actual = self.record.withdrawals()
        assert [
            (w.organization, w.method, w.state, w.deadline, w.subject, w.expelled, w.evidence,
             w.closed_model) for w in actual
        ] == [
            (w.organization, w.method, w.state, w.deadline, w.subject, w.expelled, w.evidence,
             w.closed_model) for w in self.model.withdrawals.values()
        ]  # fmt: skip
        assert self.record.any_overdue() == self.model.any_overdue()
        claim = self.record.claim()
        assert (claim is None) == (self.model.claim is None)
        if claim:
            expected = self.model.claim
            assert (claim.kind, claim.source, claim.deadline) == (
                expected.kind,
                expected.source,
                expected.deadline,
            )
