"""The node's daemon: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from rescind.contracts import ChainUnavailable, ContractRefused
from rescind.core.errors import RescindError
from rescind.daemon import DaemonLoop
from rescind.node import adopting, deciding, exchange, settle, training, watch, withdrawals
from rescind.node.checks import NotCarriedOut
from rescind.node.config import NodeConfig
from rescind.node.disclosing import served
from rescind.node.look import look
from rescind.node.session import Session, open_session
from rescind.node.state import Plan, Step, plan
from rescind.wire import AggregatorUnavailable


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
        Node(session).run(stop)


class Node(DaemonLoop[Plan]):
    """An organization's daemon. Each of its steps may be repeated after a crash without harm."""

    kind = "node"
    wait = Step.WAIT
    transient = (ChainUnavailable, AggregatorUnavailable, ContractRefused)
    fatal = (NotCarriedOut,)

    def __init__(self, session: Session) -> None:
        section = session.config.node
        super().__init__(section.name, session.me, section.poll_seconds)
        self.session = session
        self._anchored = time.monotonic()
        self.steps: Mapping[Step, Callable[[Plan], object]] = {
            Step.JOIN: lambda _: session.consortium.join(),
            Step.ADOPT: lambda p: adopting.adopt(session, p.model_id),
            Step.DECIDE: lambda p: deciding.decide(session, p.round_id),
            Step.SIT_OUT: lambda p: deciding.sit_out(session, p.round_id),
            Step.TRAIN: lambda p: training.train(session, p.round_id),
            Step.COMMIT: lambda p: exchange.commit(session, p.round_id),
            Step.UPLOAD: lambda p: exchange.upload(session, p.round_id),
            Step.REVEAL: lambda p: exchange.reveal(session, p.round_id),
            Step.SETTLE: lambda p: settle.settle(session, p.round_id),
            Step.RECORD_WITHDRAWAL: lambda p: withdrawals.record(session, p.withdrawal_id),
            Step.RETRAIN: lambda p: withdrawals.retrain(session, p.withdrawal_id, p.round_id),
            Step.COUNTER_TRAIN: lambda p: withdrawals.counter_train(session, p.withdrawal_id),
            Step.OFFER: lambda p: withdrawals.offer(session, p.withdrawal_id, p.round_id),
            Step.DEPOSIT: lambda p: withdrawals.deposit(session, p.withdrawal_id, p.round_id),
            Step.READY: lambda p: withdrawals.ready(session, p.withdrawal_id),
            Step.RECORD_CLOSED: lambda p: withdrawals.record_closed(session, p.withdrawal_id),
            Step.RECLAIM: lambda _: settle.reclaim(session),
            Step.CHECK_CLAIM: lambda _: watch.check_claim(session),
            Step.ENFORCE_WITHDRAWAL: lambda p: watch.enforce_withdrawal(session, p.withdrawal_id),
            Step.ENFORCE_ROUND: lambda p: watch.enforce_round(session, p.round_id),
        }

    def next_plan(self) -> Plan:
        """Look, and return the step that the planner chooses."""
        return plan(look(self.session))

    def when_idle(self) -> None:
        """Anchor on a timer records that were written between rounds, for example by the CLI."""
        now = time.monotonic()
        if now - self._anchored < self.session.config.ledger.anchor_seconds:
            return
        self._anchored = now
        try:
            settle.anchor(self.session)
        except (RescindError, OSError) as error:
            self.complain(error)
