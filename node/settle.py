"""The settlement of a round: evaluate the new model, learn, claim the reward, record, anchor."""

from __future__ import annotations

from dataclasses import replace

from rescind.agents import Outcome
from rescind.agents.chain_terms import ETHER_IN_GWEI, gas_of
from rescind.contracts import MemberStatus
from rescind.core import SHARED, owner, split_owner
from rescind.node.deciding import ETHER, observe
from rescind.node.disclosing import have_cosigned
from rescind.node.engine import spent
from rescind.node.facts import Epsilon, RoundFacts
from rescind.node.rounds import start_from
from rescind.node.session import Session

QUALITY_ROWS = 512
"""The most questions by which a node judges a model after a round."""


def settle(session: Session, round_id: int) -> None:
    """Learn from a round that is over, record its reward, claim it, and anchor the ledger."""
    consortium, journal, me = session.consortium, session.journal, session.me
    contributed = me in consortium.accepted(round_id)
    paid = earned(session, round_id)
    quality = _quality_after(session, round_id, contributed=contributed)
    outcome = _outcome(session, round_id, paid, quality)
    decision = RoundFacts.load(journal, round_id).decided()
    after = observe(session, round_id + 1)
    session.agent.learn(round_id, decision.observation, decision.action, outcome, after)
    payload = {
        "round": round_id,
        "state": consortium.round(round_id).state.value,
        "contributed": contributed,
        "paid_wei": str(paid),
        "reward": outcome.reward,
        "quality": quality,
    }
    session.ledger.append("reward", payload, key=f"reward/{round_id}")
    claim_rewards(session)
    anchor(session)
    replace(RoundFacts.load(journal, round_id), settled=True).save(journal)


def _quality_after(session: Session, round_id: int, *, contributed: bool) -> float:
    """Return the model's quality after a round, evaluated once.

    Only after a contribution that was trained: statistics alone leave the node's own block as it was,
    and a node that posts nothing else needs no base model.
    """
    facts = RoundFacts.load(session.journal, round_id)
    if facts.quality is not None:
        return facts.quality
    trained = contributed and facts.action.effort > 0
    quality = own_quality(session) if trained else facts.decided().observation.quality
    replace(facts, quality=quality).save(session.journal)
    return quality


def _outcome(session: Session, round_id: int, paid: int, quality: float) -> Outcome:
    costs, decision = session.config.costs, RoundFacts.load(session.journal, round_id).decided()
    action, before = decision.action, decision.observation
    work = action.effort + costs.statistics_price * action.statistics
    gas, _ = gas_of(action, two_parts=len(session.parameters.parts) > 1)
    return Outcome(
        paid_reward=paid / ETHER,
        compute_cost=before.compute_price * work,
        privacy_cost=costs.privacy_price * epsilon_of(session, round_id) * action.data_fraction,
        quality_gain=costs.quality_value * (quality - before.quality),
        chain_cost=gas * costs.gas_price / ETHER_IN_GWEI,
    )


def epsilon_of(session: Session, round_id: int) -> float:
    """Return what a round added to the epsilon spent; 0 where rounds are not private."""
    facts = RoundFacts.load(session.journal, round_id)
    if facts.epsilon is None:
        now = spent(session)
        total = now.epsilon if now is not None and now.history else 0.0
        totals = [fact.epsilon.total for fact in RoundFacts.all(session.journal) if fact.epsilon]
        epsilon = Epsilon(total, added=max(0.0, total - max(totals, default=0.0)))
        facts = replace(facts, epsilon=epsilon)
        facts.save(session.journal)
        return epsilon.added
    return facts.epsilon.added


def own_quality(session: Session) -> float:
    """Return the share of the node's own questions that the newest model answers correctly, 0 to 1.

    If there are documents only, it is the share of their tokens that the model finds the likeliest.
    In blocks the node's own block answers, in a shared layout the shared adapter. Of many questions
    some are asked, spread evenly over the data: all of them can take hours with a large model, and
    the node would miss the next round.
    """
    from rescind.training import Assistant, evaluate
    from rescind.training.serving.respond import token_scores

    parameters = session.parameters
    latest = session.consortium.latest_model_id()
    tensors = start_from(session, latest).adapter
    prefix = owner(parameters.layout, session.me)
    used = (prefix, SHARED)
    own = {name: value for name, value in tensors.items() if split_owner(name)[0] in used}
    questions = [example for example in session.examples if not example.document]
    examples = questions or session.examples
    asked = examples[:: -(-len(examples) // QUALITY_ROWS)] if examples else examples
    with session.activities.during("evaluating"):
        assistant = Assistant(session.model, parameters, own)
        if questions or not asked:
            return evaluate(assistant, asked).score
        right = [score.right for score in token_scores(assistant, asked)]
        return sum(int(each.sum()) for each in right) / sum(each.size for each in right)


def anchor(session: Session) -> None:
    """Put the ledger's size and root on chain, unless they are there already."""
    checkpoint = session.ledger.checkpoint()
    size, root = checkpoint.size, checkpoint.root.hex()
    anchored = session.consortium.anchor(session.me)
    if size and (anchored.size, anchored.root) != (size, root):
        session.consortium.write_anchor(size, root)
        have_cosigned(session)
    session.ledger.write_seal()
    publish_privacy(session)


def publish_privacy(session: Session) -> None:
    """Put the epsilon and delta spent so far on chain, where the consortium asks for it."""
    privacy = session.parameters.training.privacy
    if privacy is None or not privacy.on_chain:
        return
    now = spent(session)
    if now is None or not now.history:
        return
    stated = session.consortium.privacy_spent(session.me)
    if stated is None or stated.epsilon < now.epsilon:
        session.consortium.state_privacy(now.epsilon, now.delta)


def earned(session: Session, round_id: int) -> int:
    """Return the node's share of a final round's reward, in wei; payable once it is attested."""
    score, total = session.consortium.score(round_id, session.me)
    return session.consortium.reward_of(round_id) * score // total if total else 0


def claim_rewards(session: Session) -> None:
    """Take out the rewards of all rounds that are payable."""
    rounds = session.consortium.claimable_rounds(session.me)
    if rounds:
        session.consortium.claim_rewards(rounds)


def reclaim(session: Session) -> None:
    """Claim rewards and refunds and, once the exit period is over, the bond."""
    consortium, me = session.consortium, session.me
    claim_rewards(session)
    if consortium.replay_refund(me):
        consortium.refund_replay()
    member = consortium.member(me)
    has_left = member.status in (MemberStatus.WITHDRAWN, MemberStatus.LEFT)
    if has_left and member.bond and consortium.chain.now() >= member.exit_at:
        consortium.reclaim_bond()
