"""The node: look, plan, perform one step, look again."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Mapping

import structlog

from rescind.contracts import (
    ChainUnavailable,
    ContractRefused,
    Member,
    MemberStatus,
    RoundState,
)
from rescind.core.errors import RescindError
from rescind.daemon import DaemonLoop, Journal, load_account, open_consortium
from rescind.node import (
    settle,
    tasks,
    updates,
    watch,
    withdrawals,
)
from rescind.node.config import NodeConfig
from rescind.node.disclosing import served
from rescind.node.session import (
    NotCarriedOut,
    Session,
    open_session,
)
from rescind.node.state import (
    Plan,
    Step,
    View,
    plan,
)
from rescind.wire import AggregatorUnavailable


def run(config: NodeConfig, stop: threading.Event) -> None:
    """Until `stop` is set. Raises RescindError for what is wrong at the start."""
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
            Step.ADOPT: lambda it: settle.adopt(session, it.model_id),
            Step.DECIDE: lambda it: updates.decide(session, it.round_id),
            Step.SIT_OUT: lambda it: updates.sit_out(session, it.round_id),
            Step.TRAIN: lambda it: updates.train(session, it.round_id),
            Step.COMMIT: lambda it: updates.commit(session, it.round_id),
            Step.UPLOAD: lambda it: updates.upload(session, it.round_id),
            Step.REVEAL: lambda it: updates.reveal(session, it.round_id),
            Step.SETTLE: lambda it: settle.settle(session, it.round_id),
            Step.RECORD_WITHDRAWAL: lambda it: withdrawals.record(session, it.withdrawal_id),
            Step.RETRAIN: lambda it: withdrawals.retrain(session, it.withdrawal_id, it.round_id),
            Step.COUNTER_TRAIN: lambda it: withdrawals.counter_train(session, it.withdrawal_id),
            Step.OFFER: lambda it: withdrawals.offer(session, it.withdrawal_id, it.round_id),
            Step.DEPOSIT: lambda it: withdrawals.deposit(session, it.withdrawal_id, it.round_id),
            Step.READY: lambda it: withdrawals.ready(session, it.withdrawal_id),
            Step.RECORD_CLOSED: lambda it: withdrawals.record_closed(session, it.withdrawal_id),
            Step.RECLAIM: lambda _: settle.reclaim(session),
            Step.CHECK_CLAIM: lambda _: watch.check_claim(session),
            Step.ENFORCE_WITHDRAWAL: lambda it: watch.enforce_withdrawal(session, it.withdrawal_id),
            Step.ENFORCE_ROUND: lambda it: watch.enforce_round(session, it.round_id),
        }

    def next_plan(self) -> Plan:
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


def look(session: Session) -> View:
    consortium, journal = session.consortium, session.journal
    member = consortium.member(session.me)
    round_id = consortium.current_round_id()
    held = {0} | {int(key.rsplit("/", 1)[1]) for key in journal.all("model/")}
    now, claim = consortium.chain.now(), consortium.claim()
    withdrawn = consortium.withdrawals()
    contestable = claim is not None and not claim.must_prove and now <= claim.deadline
    view = View(
        status=member.status,
        reclaimable=_reclaimable(session, member, now),
        now=now,
        overdue=watch.overdue_withdrawal(consortium, withdrawn, now),
        unchecked_claim=contestable and journal.get(watch.claim_key(claim)) is None,  # type: ignore[arg-type]
        latest_model=consortium.latest_model_id(),
        held=frozenset(held),
        task=tasks.next_task(session, withdrawn),
        holds_out=tasks.holds_out(session, withdrawn),
    )
    if not round_id:
        return view
    current = consortium.round(round_id)
    facts = journal.all(f"round/{round_id:06d}/")
    fact = facts.get(f"round/{round_id:06d}/decision")
    return View(
        **{
            **view.__dict__,
            "round_id": round_id,
            "round_state": current.state,
            "parent_model": current.parent_model,
            "commit_deadline": current.commit_deadline,
            "reveal_deadline": current.reveal_deadline,
            "late": watch.is_late(current, claim, now),
            "answer": consortium.answer(round_id, session.me).state,
            "decided": fact is not None,
            "takes_part": updates.action_of(fact).takes_part,
            "trained": f"round/{round_id:06d}/update" in facts,
            "submitted": f"round/{round_id:06d}/submitted" in facts,
            "unsettled": _unsettled(session, round_id, current.state),
            # Asked last: whoever sees a round final sees its model too, and adopts it before settling.
            "latest_model": consortium.latest_model_id(),
        }
    )


def _reclaimable(session: Session, member: Member, now: int) -> bool:
    gone = member.status in (MemberStatus.WITHDRAWN, MemberStatus.LEFT)
    bond = bool(member.bond) and gone and now >= member.exit_at
    owed = session.consortium.compensation(session.me)
    return bond or bool(owed) or (gone and bool(session.consortium.pending_reward(session.me)))


def _unsettled(session: Session, current: int, state: RoundState) -> int:
    """The earliest round that is over, was decided on, and is not settled; 0 for none."""
    facts = session.journal.all("round/")
    decided = sorted(int(k.split("/")[1]) for k in facts if k.endswith("/decision"))
    for round_id in decided:
        over = round_id < current or (round_id == current and state.over)
        if over and f"round/{round_id:06d}/settled" not in facts:
            return round_id
    return 0


def status(config: NodeConfig) -> dict[str, object]:
    """What the chain and the node's own records say, without a running daemon."""
    account = load_account(config.identity)
    consortium = open_consortium(config.chain)
    member = consortium.member(account.address)
    journal = Journal(config.node.state_dir / "node.db")
    anchored = consortium.anchor(account.address)
    decisions = {
        int(key.split("/")[1]): {
            "effort": fact["effort"],
            "data_fraction": fact["data_fraction"],
            "why": fact["why"],
        }
        for key, fact in journal.all("round/").items()
        if key.endswith("/decision")
    }
    return {
        "name": config.node.name,
        "address": account.address,
        "status": member.status.value,
        "bond_wei": member.bond,
        "pending_reward_wei": consortium.pending_reward(account.address),
        "round": consortium.current_round_id(),
        "model": consortium.latest_model_id(),
        "quality": journal.get("quality", 0.0),
        "decisions": decisions,
        "anchored_size": anchored.size,
        "withdrawals": [
            f"{w.id}: {w.method.value}, {w.state.value}"
            for w in consortium.withdrawals()
            if w.organization == account.address
        ],
    }
