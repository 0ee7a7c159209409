"""After a closed withdrawal a node erases old models and withdrawn contributions, and records it."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rescind.contracts import WithdrawalMethod, WithdrawalState
from rescind.core import adapter_totals, artifact_id, encode
from rescind.core.exports import Export
from rescind.ledger import Ledger
from rescind.node import Node, Step, open_session, retraining
from rescind.node.erasing import NodeErasing
from rescind.node.facts import AdoptedModel
from rescind.node.residuals import save_residual
from rescind.wire import WrongPhase
from rescind.withdrawals import Erasure, terms_of
from tests.aggregator.scene import Scene, open_scene
from tests.node.stage import node_config, open_node, remember, steps_of
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters

NAMES = ("first", "second", "third")


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    with open_scene(anvil, tmp_path, names=NAMES) as opened:
        yield opened


def records(node: Node) -> list[dict[str, object]]:
    return [each.payload for each in node.session.ledger.records() if each.type == "erasure"]


def close(scene: Scene) -> None:
    """Remove the second member, and let the aggregator close it and erase its part."""
    scene.members[1].record.request_withdrawal()
    scene.tick_until(lambda: scene.record.withdrawal(1).state is WithdrawalState.CLOSED)
    scene.settled()
    scene.idle()


def test_a_node_erases_the_model_before_and_keeps_the_one_after(scene: Scene) -> None:
    sent, member = scene.play_together(), scene.members[0]
    own = artifact_id(sent[member.account.address])
    old = scene.settled()
    with open_node(scene, member, policy="never") as node:
        remember(node, 1, sent[member.account.address])
        steps_of(node)
        before = AdoptedModel.load(node.session.journal, old)
        assert before is not None
        assert node.session.store.has(before.adapter_id)
        copy = scene.folder / "copies" / "old"
        copy.mkdir(parents=True)
        Export(copy, before.adapter_id, ()).save()
        section = node.session.config.node.model_copy(update={"exports": (copy.parent,)})
        node.session.config = node.session.config.model_copy(update={"node": section})
        close(scene)
        assert Step.ERASE in steps_of(node)
        store = node.session.store
        assert not store.has(before.adapter_id)
        assert not store.has(before.opening_id)
        assert not copy.exists()
        after = AdoptedModel.load(node.session.journal, scene.record.latest_model_id())
        assert after is not None
        assert store.has(after.adapter_id)
        assert store.has(own)
        (record,) = records(node)
        assert record["withdrawal"] == 1
        assert set(record["files"]) == {before.adapter_id, before.opening_id}
        assert steps_of(node) == []


@pytest.mark.slow
def test_the_node_of_the_organization_that_is_out_erases_its_own(scene: Scene) -> None:
    sent, leaver = scene.play_together(), scene.members[1]
    data = sent[leaver.account.address]
    scene.settled()
    with open_node(scene, leaver, policy="never") as node:
        remember(node, 1, data)
        residual = node.session.config.node.state_dir / save_residual(
            node.session, artifact_id(data), {}
        )
        checkpoints = node.session.config.node.state_dir / "checkpoints" / "run"
        checkpoints.mkdir(parents=True)
        steps_of(node)
        close(scene)
        assert Step.ERASE in steps_of(node)
        assert not node.session.store.has(artifact_id(data))
        assert not residual.exists()
        assert not checkpoints.exists()
        (record,) = records(node)
        address = leaver.account.address
        assert record["files"][artifact_id(data)] == f"contribution of {address} to round 1"


@pytest.mark.slow
def test_an_erasure_that_is_cut_short_at_every_step_is_recorded_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, member = scene.play_together(), scene.members[0]
    scene.settled()
    data = encode(member.delta(value=9))

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    config = node_config(scene, member, policy="never")

    @contextmanager
    def opened() -> Iterator[Node]:
        with open_session(config, threading.Event()) as session:
            yield Node(session)

    def open_and_die(owner: type, name: str) -> None:
        with opened() as node, monkeypatch.context() as patched:
            patched.setattr(owner, name, die)
            with pytest.raises(SystemExit):
                steps_of(node)

    with opened() as node:
        remember(node, 1, sent[member.account.address])
        node.session.store.put(data)
        steps_of(node)
        store = type(node.session.store)
        old = AdoptedModel.all(node.session.journal)[-1].adapter_id
    # The node is down while the withdrawal is closed.
    close(scene)
    open_and_die(store, "delete")
    open_and_die(Ledger, "append")
    open_and_die(Erasure, "finish")
    with opened() as node:
        steps_of(node)
        assert not node.session.store.has(old)
        assert node.session.store.has(artifact_id(data)), "no one withdrew it"
        assert len(records(node)) == 1
        assert [each.done for each in Erasure.all(node.session.journal)] == [True]


@pytest.mark.slow
def test_keep_withdrawn_keeps_the_model_before(scene: Scene) -> None:
    scene.play_together()
    old = scene.settled()
    with open_node(scene, scene.members[0], policy="never") as node:
        steps_of(node)
        section = node.session.config.node.model_copy(update={"keep_withdrawn": True})
        node.session.config = node.session.config.model_copy(update={"node": section})
        close(scene)
        assert Step.ERASE not in steps_of(node)
        fact = AdoptedModel.load(node.session.journal, old)
        assert fact is not None
        assert node.session.store.has(fact.adapter_id)
        assert not NodeErasing(node.session).due(scene.record.withdrawals())


@pytest.mark.slow
def test_a_round_whose_start_was_erased_starts_from_what_is_left_of_it(
    anvil: Anvil, tmp_path: Path
) -> None:
    parameters = micro_parameters(federated=True)
    with open_scene(anvil, tmp_path, parameters, NAMES) as scene:
        sent = [scene.play_together() for _ in range(2)]
        scene.settled()
        close(scene)
        member = scene.members[0]
        with open_node(scene, member, policy="never") as node:
            for round_id, deltas in enumerate(sent, start=1):
                remember(node, round_id, deltas[member.account.address])
            number = len(scene.record.withdrawals()) + 1
            member.record.request_subject_withdrawal("07" * 32, WithdrawalMethod.REPLACEMENT)
            with pytest.raises(WrongPhase, match="is closed: only one that is being prepared"):
                node.session.client.replay_start(1, 2)
            adapter_id, start = retraining.start_of_withdrawal(node.session, number, 2, [])
            head = scene.record.content(scene.record.latest_model_id())
            left = [each for each in head if each.round_id == 1]
            assert len(left) == len(NAMES) - 1
            terms = terms_of(scene.record, left)
            store = scene.aggregator.session.store
            assert adapter_id == artifact_id(encode(adapter_totals(terms, store.load)))
            assert artifact_id(encode(start.adapter)) == adapter_id
