"""The public record against its reference (tests/contracts/model.py), action by action on a real
chain: both take it, or both refuse it for the same reason, and then both say the same."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np
import pytest
import requests
from eth_account import Account as EthAccount
from hypothesis import HealthCheck, seed, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)
from web3 import HTTPProvider, Web3

from adapters import ZERO_DIGEST, Digest, digest, owner, qualify
from contracts import (
    AnswerState,
    Consortium,
    ContractRefused,
    Contribution,
    DeltaId,
    MemberStatus,
    ModelKind,
    Rejection,
    RejectReason,
    RoundState,
    WithdrawalState,
)
from tests.consortium import (
    SALT,
    TestConsortium,
    make_consortium,
    micro_parameters,
    start_anvil,
)
from tests.contracts.model import NOTHING, Part, Reference, Refusal, Tensors, same, shares, total

EVIDENCE = "ee" * 32
FINAL, CLOSED = RoundState.FINAL, WithdrawalState.CLOSED


@dataclass
class Stage:
    """One consortium on one chain, wound back to its start for every play. `reached`: how often
    each action was taken, or refused for which reason, in all plays."""

    it: TestConsortium
    snapshot: object = None
    clients: dict[str, Consortium] = field(default_factory=dict)
    named: dict[str, tuple[DeltaId, Digest]] = field(default_factory=dict)
    reached: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.chain = self.it.anvil.chain()
        # Looking for a proxy takes a tenth of all the time that these tests take.
        session = requests.Session()
        session.trust_env = False
        self.chain.web3 = Web3(HTTPProvider(self.chain.rpc_url, session=session))
        self.rpc("anvil_setBlockTimestampInterval", 0)
        for account in [self.it.aggregator, *self.it.organizations]:
            self.clients[account.address] = Consortium(self.chain, self.it.deployment, account)
        self.record = self.clients[self.it.aggregator.address]
        self.snapshot = self.rpc("evm_snapshot")

    def rpc(self, method: str, *arguments: object) -> object:
        answer = self.chain.web3.provider.make_request(method, list(arguments))
        assert "error" not in answer, answer
        return answer["result"]

    def rewind(self) -> Reference:
        self.rpc("evm_revert", self.snapshot)
        self.snapshot = self.rpc("evm_snapshot")
        now = int(self.record.chain.web3.eth.get_block("latest")["timestamp"])
        names = [account.address for account in self.it.organizations]
        shared = self.it.parameters.layout == "shared"
        reference = Reference(self.it.aggregator.address, names, now, shared=shared)
        reference.zero_root = ZERO_DIGEST.root
        return reference

    def name(self, key: str, tensors: Tensors) -> DeltaId:
        if key not in self.named:
            delta = self.it.register(dict(tensors))
            self.named[key] = self.named[delta.artifact_id] = (delta, digest(dict(tensors)))
        return self.named[key][0]

    def digest_of(self, artifact_id: str) -> Digest:
        return ZERO_DIGEST if int(artifact_id, 16) == 0 else self.named[artifact_id][1]


class Play:
    """Actions, each done to the reference and to the chain."""

    def __init__(self, stage: Stage) -> None:
        self.stage, self.model, self.record = stage, stage.rewind(), stage.record
        self.boss = self.model.aggregator
        self.orgs = list(self.model.organizations)
        self.made = 0
        self.checked = 0
        self.dirty = True
        self.progress: tuple[object, int, Digest] = (None, 0, ZERO_DIGEST)

    # Deltas

    def delta(self, who: str, source: str = "fresh") -> DeltaId:
        """A new one, a zero one, or one that anybody revealed or offered before, if there is."""
        offered = [delta for _, delta in self.model.offers.values()]
        known = {"revealed": sorted(self.model.revealed, key=str), "offered": offered}.get(source)
        if known:
            return known[-1]
        parameters, number = self.stage.it.parameters, self.orgs.index(who)
        self.made += source != "zero"
        dice = np.random.default_rng([number, self.made])
        bound = 0 if source == "zero" else 50
        tensors = {
            qualify(owner(parameters.layout, who), bare): dice.integers(
                -bound, bound, shape, dtype=np.int32, endpoint=True
            )
            for bare, shape in parameters.delta_shapes().items()
        }
        return self.name(tensors, f"{source} {number} {self.made if bound else 0}")

    def name(self, tensors: Tensors, key: str = "") -> DeltaId:
        key = key or repr(sorted((name, value.tobytes()) for name, value in tensors.items()))
        delta = self.stage.name(key, tensors)
        self.model.library[delta] = total([(tensors, 1)])
        return delta

    # Actions

    def do(self, who: str, action: str, *arguments: object) -> str:
        """The reason for which both refused it, or nothing."""
        client = self.stage.clients[who]
        return self.both(
            action,
            lambda: getattr(self.model, action)(who, *arguments),
            lambda: getattr(client, action)(*arguments),
        )

    def both(self, action: str, expect: Callable[[], None], act: Callable[[], object]) -> str:
        try:
            expect()
            expected = ""
        except Refusal as refusal:
            expected = str(refusal)
        try:
            act()
            found = ""
        except ContractRefused as refusal:
            found = refusal.reason or str(refusal)
        assert found == expected, f"{action}: {found or 'taken'}, not {expected or 'taken'}"
        self.stage.reached[f"{action} {found}".strip()] += 1
        self.dirty = self.dirty or not found
        return found

    def pass_time(self, seconds: int) -> None:
        self.model.now += seconds
        self.stage.rpc("evm_setNextBlockTimestamp", self.model.now)
        self.stage.rpc("evm_mine")
        self.dirty = True

    def aggregate(self, number: int, fault: str = "", score: int = 5_000) -> str:
        it = self.model.rounds.get(number)
        revealed = it.who(AnswerState.REVEALED) if it else []
        gone = [who for who in revealed if not self.model.active(who)]
        kept = [who for who in revealed if who not in gone or fault == "withdrawn"]
        reasons = dict.fromkeys(gone, RejectReason.WITHDRAWN)
        if fault == "rejected" and kept:
            reasons[kept.pop()] = RejectReason.MALFORMED
        if fault == "dropped" and kept:
            kept.pop(0)
        rejected = [Rejection(w, reasons[w]) for w in revealed if w in reasons and w not in kept]
        share = shares(self.model.shared, kept)
        deltas = {who: it.answers[who].delta for who in kept}
        accepted = [
            Contribution(who, share[who], score + place, d.artifact_id, d.digest_root)
            for place, (who, d) in enumerate(deltas.items())
        ]
        new = [Part(number, who, deltas[who], share[who]) for who in kept]
        aggregate = self.model.exact(new)
        adapter = self.model.exact([*self.model.models[self.model.head].parts, *new])
        wrong = {"sum": aggregate, "adapter": adapter}.get(fault)
        if wrong:
            next(iter(wrong.values())).flat[0] += 1
        if fault in ("weight", "root") and accepted:
            accepted[0] = self._spoilt(accepted[0], fault)
        names = (self.name(aggregate), self.name(adapter))
        return self.do(self.boss, "aggregate", number, accepted, rejected, *names)

    def _spoilt(self, it: Contribution, fault: str) -> Contribution:
        weight = it.weight - (fault == "weight")
        root = "12" * 32 if fault == "root" else it.digest_root
        return Contribution(it.organization, weight, it.score, it.artifact_id, root)

    def prove(self, *, most: int = 20, fault: str = "") -> str:
        claim = self.model.claim
        if claim is None or not claim.complete:
            empty: Callable[[], object] = lambda: self.record.prove(b"", [], b"")  # noqa: E731
            act = self.record.claim_terms if claim else empty
            return self.both("prove", lambda: self.model.prove(self.boss, "", True), act)
        terms = [term for step in self.record.claim_terms() for term in step]
        self._check_equation(claim, terms)
        of, sent, carried = self.progress
        sent, carried = (sent, carried) if of is claim else (0, ZERO_DIGEST)
        batch = terms[sent : sent + most]
        last = sent + len(batch) == len(terms)
        digests = [self.stage.digest_of(term.artifact_id).to_bytes() for term in batch]
        before = carried.to_bytes() if sent else b""
        if fault == "WrongCarry":
            before = (carried + digest({"a": np.ones(1, np.int32)})).to_bytes()
        if fault == "TooManyDigests":
            batch, last = terms[sent:], True
            digests = [self.stage.digest_of(term.artifact_id).to_bytes() for term in batch]
            digests.append(ZERO_DIGEST.to_bytes())
        if fault == "WrongDigest":
            digests = [(ZERO_DIGEST).to_bytes()] * max(len(batch), 1)
            fault = fault if batch else "TooManyDigests"
        source = self.stage.digest_of(self.model.models[claim.source].adapter.artifact_id)
        found = self.both(
            "prove",
            lambda: self.model.prove(self.boss, fault, last),
            lambda: self.record.prove(before, digests, source.to_bytes() if last else b""),
        )
        if not found:
            for term in batch:
                carried = carried + term.coefficient * self.stage.digest_of(term.artifact_id)
            self.progress = (claim, sent + len(batch), carried)
        return found

    def _check_equation(self, claim: object, terms: Sequence[object]) -> None:
        """What the chain wants to add up is the difference between both models, to the integer."""
        library = self.model.library
        change = total(
            [(library[DeltaId(t.artifact_id, t.digest_root)], t.coefficient) for t in terms]
        )
        source = self.model.exact(self.model.models[claim.source].parts)
        assert same(total([(source, 1), (change, 1)]), self.model.exact(claim.parts))

    def carry_out(self, number: int, source: int, fault: str = "") -> str:
        it = self.model.withdrawals.get(number)
        exact: dict[str, np.ndarray] = {}
        if it and it.state is WithdrawalState.REQUESTED and source in self.model.models:
            exact = self.model.exact(self.model.amended(source, self.model.amendment(number)))
        if fault == "adapter":
            exact = total([(exact, 1), ({"a": np.ones(1, np.int64)}, 1)])
        adapter = self.name(exact)
        auditors = self.stage.it.auditors
        stranger = self.stage.it.organizations[0]
        signers = {
            "quorum": auditors[:1],
            "order": auditors[::-1],
            "stranger": [stranger, auditors[0]],
        }.get(fault, auditors)
        evidence = "" if fault == "evidence" else EVIDENCE
        attested = self.record.attestation_hash(number, source, adapter, evidence or "00" * 32)
        signatures = [
            bytes(EthAccount.unsafe_sign_hash(attested, signer.key).signature) for signer in signers
        ]
        named = [signer.address for signer in signers]
        allowed = [auditor.address for auditor in auditors]
        return self.both(
            "carry_out",
            lambda: self.model.carry_out(
                self.boss, number, source, adapter, evidence, named, allowed
            ),
            lambda: self.record.carry_out(number, source, adapter, evidence, signatures),
        )

    # Several actions at once

    def play_round(self, fault: str = "", *, most: int = 20) -> None:
        """Whatever the newest round still needs to be over; first a new one, if it is."""
        rounds = self.model.rounds
        if not rounds or rounds[len(rounds)].state.over:
            self.do(self.boss, "open_round")
        number = len(rounds)
        it = rounds.get(number)
        if it is None or it.state.over:
            return
        if it.state is RoundState.OPEN:
            for who in self.orgs:
                if who not in it.answers and self.model.may_contribute(who):
                    self.do(who, "commit", number, self.delta(who), SALT)
            self.do(self.boss, "close_commits", number)
        if it.state is RoundState.COMMITTED:
            for who in it.who(AnswerState.COMMITTED):
                self.do(who, "reveal", number, it.answers[who].delta, it.answers[who].salt)
            if self.do(self.boss, "close_reveals", number):
                self.pass_time(301)
                self.do(self.boss, "close_reveals", number)
        if it.state is RoundState.REVEALED:
            self.aggregate(number, fault)
        if it.state is RoundState.AGGREGATED:
            self.prove_all(most)

    def prove_all(self, most: int = 20) -> None:
        claim = self.model.claim
        while self.model.claim is claim is not None:
            if self.prove(most=most):
                self.pass_time(301)
                self.do(self.boss, "drop_unproven")

    def prepare(self, number: int) -> None:
        """Offer what the withdrawal's method needs, and say so."""
        it = self.model.withdrawals[number]
        who = it.organization
        mine = self.model.rounds_of(who)
        if it.method is ModelKind.COUNTER_TRAINING:
            self.do(who, "offer", number, 0, self.delta(who))
        elif it.method is ModelKind.REPLACEMENT:
            for round_id in mine[-1:]:
                self.do(who, "offer", number, round_id, self.delta(who))
        elif it.method is ModelKind.REPLAY and mine:
            self._offer_replay(number, mine[0] if it.excludes else mine[-1])
        if it.state is WithdrawalState.PREPARING:
            self.do(who, "ready", number)

    def _offer_replay(self, number: int, first: int) -> None:
        it = self.model.withdrawals[number]
        if not it.excludes:
            self.do(it.organization, "offer", number, first, self.delta(it.organization))
        for part in self.model.models[self.model.head].parts:
            gone = it.excludes and part.organization == it.organization
            if part.round_id > first and not gone:
                delta = self.delta(part.organization)
                self.do(part.organization, "offer", number, part.round_id, delta)

    def finish(self, number: int, *, most: int = 20) -> None:
        """Carry a withdrawal out in all models in use, the head first, and close it."""
        it = self.model.withdrawals[number]
        if it.state is not CLOSED and self.model.amendment_of(number) is None:
            self.prepare(number)
        for source in reversed(self.model.in_use()):
            requested = it.state is WithdrawalState.REQUESTED
            due = requested and self.model.concerns(self.model.amendment(number), source)
            if due and not self.carry_out(number, source):
                self.prove_all(most)
        self.do(self.boss, "close_withdrawal", number)

    # What both say

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
        made = [(a.kind, a.excludes, a.organization, a.from_round, a.withdrawal_id, a.first_model)
                for a in record.amendments()]  # fmt: skip
        assert made == [tuple(vars(a).values()) for a in model.amendments]
        assert [(p.votes, p.executed) for p in self.record.proposals()] == [
            (self.model.votes_for(n), p.executed) for n, p in self.model.proposals.items()
        ]

    def _check_organizations(self) -> None:
        model, record = self.model, self.record
        for who, it in model.organizations.items():
            found = record.member(who)
            assert (found.status, found.bond, found.exit_at) == (it.status, it.bond, it.exit_at)
            assert record.pending_reward(who) == it.reward
            assert record.compensation(who) == model.compensation[who]
            assert record.models_containing(who) == model.containing(who)
        rounds = len(model.rounds)
        answers = {who: it.state for who, it in record.answers(rounds).items()}
        given = model.rounds[rounds].answers if rounds else {}
        missing = dict.fromkeys(self.orgs, AnswerState.NONE)
        assert answers == missing | {who: answer.state for who, answer in given.items()}

    def _check_money(self) -> None:
        model, record = self.model, self.record
        assert record.aggregator_bond() == model.aggregator_bond
        where = self.stage.it.deployment.addresses()
        due = {"Members": model.members_balance(), "Rewards": model.rewards_balance(), "Lineage": 0}
        balance = {name: record.chain.web3.eth.get_balance(where[name]) for name in due}
        assert balance == due

    def _check_round(self) -> None:
        number = self.record.current_round_id()
        assert number == len(self.model.rounds)
        if not number:
            return
        it, found = self.model.rounds[number], self.record.round(number)
        assert (found.state, found.parent_model, found.model_id) == (it.state, it.parent, it.model)
        assert found.commit_deadline == it.commit_deadline
        assert found.reveal_deadline == it.reveal_deadline
        assert found.finalize_deadline == it.finalize_deadline
        assert self.record.contributions(number) == list(it.accepted)

    def _check_models(self) -> None:
        model, record = self.model, self.record
        assert record.model_count() == len(model.models) - 1
        assert record.latest_model_id() == model.head
        assert sorted(record.models_in_use()) == model.in_use()
        new = list(model.models)[max(self.checked, 1) :]
        self.checked = len(model.models)
        gone = {delta.digest_root for delta in model.taken_back()}
        for number in new:
            self.check_model(number)
        for number in model.in_use():
            assert gone.isdisjoint(term.digest_root for term in record.content(number))

    def check_model(self, number: int) -> None:
        it, found = self.model.models[number], self.record.model(number)
        content = self.record.content(number)
        named = [
            Part(t.round_id, t.organization, DeltaId(t.artifact_id, t.digest_root), t.weight)
            for t in content
        ]
        assert named == [Part(p.round_id, p.organization, p.delta, p.weight) for p in it.parts]
        summed = sum((t.weight * self.stage.digest_of(t.artifact_id) for t in content), ZERO_DIGEST)
        assert summed == self.stage.digest_of(it.adapter.artifact_id)
        assert (found.adapter_id, found.digest_root) == (
            it.adapter.artifact_id,
            it.adapter.digest_root,
        )
        assert (found.parent, found.round_id, found.kind) == (it.parent, it.last_round, it.kind)
        assert (found.in_use, found.released) == (it.in_use, it.released)
        for who in self.orgs:
            assert self.record.is_clean(number, who) != it.has(who)

    def _check_withdrawals(self) -> None:
        found = self.record.withdrawals()
        assert [
            (w.organization, w.method, w.state, w.deadline, w.subject, w.expelled, w.evidence,
             w.closed_model) for w in found
        ] == [
            (w.organization, w.method, w.state, w.deadline, w.subject, w.expelled, w.evidence,
             w.closed_model) for w in self.model.withdrawals.values()
        ]  # fmt: skip
        assert self.record.any_overdue() == self.model.any_overdue()
        claim = self.record.claim()
        assert (claim is None) == (self.model.claim is None)
        if claim:
            mine = self.model.claim
            assert (claim.kind, claim.source, claim.deadline) == (
                mine.kind,
                mine.source,
                mine.deadline,
            )


