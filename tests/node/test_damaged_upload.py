"""A file of a node's own store that was damaged before it is sent."""

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.agents import Action
from rescind.contracts import AnswerState, RoundState
from rescind.core import ArtifactStore, StoreCorrupt, encode
from rescind.core.mapped import Bytes
from rescind.node import Step
from rescind.node.exchange import deliver
from rescind.node.facts import RoundFacts, Update
from rescind.wire import SizedArtifact, WrongHash
from tests.aggregator.scene import SALT, open_scene
from tests.node.stage import DECISION, delta_fact, open_node
from tests.support.chain import Anvil
from tests.support.stored_files import damage


class Aggregator:
    """Takes uploads, and refuses to take those that are submitted first."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.sent_bytes = refusals, 0
        self.uploads: list[tuple[str, bool]] = []

    def upload(self, data: Bytes, like: Bytes | None = None, *, artifact_id: str) -> SizedArtifact:
        self.uploads.append((artifact_id, like is not None))
        return SizedArtifact(artifact_id, len(data))

    def submit(self, _: SizedArtifact) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise WrongHash("the bytes are another artifact")


def send(tmp_path: Path, *, damaged: bool, like: bytes | None) -> tuple[Aggregator, Any]:
    store = ArtifactStore(tmp_path, mends=True)
    artifact = store.put(b"an update" * 1000)
    if damaged:
        damage(tmp_path, artifact)
    aggregator = Aggregator(refusals=1)
    session: Any = SimpleNamespace(store=store, client=aggregator)
    expected = StoreCorrupt if damaged else WrongHash
    if damaged or like is None:
        with pytest.raises(expected):
            deliver(session, artifact, like, aggregator.submit)
    else:
        deliver(session, artifact, like, aggregator.submit)
    return aggregator, store.has(artifact)


@pytest.mark.parametrize("like", [None, b"an earlier update"])
def test_it_is_refused_as_damaged_and_deleted(tmp_path: Path, like: bytes | None) -> None:
    aggregator, kept = send(tmp_path, damaged=True, like=like)
    assert len(aggregator.uploads) == 1
    assert not kept


def test_a_whole_file_is_sent_again_without_what_the_aggregator_copied(tmp_path: Path) -> None:
    aggregator, kept = send(tmp_path, damaged=False, like=b"an earlier update")
    assert [copied for _, copied in aggregator.uploads] == [True, False]
    assert kept


def test_a_whole_file_that_was_sent_whole_is_not_sent_again(tmp_path: Path) -> None:
    aggregator, kept = send(tmp_path, damaged=False, like=None)
    assert len(aggregator.uploads) == 1
    assert kept


def test_the_aggregator_takes_nothing_of_it_and_the_node_reveals(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path) as scene, open_node(scene, scene.honest) as node:
        scene.until(RoundState.OPEN)
        data = encode(scene.honest.delta(value=5))
        other = encode(scene.hostile.delta(value=6))
        update = Update(delta_fact(node, data), SALT.hex(), 1)
        decision = replace(DECISION, action=Action(1.0, 1.0))
        RoundFacts(1, decision, update=update).save(node.session.journal)
        for member, sent in ((scene.honest, data), (scene.hostile, other)):
            member.record.commit(1, member.named(sent), SALT)
        scene.until(RoundState.COMMITTED)
        (artifact,) = update.delta.parts.artifact_ids
        damage(Path(str(node.session.config.node.state_dir)) / "store", artifact)
        assert node.next_plan().step is Step.UPLOAD
        assert not node.tick()
        assert not node.session.store.has(artifact)
        assert not scene.aggregator.session.store.has(artifact)
        reveal = scene.record.settings().reveal_seconds
        anvil.pass_time(reveal - reveal // 4)
        assert node.next_plan().step is Step.REVEAL
        assert not node.tick()
        assert scene.record.answers(1).of(scene.honest.account.address) is AnswerState.REVEALED
