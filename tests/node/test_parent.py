"""A node that cannot get the model that a round builds on says so on chain, in time."""

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from rescind.aggregator.facts import ModelFact
from rescind.contracts import AnswerState, RoundState
from rescind.core import encode
from rescind.node import Node, Step
from rescind.node.facts import AdoptedModel
from tests.aggregator.scene import Scene, open_scene
from tests.node.stage import open_node, steps_of
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters
from tests.support.daemons import wait_for

NAMES = ("first", "second", "third")
PARENT_ROUND = 2
ANSWER_SECONDS, BEFORE_LAST_QUARTER, LAST_QUARTER = 6000, 4000, 1000
"""A node keeps the last quarter of the time to answer for the report."""


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    """A round is open whose parent was folded and has no files yet."""
    parameters = micro_parameters(federated=True)
    with open_scene(anvil, tmp_path, parameters, NAMES, commit_seconds=ANSWER_SECONDS) as opened:
        opened.play_together()
        opened.record.open_round()
        yield opened


@pytest.fixture
def nodes(scene: Scene) -> Iterator[list[Node]]:
    with ExitStack() as stack:
        yield [stack.enter_context(open_node(scene, member)) for member in scene.members]


def answer(scene: Scene, node: Node) -> AnswerState:
    return scene.record.answers(PARENT_ROUND).of(node.session.me)


def test_an_aggregator_that_publishes_nothing_loses_a_share_of_its_bond(
    scene: Scene, nodes: list[Node]
) -> None:
    bond = scene.record.aggregator_bond()
    for node in nodes[:2]:
        # How long it waits before it asks again hangs on the machine.
        assert set(steps_of(node)) - {Step.WAIT} == {Step.ADOPT, Step.DECIDE}
        assert answer(scene, node) is AnswerState.NONE
    scene.anvil.pass_time(BEFORE_LAST_QUARTER)
    assert Step.REPORT_UNAVAILABLE not in steps_of(nodes[0])
    scene.anvil.pass_time(LAST_QUARTER)
    for node in nodes[:2]:
        assert Step.REPORT_UNAVAILABLE in steps_of(node)
        assert answer(scene, node) is AnswerState.UNAVAILABLE
    scene.anvil.pass_time(ANSWER_SECONDS)
    nodes[2].session.consortium.close_commits(PARENT_ROUND)
    assert scene.record.round(PARENT_ROUND).state is RoundState.ABANDONED
    assert scene.record.aggregator_bond() < bond


def test_a_parent_that_comes_late_is_adopted_and_not_reported(
    scene: Scene, nodes: list[Node]
) -> None:
    assert Step.ADOPT in steps_of(nodes[0])
    scene.settled()
    # It asks again after a pause by its own clock, not by the chain's.
    wait_for("the end of the pause", lambda: not nodes[0].session.unavailable.now(), 30)
    chosen = nodes[0].next_plan()
    assert (chosen.step, chosen.model_id) == (Step.ADOPT, scene.record.latest_model_id())
    nodes[0].tick()
    assert nodes[0].next_plan().step is Step.TRAIN


def test_a_parent_whose_opening_does_not_open_is_reported(scene: Scene, nodes: list[Node]) -> None:
    head, session = scene.settled(), scene.aggregator.session
    tensors = scene.published(head)
    name = next(iter(tensors))
    garbage = session.publish(encode({**tensors, name: tensors[name] + 1}))
    commitments = scene.record.commitments(head)
    opening_id = scene.record.publications(head)[-1].opening_id
    ModelFact(head, commitments, garbage, opening_id).save(session.journal)
    assert Step.ADOPT in steps_of(nodes[0])
    assert AdoptedModel.load(nodes[0].session.journal, head) is None
    scene.anvil.pass_time(BEFORE_LAST_QUARTER + LAST_QUARTER)
    assert Step.REPORT_UNAVAILABLE in steps_of(nodes[0])
    assert answer(scene, nodes[0]) is AnswerState.UNAVAILABLE


def test_members_move_a_late_round_on_one_after_the_other(scene: Scene, nodes: list[Node]) -> None:
    scene.anvil.pass_time(ANSWER_SECONDS + 62)
    moved = [node for node in nodes if Step.MOVE_ON in steps_of(node)]
    assert len(moved) == 1
    assert scene.record.round(PARENT_ROUND).state is not RoundState.OPEN