@pytest.fixture(params=["blocks", "shared"], scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    parameters = micro_parameters(federated=request.param == "shared")
    with start_anvil() as anvil:
        yield Stage(make_consortium(anvil, 3, parameters))


@pytest.fixture
def play(stage: Stage) -> Play:
    return Play(stage)


def test_a_removal_takes_an_organization_out_of_the_model(play: Play) -> None:
    for _ in range(2):
        play.play_round(most=1)
        play.check()
    leaver = play.orgs[1]
    assert play.do(leaver, "request_withdrawal", ModelKind.REMOVAL) == ""
    play.finish(1, most=2)
    play.check()
    assert play.model.withdrawals[1].state is CLOSED
    assert play.model.status(leaver) is MemberStatus.WITHDRAWN
    assert not play.model.models[play.model.head].has(leaver)


def test_a_replacement_puts_an_organizations_new_delta_in_place_of_its_old_one(play: Play) -> None:
    play.play_round()
    play.do(play.boss, "release", 1)
    play.play_round()
    who = play.orgs[0]
    old = {part.delta for part in play.model.models[2].parts if part.organization == who}
    play.do(who, "request_subject_withdrawal", "ab" * 32, ModelKind.REPLACEMENT)
    assert play.do(who, "ready", 1) == "NothingOffered"
    assert play.do(who, "offer", 1, 1, play.delta(who, "zero")) == "ZeroDelta"
    assert play.do(who, "offer", 1, 1, play.delta(who, "revealed")) == "ArtifactSeenBefore"
    assert play.do(play.orgs[1], "offer", 1, 1, play.delta(who)) == "NotOrganization"
    for round_id in (1, 2):
        assert play.do(who, "offer", 1, round_id, play.delta(who)) == ""
    assert play.do(who, "offer", 1, 2, play.delta(who)) == "OfferedBefore"
    assert play.do(who, "ready", 1) == ""
    assert play.carry_out(1, 1) == ""
    play.prove_all(most=1)
    assert play.do(play.boss, "close_withdrawal", 1) == "NotCarriedOut"
    assert play.carry_out(1, 2) == ""
    play.prove_all()
    assert play.do(play.boss, "close_withdrawal", 1) == ""
    play.check()
    assert old <= play.model.taken_back()
    play.play_round()
    play.check()
    assert play.model.rounds[3].state is FINAL


def test_a_counter_training_needs_both_auditors(play: Play) -> None:
    play.play_round()
    who = play.orgs[2]
    play.do(who, "request_subject_withdrawal", "cd" * 32, ModelKind.COUNTER_TRAINING)
    play.prepare(1)
    for fault, reason in [
        ("evidence", "EmptyValue"),
        ("quorum", "QuorumMissing"),
        ("stranger", "NotAuditor"),
        ("order", "SignersNotAscending"),
    ]:
        assert play.carry_out(1, 1, fault) == reason
    play.finish(1)
    play.check()
    assert [part.round_id for part in play.model.models[2].parts] == [0, 1, 1, 1]
    play.do(who, "request_withdrawal", ModelKind.REMOVAL)
    play.finish(2)
    play.check()
    assert not play.model.models[3].has(who)


@pytest.mark.parametrize("whole", [True, False])
def test_a_replay_replaces_every_later_delta(play: Play, whole: bool) -> None:
    play.play_round()
    play.do(play.boss, "release", 1)
    for _ in range(2):
        play.play_round()
    who, other = play.orgs[:2]
    if whole:
        play.do(who, "request_withdrawal", ModelKind.REPLAY)
    else:
        play.do(who, "request_subject_withdrawal", "ef" * 32, ModelKind.REPLAY)
        play.do(who, "offer", 1, 1, play.delta(who))
        play.do(who, "ready", 1)
    assert play.do(other, "offer", 1, 2, play.delta(other)) == ""
    assert play.carry_out(1, 1) == "HeadFirst"
    assert play.carry_out(1, 3) == ""
    assert play.prove() == "ReplayIncomplete"
    assert play.do(other, "offer", 1, 3, play.delta(other)) == "ClaimPending"
    play.prove_all()
    for part in play.model.models[3].parts:
        if part.round_id > 1 and not (whole and part.organization == who):
            play.do(part.organization, "offer", 1, part.round_id, play.delta(part.organization))
    play.finish(1)
    play.check()
    assert play.model.withdrawals[1].state is CLOSED
    late = [part for part in play.model.models[play.model.head].parts if part.round_id > 1]
    assert late
    assert all(part.order for part in late)


def test_a_late_withdrawal_stops_the_rounds_and_costs_the_aggregator_its_bond(play: Play) -> None:
    play.play_round()
    who, other = play.orgs[:2]
    play.do(who, "request_subject_withdrawal", "ab" * 32, ModelKind.REPLACEMENT)
    assert play.do(other, "escalate", 1) == "NotOverdue"
    play.pass_time(3601)
    assert play.do(other, "escalate", 1) == ""
    assert play.model.status(who) is MemberStatus.WITHDRAWING
    assert play.do(other, "slash", 1) == "NotOverdue"
    play.pass_time(3601)
    assert play.do(play.boss, "open_round") == "WithdrawalOverdue"
    assert play.do(other, "slash", 1) == ""
    assert play.do(other, "slash", 1) == "NothingToSlash"
    play.check()
    assert play.do(who, "claim_compensation") == ""
    play.finish(1)
    assert play.do(play.boss, "open_round") == "AggregatorBondMissing"
    assert play.do(play.boss, "post_aggregator_bond", 10 * 10**18) == ""
    assert play.do(who, "reclaim_bond") == "TooEarly"
    play.pass_time(86_400)
    assert play.do(who, "reclaim_bond") == ""
    play.play_round()
    play.check()
    assert play.model.rounds[2].state is FINAL


def test_members_vote_a_member_out(play: Play) -> None:
    play.play_round()
    first, second, gone = play.orgs
    play.do(first, "propose_expulsion", gone)
    assert play.do(first, "vote", 1) == "AlreadyVoted"
    assert play.do(second, "execute", 1) == "NotEnoughVotes"
    play.do(second, "vote", 1)
    assert play.do(gone, "execute", 1) == ""
    assert play.do(gone, "execute", 1) == "AlreadyExecuted"
    play.finish(1)
    play.check()
    assert play.model.withdrawals[1].expelled
    assert play.model.status(gone) is MemberStatus.WITHDRAWN


FAULTS = {
    "weight": "WrongWeight",
    "root": "NotRevealed",
    "dropped": "UnaccountedFor",
    "withdrawn": "Withdrawn",
    "sum": "",
    "adapter": "",
    "rejected": "",
}


@pytest.mark.parametrize("fault", ["withdrawn", "sum", "adapter", "rejected"])
def test_a_round_is_final_only_with_its_exact_sum(play: Play, fault: str) -> None:
    play.do(play.boss, "open_round")
    for who in play.orgs:
        play.do(who, "commit", 1, play.delta(who), SALT)
    play.do(play.boss, "close_commits", 1)
    for who in play.orgs:
        play.do(who, "reveal", 1, play.model.rounds[1].answers[who].delta, SALT)
    play.do(play.boss, "close_reveals", 1)
    if fault == "withdrawn":
        play.do(play.orgs[0], "request_withdrawal", ModelKind.REMOVAL)
    for refused in ("weight", "root", "dropped"):
        assert play.aggregate(1, refused) == FAULTS[refused]
    assert play.aggregate(1, fault) == FAULTS[fault]
    if FAULTS[fault]:
        assert play.aggregate(1) == ""
    for given in ("WrongCarry", "WrongDigest", "TooManyDigests"):
        assert play.prove(fault=given) == given
    play.prove_all(most=2)
    play.check()
    final = fault not in ("sum", "adapter")
    assert play.model.rounds[1].state is (FINAL if final else RoundState.ABANDONED)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("zero", "ZeroDelta"), ("revealed", "ArtifactSeenBefore"), ("offered", "ArtifactSeenBefore")],
)
def test_a_worthless_delta_is_refused_when_revealed(play: Play, kind: str, reason: str) -> None:
    play.play_round()
    who, owner_ = play.orgs[:2]
    play.do(owner_, "request_subject_withdrawal", "ab" * 32, ModelKind.COUNTER_TRAINING)
    play.do(owner_, "offer", 1, 0, play.delta(owner_))
    play.do(play.boss, "open_round")
    delta = play.delta(who, kind)
    play.do(who, "commit", 2, delta, SALT)
    play.pass_time(601)
    play.do(play.boss, "close_commits", 2)
    assert play.do(who, "reveal", 2, delta, b"\x08" * 32) == "CommitmentMismatch"
    assert play.do(who, "reveal", 2, delta, SALT) == reason
    play.pass_time(301)
    play.do(play.boss, "close_reveals", 2)
    play.check()
    assert play.do(who, "top_up", 10**18) == "WrongBond"
    assert play.do(who, "top_up", 10**17) == ""
    play.check()


