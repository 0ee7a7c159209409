"""The aggregator daemon: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import asdict, replace
from pathlib import Path

import structlog

from rescind.aggregator.aggregation import Aggregation
from rescind.aggregator.attestations import Attestations
from rescind.aggregator.benchmark import read_benchmark
from rescind.aggregator.config import AggregatorConfig
from rescind.aggregator.erasing import AggregatorErasing
from rescind.aggregator.facts import BondPosted, open_journal
from rescind.aggregator.fishers import Fishers
from rescind.aggregator.incidents import Incidents
from rescind.aggregator.intake import Intake
from rescind.aggregator.keeping import Keeping
from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.operator import missing_bond
from rescind.aggregator.reference import publish_reference
from rescind.aggregator.selection import check_members
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.state import Plan, Step, View, plan
from rescind.aggregator.sums import RoundSums
from rescind.aggregator.superseded import delete_superseded
from rescind.aggregator.withdrawal_facts import EvidenceFact, WithdrawalProgress
from rescind.aggregator.withdrawals import Withdrawals
from rescind.contracts import (
    Account,
    Consortium,
    RoundState,
    WithdrawalMethod,
    next_piece,
    open_transactions,
)
from rescind.core import ConsortiumParameters
from rescind.core.errors import ConfigError, RescindError
from rescind.daemon import (
    Activities,
    CertificateWatch,
    DaemonLoop,
    Journal,
    activity_status,
    certificate_claim,
    certificate_owners,
    certificate_status,
    check_certificates,
    check_file_modes,
    check_rules,
    finish_renewal,
    load_account,
    open_consortium,
    renew_certificate,
    scrub,
)
from rescind.wire import fingerprint, serve
from rescind.withdrawals import Erasure

_TIDY_SECONDS = 60.0
"""Time between two deletions of what is not needed any more."""


def run(config: AggregatorConfig, stop: threading.Event) -> None:
    """Run the aggregator until `stop` is set.

    Raises:
        RescindError: The aggregator cannot start; see `open_aggregator`.
    """
    with open_aggregator(config, stop) as aggregator:
        aggregator.run(stop)


@contextmanager
def open_aggregator(
    config: AggregatorConfig, stop: threading.Event | None = None
) -> Iterator[Aggregator]:
    """Open an aggregator that serves its members; the server stops when the context ends.

    Args:
        config: The aggregator's TOML file.
        stop: Ends the wait for a transaction when it is set.

    Raises:
        ConfigError: The configuration does not fit the consortium on chain, or the consortium's
            contributions are not those of the agreed coupling.
        DataError: The benchmark cannot be read, or has a row that is too long.
        RescindError: The chain does not answer, or the address cannot be bound.
    """
    check_file_modes(_folders(config), config.identity)
    check_certificates(config.identity.tls, serves=True)
    account = load_account(config.identity)
    path = config.aggregator.parameters
    try:
        document = path.read_bytes()
    except OSError as error:
        raise ConfigError(f"{path} cannot be read: {error.strerror}") from error
    consortium = open_consortium(
        config.chain, account, state=config.aggregator.state_dir, stop=stop or threading.Event()
    )
    consortium.tend(starting=True)
    parameters = ConsortiumParameters.parse(document)
    _check_identity(config, consortium, account, parameters)
    check_rules(consortium.settings(), parameters)
    check_members(parameters, config.aggregator.minimum_members)
    session = AggregatorSession.open(
        config, consortium, parameters, read_benchmark(config, parameters)
    )
    session.publish(document)
    publish_reference(session)
    closed = threading.Event()
    scrub(session.store, closed)
    models = Models(session)
    sums = RoundSums(session, models)
    offers = Offers(session, models, sums)
    intake = Intake(session, models, offers, sums, Fishers(session))
    section = config.aggregator
    server = serve(intake, section.listen, config.identity.tls, reflected=section.reflection)
    structlog.get_logger().info("listening", address=section.listen, port=server.port)
    try:
        yield Aggregator(session, models, offers, intake, AggregatorErasing(session))
    finally:
        closed.set()
        server.stop(grace=2)


def _folders(config: AggregatorConfig) -> list[Path]:
    """Return the local folders of the daemon's state; a store behind a URL is not one."""
    section = config.aggregator
    return [section.state_dir, *([] if "://" in section.store else [Path(section.store)])]


