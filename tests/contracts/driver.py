"""Actions, each done to the reference and to the chain."""

from __future__ import annotations

from collections.abc import Callable, Sequence

import numpy as np
from eth_account import Account as EthAccount

from rescind.contracts import (
    AnswerState,
    ContractRefused,
    Contribution,
    DeltaId,
    ModelKind,
    Rejection,
    RejectReason,
    RoundState,
    WithdrawalState,
)
from rescind.core import (
    ZERO_DIGEST,
    Digest,
    digest,
    owner,
    qualify,
)
from tests.contracts.agreement import Agreement
from tests.contracts.reference import (
    Part,
    Refusal,
    Tensors,
    same,
    shares,
    total,
)
from tests.contracts.stage import Stage
from tests.support.consortium import SALT

EVIDENCE = "ee" * 32
FAULTS = {
    "weight": "WrongWeight",
    "root": "NotRevealed",
    "dropped": "UnaccountedFor",
    "withdrawn": "Withdrawn",
    "sum": "",
    "adapter": "",
    "rejected": "",
}
"""What may be wrong with an aggregated round, and for which reason it is then refused, if it is."""


class Play(Agreement):
    """Actions, each done to the reference and to the chain."""

    def __init__(self, stage: Stage) -> None:
        super().__init__(stage)
        self.boss = self.model.aggregator
        self.made = 0
        self.progress: tuple[object, int, Digest] = (None, 0, ZERO_DIGEST)

    # Deltas

    def delta(self, who: str, source: str = "fresh") -> DeltaId:
        """A new one, a zero one, or one that anybody revealed or offered before, if there is."""
        offered = [delta for _, delta in self.model.offers.values()]
        known = {"revealed": sorted(self.model.revealed, key=str), "offered": offered}.get(source)
        if known:
            return known[-1]
        parameters, number = self.stage.consortium.parameters, self.orgs.index(who)
        self.made += source != "zero"
        rng = np.random.default_rng([number, self.made])
        bound = 0 if source == "zero" else 50
        tensors = {
            qualify(owner(parameters.layout, who), bare): rng.integers(
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
            actual = ""
        except ContractRefused as refusal:
            actual = refusal.reason or str(refusal)
        assert actual == expected, f"{action}: {actual or 'taken'}, not {expected or 'taken'}"
        self.stage.reached[f"{action} {actual}".strip()] += 1
        self.dirty = self.dirty or not actual
        return actual

    def pass_time(self, seconds: int) -> None:
        self.model.now += seconds
        self.stage.rpc("evm_setNextBlockTimestamp", self.model.now)
        self.stage.rpc("evm_mine")
        self.dirty = True

    def aggregate(self, number: int, fault: str = "", score: int = 5_000) -> str:
        round_ = self.model.rounds.get(number)
        revealed = round_.who(AnswerState.REVEALED) if round_ else []
        withdrawn = [who for who in revealed if not self.model.active(who)]
        kept = [who for who in revealed if who not in withdrawn or fault == "withdrawn"]
        reasons = dict.fromkeys(withdrawn, RejectReason.WITHDRAWN)
        if fault == "rejected" and kept:
            reasons[kept.pop()] = RejectReason.MALFORMED
        if fault == "dropped" and kept:
            kept.pop(0)
        rejected = [Rejection(w, reasons[w]) for w in revealed if w in reasons and w not in kept]
        share = shares(self.model.shared, kept)
        deltas = {who: round_.answers[who].delta for who in kept}
        accepted = [
            Contribution(who, share[who], score + index, d.artifact_id, d.digest_root)
            for index, (who, d) in enumerate(deltas.items())
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

    def _spoilt(self, contribution: Contribution, fault: str) -> Contribution:
        weight = contribution.weight - (fault == "weight")
        root = "12" * 32 if fault == "root" else contribution.digest_root
        return Contribution(
            contribution.organization, weight, contribution.score, contribution.artifact_id, root
        )

    def prove(self, *, most: int = 20, fault: str = "") -> str:
        claim = self.model.claim
        if claim is None or not claim.complete:
            act = self.record.claim_terms if claim else lambda: self.record.prove(b"", [], b"")
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
            digests = [ZERO_DIGEST.to_bytes()] * max(len(batch), 1)
            fault = fault if batch else "TooManyDigests"
        source = self.stage.digest_of(self.model.models[claim.source].adapter.artifact_id)
        reason = self.both(
            "prove",
            lambda: self.model.prove(self.boss, fault, last),
            lambda: self.record.prove(before, digests, source.to_bytes() if last else b""),
        )
        if not reason:
            for term in batch:
                carried = carried + term.coefficient * self.stage.digest_of(term.artifact_id)
            self.progress = (claim, sent + len(batch), carried)
        return reason

    def _check_equation(self, claim: object, terms: Sequence[object]) -> None:
        """What the chain wants to add up is the difference between both models, to the integer."""
        library = self.model.library
        change = total(
            [(library[DeltaId(t.artifact_id, t.digest_root)], t.coefficient) for t in terms]
        )
        source = self.model.exact(self.model.models[claim.source].parts)
        assert same(total([(source, 1), (change, 1)]), self.model.exact(claim.parts))

    def carry_out(self, number: int, source: int, fault: str = "") -> str:
        withdrawal = self.model.withdrawals.get(number)
        exact: dict[str, np.ndarray] = {}
        if (
            withdrawal
            and withdrawal.state is WithdrawalState.REQUESTED
            and source in self.model.models
        ):
            exact = self.model.exact(self.model.amended(source, self.model.amendment(number)))
        if fault == "adapter":
            exact = total([(exact, 1), ({"a": np.ones(1, np.int64)}, 1)])
        adapter = self.name(exact)
        auditors = self.stage.consortium.auditors
        stranger = self.stage.consortium.organizations[0]
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
        round_ = rounds.get(number)
        if round_ is None or round_.state.over:
            return
        if round_.state is RoundState.OPEN:
            for who in self.orgs:
                if who not in round_.answers and self.model.may_contribute(who):
                    self.do(who, "commit", number, self.delta(who), SALT)
            self.do(self.boss, "close_commits", number)
        if round_.state is RoundState.COMMITTED:
            for who in round_.who(AnswerState.COMMITTED):
                self.do(who, "reveal", number, round_.answers[who].delta, round_.answers[who].salt)
            if self.do(self.boss, "close_reveals", number):
                self.pass_time(301)
                self.do(self.boss, "close_reveals", number)
        if round_.state is RoundState.REVEALED:
            self.aggregate(number, fault)
        if round_.state is RoundState.AGGREGATED:
            self.prove_all(most)

    def prove_all(self, most: int = 20) -> None:
        claim = self.model.claim
        while self.model.claim is claim is not None:
            if self.prove(most=most):
                self.pass_time(301)
                self.do(self.boss, "drop_unproven")

    def prepare(self, number: int) -> None:
        """Offer what the withdrawal's method needs, and say so."""
        withdrawal = self.model.withdrawals[number]
        who = withdrawal.organization
        rounds = self.model.rounds_of(who)
        if withdrawal.method is ModelKind.COUNTER_TRAINING:
            self.do(who, "offer", number, 0, self.delta(who))
        elif withdrawal.method is ModelKind.REPLACEMENT:
            for round_id in rounds[-1:]:
                self.do(who, "offer", number, round_id, self.delta(who))
        elif withdrawal.method is ModelKind.REPLAY and rounds:
            self._offer_replay(number, rounds[0] if withdrawal.excludes else rounds[-1])
        if withdrawal.state is WithdrawalState.PREPARING:
            self.do(who, "ready", number)

    def _offer_replay(self, number: int, first: int) -> None:
        withdrawal = self.model.withdrawals[number]
        if not withdrawal.excludes:
            self.do(
                withdrawal.organization, "offer", number, first, self.delta(withdrawal.organization)
            )
        for part in self.model.models[self.model.head].parts:
            withdrawn = withdrawal.excludes and part.organization == withdrawal.organization
            if part.round_id > first and not withdrawn:
                delta = self.delta(part.organization)
                self.do(part.organization, "offer", number, part.round_id, delta)

    def finish(self, number: int, *, most: int = 20) -> None:
        """Carry a withdrawal out in all models in use, the head first, and close it."""
        withdrawal = self.model.withdrawals[number]
        if (
            withdrawal.state is not WithdrawalState.CLOSED
            and self.model.amendment_of(number) is None
        ):
            self.prepare(number)
        for source in reversed(self.model.in_use()):
            requested = withdrawal.state is WithdrawalState.REQUESTED
            due = requested and self.model.concerns(self.model.amendment(number), source)
            if due and not self.carry_out(number, source):
                self.prove_all(most)
        self.do(self.boss, "close_withdrawal", number)
