"""The aggregator daemon: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace

import structlog

from rescind.aggregator.aggregation import Aggregation
from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.facts import (
    BondPosted,
    EvidenceFact,
    Incident,
    WithdrawalProgress,
    open_journal,
)
from rescind.aggregator.fishers import Fishers
from rescind.aggregator.intake import Intake
from rescind.aggregator.offers import Offers
from rescind.aggregator.proof import prove
from rescind.aggregator.selection import check_members
from rescind.aggregator.session import AggregatorSession
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
    Claim,
    Consortium,
    MemberStatus,
    ModelKind,
    RoundState,
)
from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError
from rescind.daemon import DaemonLoop, Journal, load_account, open_consortium
from rescind.wire import fingerprint, serve


def run(config: AggregatorConfig, stop: threading.Event) -> None:
    """Run the aggregator until `stop` is set.

    Raises:
        RescindError: The aggregator cannot start; see `open_aggregator`.
    """
    with open_aggregator(config) as aggregator:
        aggregator.run(stop)


@contextmanager
def open_aggregator(config: AggregatorConfig) -> Iterator[Aggregator]:
    """Open an aggregator that serves its members; the server stops when the context ends.

    Raises:
        ConfigError: The configuration does not fit the consortium on chain.
        RescindError: The chain does not answer, or the address cannot be bound.
    """
    account = load_account(config.identity)
    path = config.aggregator.parameters
    try:
        document = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    consortium = open_consortium(config.chain, account)
    parameters = ConsortiumParameters.parse(document)
    _check_identity(config, consortium, account, parameters)
    check_members(parameters, config.aggregator.minimum_members)
    session = AggregatorSession.open(config, consortium, parameters)
    session.publish(document)
    sums = RoundSums(session)
    offers = Offers(session, sums)
    intake = Intake(session, offers, sums, Fishers(session))
    server, port = serve(intake, config.aggregator.listen, config.identity.tls)
    structlog.get_logger().info("listening", address=config.aggregator.listen, port=port)
    try:
        yield Aggregator(session, Withdrawals(session, offers))
    finally:
        server.stop(grace=2).wait()


class Aggregator(DaemonLoop[Plan]):
    """The loop of the aggregator. Every step may be repeated after a crash without harm.

    Args:
        session: The aggregator's session.
        withdrawals: The open withdrawals.
    """

    kind = "aggregator"
    wait = Step.WAIT

    def __init__(self, session: AggregatorSession, withdrawals: Withdrawals) -> None:
        address, poll = session.consortium.aggregator(), session.config.aggregator.poll_seconds
        super().__init__("aggregator", address, poll)
        self.session = session
        self._withdrawals, self._aggregation = withdrawals, Aggregation(session)
        consortium = session.consortium
        self.steps: Mapping[Step, Callable[[Plan], object]] = {
            Step.OPEN: lambda _: consortium.open_round(),
            Step.CLOSE_COMMITS: lambda chosen: consortium.close_commits(chosen.round_id),
            Step.CLOSE_REVEALS: lambda chosen: consortium.close_reveals(chosen.round_id),
            Step.ABANDON: lambda chosen: consortium.abandon(chosen.round_id),
            Step.AGGREGATE: lambda chosen: self._aggregation.aggregate(chosen.round_id),
            Step.POST_BOND: lambda _: self.post_bond(),
            Step.PROVE: lambda _: self.prove(),
            Step.SETTLE: lambda _: consortium.settle(),
            Step.WRITE_EVIDENCE: lambda chosen: withdrawals.write_evidence(chosen.withdrawal_id),
            Step.CARRY_OUT: lambda chosen: withdrawals.carry_out(chosen.withdrawal_id),
            Step.CLOSE_WITHDRAWAL: lambda chosen: withdrawals.close(chosen.withdrawal_id),
        }

    def next_plan(self) -> Plan:
        """Return the next step, from the chain and the aggregator's records."""
        return plan(self.look())

    def look(self) -> View:
        """Return what the planner decides on, from the chain and the aggregator's records."""
        session, consortium = self.session, self.session.consortium
        section = session.config.aggregator
        round_id = consortium.current_round_id()
        states = [consortium.round(n).state for n in range(1, round_id + 1)]
        active = [m for m in consortium.members() if m.status is MemberStatus.ACTIVE]
        now, claim = consortium.chain.now(), consortium.claim()
        over = not states or states[-1].over
        standing = self._withdrawals.standing(claim, round_over=over)
        bonded = consortium.aggregator_bond() >= consortium.required_aggregator_bond()
        may_post = section.post_bond and not BondPosted().holds(session.journal)
        view = View(
            now=now,
            active_members=len(active),
            minimum_members=section.minimum_members if not round_id else 1,
            finalized=states.count(RoundState.FINAL),
            target=min(section.rounds, consortium.max_rounds()),
            requested=standing.ready,
            unwritten=standing.unwritten,
            carried_out=standing.done,
            holds=standing.holds,
            claim=claim_state(claim, now),
            bonded=bonded,
            bond_due=not bonded and may_post,
        )
        if not round_id:
            return view
        current = consortium.round(round_id)
        return replace(
            view,
            round_id=round_id,
            round_state=current.state,
            commit_deadline=current.commit_deadline,
            reveal_deadline=current.reveal_deadline,
            finalize_deadline=current.finalize_deadline,
            all_answered=consortium.all_answered(round_id),
            all_revealed=consortium.all_revealed(round_id),
        )

    def post_bond(self) -> None:
        """Pay the rest of the aggregator's bond, and record that it was paid."""
        consortium = self.session.consortium
        missing = consortium.required_aggregator_bond() - consortium.aggregator_bond()
        consortium.post_aggregator_bond(missing)
        BondPosted().save(self.session.journal)

    def prove(self) -> None:
        """Send the next transaction of the open claim's proof."""
        claim = self.session.consortium.claim()
        if claim is not None:
            prove(self.session.consortium, claim, self.session.digests)