# Everything, in any order

BYSTANDER = ("close_commits", "close_reveals", "abandon")
ANYBODY = ("escalate", "slash", "close_withdrawal", "ready")
OWN = ("resign", "reclaim_bond", "claim_reward", "claim_compensation")
IN_WORK = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)
METHODS = [kind for kind in ModelKind if kind is not ModelKind.ROUND]
SPENDING = [1, 10**16, 10**17, 10**18]


Gate = Callable[["Consortiums"], bool]


def in_round(*states: RoundState) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Most actions would only be refused, in other states; a few such refusals are enough."""
    gate: Gate = lambda it: it.play.model.rounds[it.newest_round()].state in states  # noqa: E731
    return precondition(gate)


def with_withdrawal(
    *states: WithdrawalState,
) -> Callable[[Callable[..., None]], Callable[..., None]]:
    gate: Gate = lambda it: any(  # noqa: E731
        w.state in states for w in it.play.model.withdrawals.values()
    )
    return precondition(gate)


class Consortiums(RuleBasedStateMachine):
    """Rules that do what comes next, and rules that do anything at all."""

    who = st.integers(0, 2)
    number = st.integers(1, 3)
    back = st.integers(0, 2)

    def __init__(self, stage: Stage) -> None:
        super().__init__()
        self.play = Play(stage)
        self.steps = 0

    @initialize(rounds=st.integers(1, 2), keeps=st.booleans(), methods=st.permutations(METHODS))
    def begin(self, rounds: int, keeps: bool, methods: list[ModelKind]) -> None:
        """Rounds and two withdrawals to go on from."""
        for _ in range(rounds):
            self.play.play_round()
            if keeps:
                self.play.do(self.play.boss, "release", self.play.model.head)
        for who, method in zip(self.play.orgs, methods[:2], strict=False):
            if method is ModelKind.REMOVAL:
                self.play.do(who, "request_withdrawal", method)
            else:
                self.play.do(who, "request_subject_withdrawal", "5b" * 32, method)

    def newest_round(self) -> int:
        return len(self.play.model.rounds)

    def _newest(self, back: int, all_of: dict[int, object]) -> int:
        return max(1, len(all_of) - back)

    @precondition(lambda self: self.newest_round() < 4)
    @rule(fault=st.sampled_from(["", "", "", "sum", "rejected"]), most=st.integers(1, 4))
    def play_a_round(self, fault: str, most: int) -> None:
        self.play.play_round(fault, most=most)

    @with_withdrawal(*IN_WORK)
    @rule(back=back, most=st.integers(1, 4))
    def finish_a_withdrawal(self, back: int, most: int) -> None:
        number = self._newest(back, self.play.model.withdrawals)
        self.play.finish(number, most=most)

    @in_round(FINAL, RoundState.ABANDONED)
    @rule(stray=st.integers(0, 3))
    def open_a_round(self, stray: int) -> None:
        self.play.do(self.play.orgs[0] if stray == 3 else self.play.boss, "open_round")

    @in_round(RoundState.OPEN, RoundState.COMMITTED)
    @rule(who=who, kind=st.sampled_from(["fresh", "fresh", "zero", "revealed", "offered"]))
    def commit(self, who: int, kind: str) -> None:
        name = self.play.orgs[who]
        self.play.do(name, "commit", self.newest_round(), self.play.delta(name, kind), SALT)

    @in_round(RoundState.OPEN)
    @rule(who=who)
    def sit_out(self, who: int) -> None:
        self.play.do(self.play.orgs[who], "sit_out", self.newest_round())

    @rule(who=who, salt=st.sampled_from([SALT, SALT, b"\x08" * 32]))
    @in_round(RoundState.OPEN, RoundState.COMMITTED)
    def reveal(self, who: int, salt: bytes) -> None:
        name = self.play.orgs[who]
        answer = self.play.model.rounds[self.newest_round()].answers.get(name)
        delta = answer.delta if answer else NOTHING
        delta = self.play.delta(name) if delta is NOTHING else delta
        self.play.do(name, "reveal", self.newest_round(), delta, salt)

    @in_round(RoundState.OPEN, RoundState.COMMITTED, RoundState.REVEALED)
    @rule(who=who, action=st.sampled_from(BYSTANDER))
    def move_a_round_on(self, who: int, action: str) -> None:
        self.play.do(self.play.orgs[who], action, self.newest_round())

    @in_round(RoundState.COMMITTED, RoundState.REVEALED)
    @rule(fault=st.sampled_from(["", "", *FAULTS]), score=st.integers(0, 9_000))
    def aggregate(self, fault: str, score: int) -> None:
        self.play.aggregate(self.newest_round(), fault, score)

    @precondition(lambda self: self.play.model.claim)
    @rule(
        most=st.integers(1, 4),
        fault=st.sampled_from(["", "", "WrongCarry", "WrongDigest", "TooManyDigests"]),
    )
    def prove(self, most: int, fault: str) -> None:
        self.play.prove(most=most, fault=fault)

    @precondition(lambda self: self.play.model.claim)
    @rule(who=who)
    def drop_unproven(self, who: int) -> None:
        self.play.do(self.play.orgs[who], "drop_unproven")

    @rule(who=who, method=st.sampled_from(METHODS))
    def withdraw(self, who: int, method: ModelKind) -> None:
        self.play.do(self.play.orgs[who], "request_withdrawal", method)

    @rule(who=who, method=st.sampled_from(METHODS))
    def withdraw_for_a_subject(self, who: int, method: ModelKind) -> None:
        self.play.do(self.play.orgs[who], "request_subject_withdrawal", "5a" * 32, method)

    @with_withdrawal(*IN_WORK)
    @rule(who=who, back=back, round_id=st.integers(0, 4), kind=st.sampled_from(["fresh", "zero"]))
    def offer(self, who: int, back: int, round_id: int, kind: str) -> None:
        name, number = self.play.orgs[who], self._newest(back, self.play.model.withdrawals)
        self.play.do(name, "offer", number, round_id, self.play.delta(name, kind))

    @with_withdrawal(*IN_WORK)
    @rule(back=back)
    def prepare(self, back: int) -> None:
        self.play.prepare(self._newest(back, self.play.model.withdrawals))

    @with_withdrawal(WithdrawalState.REQUESTED)
    @rule(
        back=back,
        place=st.integers(0, 3),
        fault=st.sampled_from(["", "", "", "adapter", "quorum", "order", "stranger", "evidence"]),
    )
    def carry_out(self, back: int, place: int, fault: str) -> None:
        number = self._newest(back, self.play.model.withdrawals)
        source = ([*reversed(self.play.model.in_use()), 0, 0, 0, 0])[place]
        self.play.carry_out(number, source, fault)

    @with_withdrawal(*IN_WORK)
    @rule(who=who, back=back, action=st.sampled_from(ANYBODY))
    def move_a_withdrawal_on(self, who: int, back: int, action: str) -> None:
        number = self._newest(back, self.play.model.withdrawals)
        self.play.do(self.play.orgs[who], action, number)

    @rule(who=who, whom=who, number=number, expels=st.booleans())
    def propose(self, who: int, whom: int, number: int, expels: bool) -> None:
        if expels:
            self.play.do(self.play.orgs[who], "propose_expulsion", self.play.orgs[whom])
        else:
            self.play.do(self.play.orgs[who], "propose_fall_back", number)

    @rule(back=back)
    @precondition(lambda self: self.play.model.proposals)
    def vote_and_execute(self, back: int) -> None:
        number = self._newest(back, self.play.model.proposals)
        for who in self.play.orgs[:2]:
            self.play.do(who, "vote", number)
        self.play.do(self.play.orgs[2], "execute", number)

    @rule(who=who, action=st.sampled_from(OWN))
    @precondition(lambda self: len(self.play.model.rounds) > 2)
    def act_for_oneself(self, who: int, action: str) -> None:
        self.play.do(self.play.orgs[who], action)

    @precondition(lambda self: self.play.model.pool % 10**18)
    @rule(who=who, amount=st.sampled_from(SPENDING))
    def top_up(self, who: int, amount: int) -> None:
        self.play.do(self.play.orgs[who], "top_up", amount)

    @precondition(lambda self: not self.play.model.aggregator_bond)
    @rule(amount=st.sampled_from([0, 10**18, 10**19, 10**19]))
    def post_aggregator_bond(self, amount: int) -> None:
        self.play.do(self.play.boss, "post_aggregator_bond", amount)

    @rule(back=back, action=st.sampled_from(["release", "release", "retire"]))
    def keep_a_model(self, back: int, action: str) -> None:
        self.play.do(self.play.boss, action, max(0, len(self.play.model.models) - 1 - back))

    @rule(seconds=st.sampled_from([301, 301, 601, 3601, 90_000]))
    def pass_time(self, seconds: int) -> None:
        self.play.pass_time(seconds)

    @invariant()
    def both_say_the_same(self) -> None:
        self.steps += 1
        self.play.check(each=self.steps % 5 == 0)

    def teardown(self) -> None:
        self.play.check()
        for number in list(self.play.model.models)[1:]:
            self.play.check_model(number)


def test_the_record_says_what_the_reference_says_after_any_actions(stage: Stage) -> None:
    stage.reached.clear()
    shared = stage.it.parameters.layout == "shared"
    run_state_machine_as_test(
        seed(int(shared))(lambda: Consortiums(stage)),
        settings=settings(
            max_examples=6,
            stateful_step_count=30,
            derandomize=True,
            deadline=None,
            database=None,
            suppress_health_check=list(HealthCheck),
        ),
    )
    assert stage.reached["aggregate"] > 5
    assert stage.reached["carry_out"] > 5
    assert stage.reached["close_withdrawal"] > 3
    assert sum(stage.reached.values()) > 300
