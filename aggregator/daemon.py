"""The aggregator: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import structlog

from rescind.aggregator.checks import Verdict, judge
from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.fishers import Fishers
from rescind.aggregator.intake import Intake
from rescind.aggregator.offers import Offers
from rescind.aggregator.proof import Digests, prove
from rescind.aggregator.scoring import Scorer, make_scorer
from rescind.aggregator.selection import check_members, select
from rescind.aggregator.state import (
    ClaimState,
    Plan,
    Step,
    View,
    plan,
)
from rescind.aggregator.sums import RoundSums
from rescind.aggregator.withdrawals import Withdrawals
from rescind.contracts import (
    Account,
    AnswerState,
    Claim,
    Consortium,
    Contribution,
    DeltaId,
    MemberStatus,
    Rejection,
    RejectReason,
    RoundState,
)
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Term,
    adapter_totals,
    decode,
    encode,
    weights,
)
from rescind.core.errors import ConfigError
from rescind.core.round_sums import served_of
from rescind.daemon import DaemonLoop, Journal, load_account, open_consortium
from rescind.wire import fingerprint, serve


def run(config: AggregatorConfig, stop: threading.Event) -> None:
    """Until `stop` is set. Raises RescindError for what is wrong at the start."""
    with open_aggregator(config) as aggregator:
        aggregator.run(stop)


@contextmanager
def open_aggregator(config: AggregatorConfig) -> Iterator[Aggregator]:
    account = load_account(config.identity)
    try:
        document = config.aggregator.parameters.read_bytes()
    except OSError as error:
        raise ConfigError(f"{error.filename} cannot be read: {error.strerror}") from error
    consortium = open_consortium(config.chain, account)
    parameters = ConsortiumParameters.parse(document)
    _check_identity(config, consortium, account, parameters)
    check_members(parameters, config.aggregator.minimum_members)
    journal = Journal(config.aggregator.state_dir / "aggregator.db")
    store = ArtifactStore(config.aggregator.store)
    journal.set(f"published/{store.put(document)}", True)
    chunks = ArtifactStore(config.aggregator.state_dir / "chunks")
    digests = Digests(store, journal)
    offers = Offers(consortium, journal, store, digests, parameters)
    sums = RoundSums(consortium, parameters, journal, store)
    fishers = Fishers(consortium, parameters, journal, store)
    limit = parameters.max_artifact_bytes
    intake = Intake(consortium, journal, store, chunks, digests, offers, sums, fishers, limit)
    state = config.aggregator.state_dir
    withdrawals = Withdrawals(consortium, parameters, journal, store, digests, offers, state)
    server, port = serve(intake, config.aggregator.listen, config.identity.tls)
    structlog.get_logger().info("listening", address=config.aggregator.listen, port=port)
    try:
        yield Aggregator(
            config, consortium, parameters, journal, store, digests, intake, withdrawals
        )
    finally:
        server.stop(grace=2).wait()


class Aggregator(DaemonLoop[Plan]):
    """`steps` are what it can do; each may be repeated after a crash without harm."""

    kind = "aggregator"
    wait = Step.WAIT

    def __init__(
        self,
        config: AggregatorConfig,
        consortium: Consortium,
        parameters: ConsortiumParameters,
        journal: Journal,
        store: ArtifactStore,
        digests: Digests,
        intake: Intake,
        withdrawals: Withdrawals,
    ) -> None:
        super().__init__("aggregator", consortium.aggregator(), config.aggregator.poll_seconds)
        self.config, self.consortium, self.parameters = config, consortium, parameters
        self.journal, self.store = journal, store
        self.digests, self.intake, self.withdrawals = digests, intake, withdrawals
        self._scorer: Scorer | None = None
        self.steps: Mapping[Step, Callable[[Plan], object]] = {
            Step.OPEN: lambda _: consortium.open_round(),
            Step.CLOSE_COMMITS: lambda it: consortium.close_commits(it.round_id),
            Step.CLOSE_REVEALS: lambda it: consortium.close_reveals(it.round_id),
            Step.ABANDON: lambda it: consortium.abandon(it.round_id),
            Step.AGGREGATE: lambda it: self.aggregate(it.round_id),
            Step.POST_BOND: lambda _: self.post_bond(),
            Step.PROVE: lambda _: self.prove(),
            Step.SETTLE: lambda _: consortium.settle(),
            Step.WRITE_EVIDENCE: lambda it: withdrawals.write_evidence(it.withdrawal_id),
            Step.CARRY_OUT: lambda it: withdrawals.carry_out(it.withdrawal_id),
            Step.CLOSE_WITHDRAWAL: lambda it: withdrawals.close(it.withdrawal_id),
        }

    def next_plan(self) -> Plan:
        return plan(self.look())

    def look(self) -> View:
        consortium, section = self.consortium, self.config.aggregator
        round_id = consortium.current_round_id()
        states = [consortium.round(n).state for n in range(1, round_id + 1)]
        active = [m for m in consortium.members() if m.status is MemberStatus.ACTIVE]
        now, claim = consortium.chain.now(), consortium.claim()
        over = not states or states[-1].over
        standing = self.withdrawals.standing(claim, round_over=over)
        bonded = consortium.aggregator_bond() >= consortium.required_aggregator_bond()
        common = {
            "now": now,
            "active_members": len(active),
            "minimum_members": section.minimum_members if not round_id else 1,
            "finalized": states.count(RoundState.FINAL),
            "target": min(section.rounds, consortium.max_rounds()),
            "requested": standing.ready,
            "unwritten": standing.unwritten,
            "carried_out": standing.done,
            "holds": standing.holds,
            "claim": claim_state(claim, now),
            "bonded": bonded,
            "bond_due": not bonded and section.post_bond and not self.journal.get("bonded", False),
        }
        if not round_id:
            return View(**common)  # type: ignore[arg-type]
        current = consortium.round(round_id)
        return View(
            **common,  # type: ignore[arg-type]
            round_id=round_id,
            round_state=current.state,
            commit_deadline=current.commit_deadline,
            reveal_deadline=current.reveal_deadline,
            finalize_deadline=current.finalize_deadline,
            all_answered=consortium.all_answered(round_id),
            all_revealed=consortium.all_revealed(round_id),
        )

    def post_bond(self) -> None:
        lacking = self.consortium.required_aggregator_bond() - self.consortium.aggregator_bond()
        self.consortium.post_aggregator_bond(lacking)
        self.journal.set("bonded", True)

    def aggregate(self, round_id: int) -> None:
        """Check every revealed update, sum in integers, publish, and name the sum on chain."""
        verdicts = self._verdicts(round_id)
        accepted = sorted(
            (who for who, v in verdicts.items() if v.delta is not None), key=str.lower
        )
        share = weights(self.parameters.layout, accepted)
        answers = self.consortium.answers(round_id)
        latest = self.consortium.latest_model_id()
        parent = served_of(self.parameters, self.consortium.content(latest), self._load)
        scores = self._scores({who: verdicts[who].delta or {} for who in accepted}, parent)
        contributions = [
            Contribution(
                who,
                share[who],
                scores[who],
                answers[who].artifact_id,
                answers[who].digest_root,
            )
            for who in accepted
        ]
        terms = [Term(round_id, c.organization, c.artifact_id, c.weight) for c in contributions]
        aggregate = self._publish(encode(adapter_totals(terms, self._load)))
        content = [*self.consortium.content(latest), *terms]
        adapter = self._publish(encode(adapter_totals(content, self._load)))
        rejections = [
            Rejection(who, verdict.reason)
            for who, verdict in sorted(verdicts.items(), key=lambda item: item[0].lower())
            if verdict.reason is not None
        ]
        self.consortium.aggregate(
            round_id, contributions, rejections, self._named(aggregate), self._named(adapter)
        )

    def prove(self) -> None:
        claim = self.consortium.claim()
        if claim is not None:
            prove(self.consortium, claim, self.digests)

    def _verdicts(self, round_id: int) -> dict[str, Verdict]:
        verdicts = {}
        for who, answer in self.consortium.answers(round_id).items():
            if answer.state is not AnswerState.REVEALED:
                continue
            key = f"submission/{round_id:06d}/{who}/{answer.artifact_id}"
            verdict = judge(
                who,
                answer.artifact_id,
                self.store,
                self.digests,
                self.parameters,
                submitted=bool(self.journal.get(key, False)),
                digest_root=answer.digest_root,
                round_id=round_id,
            )
            if self.consortium.member(who).status is not MemberStatus.ACTIVE:
                verdict = Verdict(reason=RejectReason.WITHDRAWN, what="asked to be removed")
            verdicts[who] = verdict
        verdicts = select(self.parameters, verdicts)
        for who, verdict in verdicts.items():
            if verdict.reason is not None:
                self.intake.incident(who, verdict.reason.name.lower(), verdict.what)
                self._log.warning(
                    "update rejected", round=round_id, organization=who, reason=verdict.what
                )
        return verdicts

    def _scores(
        self, deltas: Mapping[str, Mapping[str, Any]], parent: Mapping[str, Any]
    ) -> dict[str, int]:
        if self._scorer is None:
            self._scorer = make_scorer(self.config, self.parameters)
        return self._scorer.score(deltas, parent)

    def _load(self, artifact_id: str) -> Any:
        return decode(self.store.get(artifact_id))

    def _named(self, artifact_id: str) -> DeltaId:
        return DeltaId(artifact_id, self.digests.of(artifact_id).root)

    def _publish(self, data: bytes) -> str:
        artifact = self.store.put(data)
        self.journal.set(f"published/{artifact}", True)
        return artifact


def claim_state(claim: Claim | None, now: int) -> ClaimState:
    if claim is None:
        return ClaimState.NONE
    if claim.must_prove:
        return ClaimState.UNPROVEN
    return ClaimState.UNCHALLENGED if now > claim.deadline else ClaimState.IN_WINDOW


def post_bond(config: AggregatorConfig) -> dict[str, object]:
    """Pay what the aggregator's bond lacks, after it was slashed say. Raises ContractRefused."""
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account)
    lacking = consortium.required_aggregator_bond() - consortium.aggregator_bond()
    transaction = consortium.post_aggregator_bond(lacking).tx_hash if lacking > 0 else None
    return {"paid_wei": max(0, lacking), "transaction": transaction}