def claim_state(claim: Claim | None, now: int) -> ClaimState:
    """Return the state of the open claim at a time in Unix seconds, by the chain's clock."""
    if claim is None:
        return ClaimState.NONE
    if claim.must_prove:
        return ClaimState.UNPROVEN
    return ClaimState.UNCHALLENGED if now > claim.deadline else ClaimState.IN_WINDOW


def post_bond(config: AggregatorConfig) -> dict[str, object]:
    """Pay the rest of the aggregator's bond, for example after it was slashed.

    Returns:
        "paid_wei", and "transaction": its hash, or None if the bond was complete.

    Raises:
        ContractRefused: The configured key is not that of the consortium's aggregator.
    """
    account = load_account(config.identity)
    consortium = open_consortium(config.chain, account)
    missing = consortium.required_aggregator_bond() - consortium.aggregator_bond()
    transaction = consortium.post_aggregator_bond(missing).tx_hash if missing > 0 else None
    return {"paid_wei": max(0, missing), "transaction": transaction}


def status(config: AggregatorConfig) -> dict[str, object]:
    """Return the aggregator's state from the chain and its own records, without a running daemon."""
    consortium = open_consortium(config.chain)
    journal = open_journal(config.aggregator.state_dir)
    round_id = consortium.current_round_id()
    return {
        "round": round_id,
        "round_state": consortium.round(round_id).state.value if round_id else "none",
        "model": consortium.latest_model_id(),
        "bond_wei": consortium.aggregator_bond(),
        "removals": _progress(journal, ModelKind.REMOVAL),
        "other_withdrawals": _progress(
            journal, ModelKind.REPLACEMENT, ModelKind.REPLAY, ModelKind.COUNTER_TRAINING
        ),
        "evidence": [asdict(fact) for fact in EvidenceFact.all(journal)],
        "incidents": [asdict(incident) for incident in Incident.all(journal)],
    }


def _progress(journal: Journal, *methods: ModelKind) -> list[dict[str, object]]:
    return [
        progress.to_json()
        for method in methods
        for progress in WithdrawalProgress.all(journal, method)
    ]


def _check_identity(
    config: AggregatorConfig,
    consortium: Consortium,
    account: Account,
    parameters: ConsortiumParameters,
) -> None:
    if account.address != consortium.aggregator():
        raise ConfigError(
            f"{config.identity.keystore} holds the key of {account.address}, but the consortium's "
            f"aggregator is {consortium.aggregator()}: configure the aggregator's keystore"
        )
    presented = fingerprint(config.identity.tls.read()[1])
    registered = consortium.aggregator_fingerprint()
    if presented != registered:
        raise ConfigError(
            f"the certificate {config.identity.tls_certificate} has fingerprint {presented}, but "
            f"the aggregator is registered on chain with {registered}: configure that certificate"
        )
    if parameters.id != consortium.parameters_id():
        raise ConfigError(
            f"{config.aggregator.parameters} has id {parameters.id}, but the chain has "
            f"{consortium.parameters_id()}: use the document that was agreed on"
        )
