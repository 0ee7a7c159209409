"""The decision about a round: observe, ask the agent, record its answer."""

from __future__ import annotations

import time
from dataclasses import replace

from rescind.agents import SIT_OUT, Observation
from rescind.core import uses_controls
from rescind.node.engine import spent
from rescind.node.facts import Decision, RoundFacts, latest_quality
from rescind.node.session import Session
from rescind.node.withdrawal_facts import OfferedDelta

ETHER = 10**18
"""Wei in one ether."""


def decide(session: Session, round_id: int) -> None:
    """Ask the agent about a round, and record its answer before anything is done about it."""
    session.check_data()
    observation = observe(session, round_id)
    answer = session.agent.decide(observation, round_id)
    action, why = answer.action, answer.why
    # Scaffold's control variates assume that every participant trains the same number of steps.
    if action.takes_part and action.effort < 1 and uses_controls(session.parameters):
        action = replace(action, effort=1.0)
        why = f"{why}; with scaffold all train every step"
    if action.effort and not session.examples:
        action = replace(SIT_OUT, statistics=action.statistics)
        why = f"{why}; there is nothing to train on"
    decision = Decision(action, why, answer.explored, observation)
    payload = {"round": round_id, **decision.to_json()}
    session.ledger.append("decision", payload, key=f"decision/{round_id}")
    facts = RoundFacts.load(session.journal, round_id)
    replace(facts, decision=decision).save(session.journal)


def observe(session: Session, round_id: int) -> Observation:
    """Return what the node can see before a round: the chain's last round and its own costs."""
    consortium = session.consortium
    last = round_id - 1
    accepted = consortium.accepted(last) if last else []
    score, total = consortium.score(last, session.me) if last else (0, 0)
    costs, private = session.config.costs, session.parameters.training.privacy is not None
    return Observation(
        round_index=round_id,
        members=len(consortium.active_members()),
        participants_last_round=len(accepted),
        reward_share_last_round=score / total if total else 0.0,
        quality=latest_quality(session.journal),
        compute_price=costs.compute_price * costs.energy_by_hour[time.gmtime().tm_hour],
        reward_available=consortium.reward_available() / ETHER,
        privacy_spent=budget_used(session),
        private=private,
        statistics_posted=statistics_posted(session),
    )


def statistics_posted(session: Session) -> float:
    """Return the share of the node's rows whose statistics the newest model holds, 0 to 1."""
    if session.parameters.statistics is None:
        return 0.0
    head = session.consortium.latest_model_id()
    if not head:
        return 0.0
    own = {
        entry.point_hash
        for entry in session.consortium.content(head, 1)
        if entry.organization == session.me
    }
    updates = [facts.update.delta for facts in RoundFacts.all(session.journal) if facts.update]
    deltas = [*updates, *(fact.delta for fact in OfferedDelta.all(session.journal))]
    posted = [each.statistics for each in deltas if each.statistics is not None]
    return next((each.share for each in posted if each.point_hash in own), 0.0)


def budget_used(session: Session) -> float:
    """Return the share of the node's privacy budget that is spent, 0 to 1.

    It is 0 where rounds are not private, or where neither the node nor the consortium bounds
    epsilon.
    """
    agreed, privacy = session.parameters.training.privacy, spent(session)
    if agreed is None or privacy is None or not privacy.history:
        return 0.0
    budget = session.config.costs.privacy_budget or agreed.target_epsilon
    return min(1.0, privacy.epsilon / budget) if budget else 0.0


def sit_out(session: Session, round_id: int) -> None:
    """Tell the chain that the node does not take part in a round."""
    session.consortium.sit_out(round_id)


def report_unavailable(session: Session, round_id: int) -> None:
    """Tell the chain that the round's parent model cannot be had."""
    session.consortium.report_unavailable(round_id)
