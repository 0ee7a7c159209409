"""A node's view of the chain and of its own records, from state to state."""

from pathlib import Path

from rescind.contracts import AnswerState, MemberStatus, RoundState
from rescind.core import encode
from rescind.node import RoundView, View
from rescind.node.facts import RoundFacts
from rescind.node.look import look
from tests.aggregator.scene import SALT, open_scene
from tests.node.stage import DECISION, open_node, remember
from tests.support.chain import Anvil


def round_of(view: View) -> RoundView:
    assert view.round is not None
    return view.round


def test_the_view_of_a_round_follows_the_chain(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path) as scene, open_node(scene, scene.honest) as node:
        member, other, journal = scene.honest, scene.hostile, node.session.journal
        view = look(node.session)
        assert (view.status, view.round, view.latest_model) == (MemberStatus.ACTIVE, None, 0)
        assert view.held == {0}

        scene.until(RoundState.OPEN)
        seen = round_of(look(node.session))
        assert (seen.state, seen.answer, seen.decided) == (RoundState.OPEN, AnswerState.NONE, False)
        assert seen.deadline - seen.last_call == 150, "the last quarter of 600 seconds"

        sent = [(each, encode(each.delta(value=5 + n))) for n, each in enumerate((member, other))]
        RoundFacts(1, DECISION).save(journal)
        for each, data in sent:
            each.record.commit(1, each.named(data), SALT)
        assert round_of(look(node.session)).answer is AnswerState.COMMITTED
        assert round_of(look(node.session)).decided

        scene.until(RoundState.COMMITTED)
        for each, data in sent:
            each.submit(1, data)
            each.record.reveal(1, each.named(data), SALT)
        assert round_of(look(node.session)).answer is AnswerState.REVEALED
        assert look(node.session).unsettled == 0, "the round is not over"

        scene.until(RoundState.FINAL)
        view = look(node.session)
        assert (view.unsettled, view.latest_model, view.held) == (1, 1, {0})
        remember(node, 1, sent[0][1])
        assert look(node.session).unsettled == 0


def test_a_member_that_left_can_reclaim_its_bond_after_the_exit_delay(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path) as scene, open_node(scene, scene.honest) as node:
        scene.honest.record.resign()
        view = look(node.session)
        assert (view.status, view.reclaimable) == (MemberStatus.LEFT, False)
        anvil.pass_time(scene.record.member_terms().exit_seconds + 1)
        assert look(node.session).reclaimable
        assert not node.tick()
        assert scene.record.member(scene.honest.account.address).bond == 0
        assert not look(node.session).reclaimable