class Aggregator(DaemonLoop[Plan]):
    """The loop of the aggregator. Every step may be repeated after a crash without harm.

    Args:
        session: The aggregator's session.
        models: The files of models.
        offers: Deltas for withdrawals and replays.
        intake: What members upload.
        erasing: Erases what closed withdrawals took out of the models.
    """

    kind = "aggregator"
    wait = Step.WAIT

    def __init__(
        self,
        session: AggregatorSession,
        models: Models,
        offers: Offers,
        intake: Intake,
        erasing: AggregatorErasing,
    ) -> None:
        address, poll = session.consortium.aggregator(), session.config.aggregator.poll_seconds
        super().__init__("aggregator", address, poll)
        self.session, self._models = session, models
        self._intake, self._erasing = intake, erasing
        self._keeping, self._tidied = Keeping(session), 0.0
        # A daemon that was killed before this one left what it was doing behind.
        Activities(session.folder).clear()
        tls = session.config.identity.tls
        self._certificates = CertificateWatch(
            tls, lambda: renew_certificate(session.consortium, tls)
        )
        self._attestations = attestations = Attestations(session)
        self._withdrawals = withdrawals = Withdrawals(session, models, offers, attestations)
        aggregation, consortium = Aggregation(session, models), session.consortium
        self.steps: Mapping[Step, Callable[[Plan], object]] = {
            Step.OPEN: lambda _: consortium.open_round(),
            Step.CLOSE_COMMITS: lambda chosen: consortium.close_commits(chosen.round_id),
            Step.CLOSE_REVEALS: lambda chosen: consortium.close_reveals(chosen.round_id),
            Step.ABANDON: lambda chosen: consortium.abandon(chosen.round_id),
            Step.JUDGE: lambda chosen: aggregation.judge(chosen.round_id),
            Step.POST_BOND: lambda _: self.post_bond(),
            Step.SEND_PIECE: lambda _: self.send_piece(),
            Step.BUILD: lambda chosen: models.build(chosen.model_id),
            Step.PUBLISH: lambda chosen: models.publish(chosen.model_id),
            Step.ATTEST_ROUND: lambda chosen: attestations.attest_round(chosen.round_id),
            Step.START_REPLAY: lambda _: consortium.start_replay(),
            Step.ADVANCE_REPLAY: lambda _: consortium.advance_replay(),
            Step.FINISH_REPLAY: lambda chosen: consortium.finish_replay(chosen.withdrawal_id),
            Step.ESCALATE: lambda chosen: consortium.escalate(chosen.withdrawal_id),
            Step.WRITE_EVIDENCE: lambda chosen: withdrawals.write_evidence(chosen.withdrawal_id),
            Step.ATTEST: lambda chosen: withdrawals.attest(chosen.withdrawal_id),
            Step.CLOSE_WITHDRAWAL: lambda chosen: withdrawals.close(chosen.withdrawal_id),
            Step.ERASE: lambda _: erasing.erase(),
        }

    def next_plan(self) -> Plan:
        """Return the next step, from the chain and the aggregator's records."""
        return plan(self.look())

    def before_look(self) -> None:
        """Tend the transactions that are not final."""
        self.session.consortium.tend()

    def when_idle(self) -> None:
        """Look at the certificates, and once a minute delete what past rounds left behind."""
        self._certificates.look()
        now = time.monotonic()
        if now - self._tidied < _TIDY_SECONDS:
            return
        self._tidied = now
        try:
            self._intake.tidy()
            delete_superseded(self.session)
            self._keeping.delete_superseded()
        except (RescindError, OSError) as error:
            self.complain(error)

    def look(self) -> View:
        """Return what the planner decides on, from one block and the aggregator's records."""
        with self.session.consortium.chain.at_one_block():
            return self._with_round(self._look())

    def _look(self) -> View:
        session, consortium = self.session, self.session.consortium
        section, round_id = session.config.aggregator, consortium.current_round_id()
        states = [consortium.round(number).state for number in range(1, round_id + 1)]
        head = consortium.latest_model_id()
        now, stale = consortium.chain.now(), consortium.is_stale(head)
        bonded = consortium.aggregator_ready()
        may_post = section.post_bond and not BondPosted().holds(session.journal)
        over = not states or states[-1].over
        due = self._models.due()
        return View(
            now=now,
            active_members=len(consortium.active_members()),
            minimum_members=section.minimum_members if not round_id else 1,
            finalized=states.count(RoundState.FINAL),
            target=section.rounds,
            rounds_left=round_id < consortium.settings().max_rounds,
            appointed=consortium.aggregator() == self._address,
            standing=self._withdrawals.standing(now=now, round_over=over, stale=stale),
            piece_due=next_piece(consortium) is not None,
            unbuilt=due.unbuilt,
            unpublished=due.unpublished,
            awaited=bool(due.awaited),
            erasure_due=self._erasing.due(consortium.withdrawals()),
            signed_round=self._attestations.due_round(),
            bonded=bonded,
            bond_due=not bonded and may_post,
            stale=stale,
            round_id=round_id,
        )

    def _with_round(self, view: View) -> View:
        if not view.round_id:
            return view
        consortium = self.session.consortium
        current = consortium.round(view.round_id)
        parent = current.parent_model
        orphaned = consortium.settings().chained and (
            parent != consortium.latest_model_id() or consortium.is_stale(parent)
        )
        return replace(
            view,
            round_state=current.state,
            deadline=current.deadline,
            orphaned=orphaned,
            all_answered=consortium.all_answered(view.round_id),
            all_revealed=consortium.all_revealed(view.round_id),
        )

    def post_bond(self) -> None:
        """Pay the rest of the aggregator's bond, and record that it was paid."""
        consortium = self.session.consortium
        missing = missing_bond(consortium)
        if missing:
            consortium.post_aggregator_bond(missing)
        BondPosted().save(self.session.journal)

    def send_piece(self) -> None:
        """Send the next transaction that sums or folds points, unless another member was faster."""
        consortium = self.session.consortium
        with consortium.chain.at_one_block():
            piece = next_piece(consortium)
        if piece is not None:
            consortium.send(piece)


