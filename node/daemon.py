"""The node's daemon: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from rescind.contracts import ChainUnavailable, ContractRefused
from rescind.core.errors import RescindError
from rescind.daemon import (
    CertificateWatch,
    DaemonLoop,
    RulesNotServed,
    certificate_claim,
    renew_certificate,
    scrub,
)
from rescind.node import (
    adopting,
    counter_training,
    deciding,
    exchange,
    keeping,
    retraining,
    settle,
    training,
    watch,
    withdrawals,
)
from rescind.node.checks import NotCarriedOut
from rescind.node.config import NodeConfig
from rescind.node.data_checks import DataUnfit
from rescind.node.disclosing import served
from rescind.node.erasing import NodeErasing
from rescind.node.look import look
from rescind.node.meanwhile import Meanwhile, TrainingOvertaken
from rescind.node.session import Session, open_session
from rescind.node.state import Plan, Step, plan, transfer_seconds
from rescind.wire import AggregatorUnavailable, TransferGivenUp

UPKEEP_SECONDS = 60.0
"""Time between two questions to the aggregator about contributions that it misses, and between two
deletions of contributions that are in no model in use any more."""


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Run a node until `stop` is set.

    Args:
        config: The node's TOML file.
        stop: Ends the daemon after the current step; a long step ends at once.

    Raises:
        RescindError: The configuration, membership, ledger or journal is not usable.
    """
    with open_session(config, stop) as session, served(session) as port:
        if port is not None:
            structlog.get_logger().info("ledger served", port=port)
        scrub(session.store, stop)
        Node(session).run(stop)


class Node(DaemonLoop[Plan]):
    """An organization's daemon. Each of its steps may be repeated after a crash without harm."""

    kind = "node"
    wait = Step.WAIT
    transient = (
        ChainUnavailable,
        AggregatorUnavailable,
        ContractRefused,
        TransferGivenUp,
        TrainingOvertaken,
    )
    fatal = (DataUnfit, NotCarriedOut, RulesNotServed)

    def __init__(self, session: Session) -> None:
        section = session.config.node
        super().__init__(section.name, session.me, section.poll_seconds)
        self.session = session
        self._anchored = time.monotonic()
        self._kept_up = 0.0
        self._aggregator = ""
        tls = session.config.identity.tls
        self._certificates = CertificateWatch(
            tls, lambda: renew_certificate(session.consortium, tls)
        )
        self._erasing = NodeErasing(session)
        # A daemon that was killed before this one left what it was doing behind.
        session.activities.clear()
        self.steps: Mapping[Step, Callable[[Plan], object]] = {
            Step.JOIN: lambda _: self._join(),
            Step.ADOPT: lambda p: adopting.try_to_adopt(session, p.model_id),
            Step.DECIDE: lambda p: deciding.decide(session, p.round_id),
            Step.SIT_OUT: lambda p: deciding.sit_out(session, p.round_id),
            Step.REPORT_UNAVAILABLE: lambda p: deciding.report_unavailable(session, p.round_id),
            Step.TRAIN: lambda p: training.train(session, p.round_id),
            Step.COMMIT: lambda p: exchange.commit(session, p.round_id),
            Step.UPLOAD: lambda p: exchange.upload(session, p.round_id),
            Step.REVEAL: lambda p: exchange.reveal(session, p.round_id),
            Step.SETTLE: lambda p: settle.settle(session, p.round_id),
            Step.RECORD_WITHDRAWAL: lambda p: withdrawals.record(session, p.offer_id),
            Step.RETRAIN: self._retrain,
            Step.COUNTER_TRAIN: self._counter_train,
            Step.OFFER: lambda p: withdrawals.offer(session, p.offer_id, p.round_id),
            Step.DEPOSIT: lambda p: withdrawals.deposit(session, p.offer_id, p.round_id),
            Step.READY: lambda p: withdrawals.ready(session, p.offer_id),
            Step.RECORD_CLOSED: lambda p: withdrawals.record_closed(session, p.offer_id),
            Step.CLAIM_REPLAY: lambda p: withdrawals.claim_replay(session, p.offer_id),
            Step.RECLAIM: lambda _: settle.reclaim(session),
            Step.ERASE: lambda _: self._erasing.erase(),
            Step.MOVE_ON: lambda p: self._move_on(p),
        }
        self._meanwhile = Meanwhile(session, self.steps)

    def next_plan(self) -> Plan:
        """Look, and return the step that the planner chooses."""
        session, aggregator = self.session, self.session.consortium.aggregator()
        if aggregator != self._aggregator:
            # The members have chosen another: the next call checks whom it reaches.
            session.client.close()
            self._aggregator = aggregator
        view = look(session, self._erasing)
        seconds = transfer_seconds(view)
        session.client.until = None if seconds is None else time.monotonic() + seconds
        return plan(view)

    def before_look(self) -> None:
        """Tend the transactions that are not final."""
        self.session.consortium.tend()

    def when_idle(self) -> None:
        """Do what no step waits for.

        Anchor records written between rounds, take rewards of rounds that were attested late, give
        the aggregator what it misses, delete contributions that no model in use holds, and look at
        the certificates.
        """
        self._certificates.look()
        now = time.monotonic()
        if now - self._anchored >= self.session.config.ledger.anchor_seconds:
            self._anchored = now
            self._try(settle.anchor)
            self._try(settle.claim_rewards)
        if now - self._kept_up >= UPKEEP_SECONDS:
            self._kept_up = now
            self._try(exchange.hand_over)
            self._try(keeping.delete_unused)
            self._try(keeping.delete_superseded)

    def _try(self, work: Callable[[Session], object]) -> None:
        try:
            work(self.session)
        except (RescindError, OSError) as error:
            self.complain(error)

    def _retrain(self, chosen: Plan) -> None:
        with self._meanwhile.during_training():
            retraining.retrain(self.session, chosen.offer_id, chosen.round_id)

    def _counter_train(self, chosen: Plan) -> None:
        with self._meanwhile.during_training():
            counter_training.counter_train(self.session, chosen.offer_id)

    def _join(self) -> None:
        session = self.session
        # The aggregator gives the agreed parameters to members only, and the data is checked
        # against them before the first decision.
        deployment, tls = session.consortium.deployment, session.config.identity.tls
        session.consortium.join(*certificate_claim(deployment, session.me, tls))

    def _move_on(self, chosen: Plan) -> None:
        assert chosen.move is not None
        watch.make_move(self.session, chosen.move, chosen.number)
