"""After a round: check the new model, learn, claim, record, anchor."""

from __future__ import annotations

from typing import Any

import numpy as np

from rescind.agents import Observation, Outcome
from rescind.contracts import NO_ADAPTER, MemberStatus
from rescind.core import (
    ArtifactMalformed,
    block,
    owner,
    split_owner,
)
from rescind.node.disclosing import have_cosigned
from rescind.node.engine import spent
from rescind.node.rounds import start_from
from rescind.node.session import Session
from rescind.node.updates import (
    ETHER,
    action_of,
    observe,
    own_totals,
)
from rescind.node.watch import check_adapter


def adopt(session: Session, model_id: int) -> None:
    """Download a model's adapter and check it: its id against the chain, its tensors against the
    agreed ones, and one's own block against one's own deltas."""
    adapter_id = session.consortium.model(model_id).adapter_id
    if adapter_id != NO_ADAPTER:
        if not session.store.has(adapter_id):
            data = session.client.download(adapter_id, session.parameters.max_artifact_bytes)
            session.store.put(data)
        tensors = session.store.load(adapter_id)
        _check_adapter(session, model_id, tensors)
        check_adapter(session.consortium, session.parameters, model_id, tensors)
    session.journal.set(f"model/{model_id:06d}", adapter_id)


def _check_adapter(session: Session, model_id: int, tensors: dict[str, Any]) -> None:
    shapes = session.parameters.delta_shapes()
    for name, value in tensors.items():
        bare = split_owner(name)[1]
        if shapes.get(bare) != value.shape or value.dtype != np.int64:
            raise ArtifactMalformed(f"model {model_id}: tensor {name!r} is not one agreed on")
    if session.parameters.layout == "blocks":
        who = owner("blocks", session.me)
        mine, expected = block(tensors, who), block(own_totals(session, model_id), who)
        if mine.keys() != expected.keys() or any(
            not np.array_equal(mine[name], expected[name]) for name in mine
        ):
            raise ArtifactMalformed(
                f"model {model_id}: the block of {session.me} is not the sum of its own deltas"
            )


def settle(session: Session, round_id: int) -> None:
    consortium, journal, me = session.consortium, session.journal, session.me
    fact = journal.get(f"round/{round_id:06d}/decision")
    action, before = action_of(fact), Observation(**fact["observation"])
    contributed = me in {c.organization for c in consortium.contributions(round_id)}
    paid = consortium.credited(round_id, me)
    quality = journal.get(f"round/{round_id:06d}/quality")
    if quality is None:
        quality = own_quality(session) if contributed else before.quality
        journal.set(f"round/{round_id:06d}/quality", quality)
    journal.set("quality", quality)
    costs = session.config.costs
    outcome = Outcome(
        paid_reward=paid / ETHER,
        compute_cost=before.compute_price * action.effort,
        privacy_cost=costs.privacy_price * epsilon_of(session, round_id) * action.data_fraction,
        quality_gain=costs.quality_value * (quality - before.quality),
    )
    session.agent.learn(round_id, before, action, outcome, observe(session, round_id + 1))
    session.ledger.append(
        "reward",
        {
            "round": round_id,
            "state": consortium.round(round_id).state.value,
            "contributed": contributed,
            "paid_wei": str(paid),
            "reward": outcome.reward,
            "quality": quality,
        },
        key=f"reward/{round_id}",
    )
    if consortium.pending_reward(me):
        consortium.claim_reward()
    anchor(session)
    journal.set(f"round/{round_id:06d}/settled", True)


def epsilon_of(session: Session, round_id: int) -> float:
    """What this round added to the epsilon spent; 0 where nothing is private."""
    name = f"epsilon/{round_id:06d}"
    known = session.journal.all("epsilon/")
    if name not in known:
        now = spent(session)
        total = now.epsilon if now is not None and now.history else 0.0
        before = max((it["total"] for it in known.values()), default=0.0)
        known[name] = {"total": total, "added": max(0.0, total - before)}
        session.journal.set(name, known[name])
    return float(known[name]["added"])


def own_quality(session: Session) -> float:
    """Share of one's own questions that one's own block (or the shared adapter) answers right."""
    from rescind.training import Assistant, evaluate

    parameters = session.parameters
    latest = session.consortium.latest_model_id()
    tensors = start_from(session, latest).adapter
    who = owner(parameters.layout, session.me)
    mine = {name: value for name, value in tensors.items() if split_owner(name)[0] == who}
    assistant = Assistant(session.model, parameters, mine)
    return evaluate(assistant, session.examples).score


def anchor(session: Session) -> None:
    """Put the ledger's size and root on chain, unless they are there."""
    checkpoint = session.ledger.checkpoint()
    size, root = checkpoint.size, checkpoint.root.hex()
    known = session.consortium.anchor(session.me)
    if size and (known.size, known.root) != (size, root):
        session.consortium.write_anchor(size, root)
        have_cosigned(session)
    session.ledger.write_seal()
    publish_privacy(session)


def publish_privacy(session: Session) -> None:
    """Where the consortium asks for it, put the epsilon and delta spent so far on chain."""
    privacy = session.parameters.training.privacy
    if privacy is None or not privacy.on_chain:
        return
    now = spent(session)
    if now is None or not now.history:
        return
    known = session.consortium.privacy_spent(session.me)
    if known is None or known.epsilon < now.epsilon:
        session.consortium.state_privacy(now.epsilon, now.delta)


def reclaim(session: Session) -> None:
    consortium, me = session.consortium, session.me
    if consortium.pending_reward(me):
        consortium.claim_reward()
    if consortium.compensation(me):
        consortium.claim_compensation()
    member = consortium.member(me)
    over = member.status in (MemberStatus.WITHDRAWN, MemberStatus.LEFT)
    if over and member.bond and consortium.chain.now() >= member.exit_at:
        consortium.reclaim_bond()