def status(config: AggregatorConfig) -> dict[str, object]:
    """Return the aggregator's state from the chain and its own records, without a running daemon."""
    consortium = open_consortium(config.chain, state=config.aggregator.state_dir)
    journal = open_journal(config.aggregator.state_dir)
    incidents = Incidents(journal)
    round_id = consortium.current_round_id()
    return {
        "round": round_id,
        "round_state": consortium.round(round_id).state.value if round_id else "none",
        "model": consortium.latest_model_id(),
        "activity": activity_status(config.aggregator.state_dir),
        "bond_wei": consortium.aggregator_bond(),
        "open_transactions": open_transactions(config.identity.keystore),
        "certificates": certificate_status(config.identity.tls),
        "removals": _progress(journal, WithdrawalMethod.REMOVAL),
        "other_withdrawals": _progress(
            journal,
            WithdrawalMethod.REPLACEMENT,
            WithdrawalMethod.REPLAY,
            WithdrawalMethod.COUNTER_TRAINING,
        ),
        "evidence": [asdict(fact) for fact in EvidenceFact.all(journal)],
        "incidents": [asdict(incident) for incident in incidents.newest()],
        "omitted_incidents": {name: asdict(each) for name, each in incidents.omitted().items()},
        "erasures": [asdict(erasure) for erasure in Erasure.all(journal)],
    }


def _progress(journal: Journal, *methods: WithdrawalMethod) -> list[dict[str, object]]:
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
    _claim_certificate(config, consortium)
    agreed = consortium.settings().parameters_id
    if parameters.id != agreed:
        raise ConfigError(
            f"{config.aggregator.parameters} has id {parameters.id}, but the chain has {agreed}: "
            "use the document that was agreed on"
        )


def _claim_certificate(config: AggregatorConfig, consortium: Consortium) -> None:
    """Register the configured certificate on chain if the aggregator has none.

    Raises:
        ConfigError: It has registered another one.
    """
    address, tls = consortium.aggregator(), config.identity.tls
    finish_renewal(consortium, tls, address)
    certificate = tls.read()[1]
    if address in certificate_owners(consortium, certificate):
        return
    registered = consortium.fingerprint(address)
    if registered and registered != fingerprint(certificate):
        raise ConfigError(
            f"the certificate {config.identity.tls_certificate} has fingerprint "
            f"{fingerprint(certificate)}, but the aggregator is registered on chain with "
            f"{registered}: configure that certificate, or register yours with rescind "
            "aggregator rotate-certificate"
        )
    consortium.set_fingerprint(*certificate_claim(consortium.deployment, address, tls))