def status(config: AggregatorConfig) -> dict[str, object]:
    """What the chain and the aggregator's own records say, without a running daemon."""
    consortium = open_consortium(config.chain)
    journal = Journal(config.aggregator.state_dir / "aggregator.db")
    round_id = consortium.current_round_id()
    return {
        "round": round_id,
        "round_state": consortium.round(round_id).state.value if round_id else "none",
        "model": consortium.latest_model_id(),
        "bond_wei": consortium.aggregator_bond(),
        "removals": list(journal.all("removal/").values()),
        "other_withdrawals": [
            fact
            for method in ("replacement", "replay", "counter-training")
            for fact in journal.all(f"{method}/").values()
        ],
        "evidence": list(journal.all("evidence/").values()),
        "incidents": list(journal.all("incident/").values()),
    }


def _check_identity(
    config: AggregatorConfig,
    consortium: Consortium,
    account: Account,
    parameters: ConsortiumParameters,
) -> None:
    if account.address != consortium.aggregator():
        raise ConfigError(
            f"{config.identity.keystore} is the key of {account.address}, the consortium's "
            f"aggregator is {consortium.aggregator()}"
        )
    mine, known = fingerprint(config.identity.tls.read()[1]), consortium.aggregator_fingerprint()
    if mine != known:
        raise ConfigError(
            f"the certificate {config.identity.tls_certificate} has fingerprint {mine}, the chain "
            f"has {known} for the aggregator"
        )
    if parameters.id != consortium.parameters_id():
        raise ConfigError(
            f"{config.aggregator.parameters} has id {parameters.id}, the chain has "
            f"{consortium.parameters_id()}: use the document that was agreed on"
        )
