"""An aggregator that stalls or refuses uploads costs a node no penalty."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from rescind.agents import Action
from rescind.contracts import AnswerState, RoundState
from rescind.core import encode
from rescind.node import Node, Step, open_session
from rescind.node.facts import RoundFacts, Update
from rescind.wire import Admission, SizedArtifact, TooManyUploads, serve
from tests.aggregator.scene import SALT, Scene, open_scene
from tests.node.stage import DECISION, delta_fact, node_config
from tests.support.chain import Anvil


@dataclass
class Aggregator:
    """Takes no upload: stalls it, or refuses it."""

    refuses: bool
    max_artifact_bytes: int = 2**30
    end: threading.Event = field(default_factory=threading.Event)
    asked: int = 0

    def admit(self, certificate: bytes) -> Admission:
        return Admission("member")

    def wanted(self, organization: str) -> list[str]:
        return []

    def begin_upload(self, organization: str, artifact: SizedArtifact) -> int:
        self.asked += 1
        if self.refuses:
            raise TooManyUploads("no room")
        self.end.wait(120)
        return 0


@contextmanager
def open_node_of(scene: Scene, handler: Aggregator) -> Iterator[Node]:
    """Open the honest member's node with another server of the aggregator's certificate."""
    tls = scene.config.identity.tls
    server = serve(handler, "127.0.0.1:0", tls)
    config = node_config(scene, scene.honest)
    config = config.model_copy(
        update={
            "aggregator": config.aggregator.model_copy(
                update={"address": f"localhost:{server.port}"}
            )
        }
    )
    try:
        with open_session(config, threading.Event()) as session:
            yield Node(session)
    finally:
        handler.end.set()
        server.stop(0)


@pytest.mark.parametrize("refuses", [False, True], ids=["stalls", "refuses"])
def test_a_node_reveals_in_time_whether_or_not_its_upload_was_taken(
    anvil: Anvil, tmp_path: Path, refuses: bool
) -> None:
    handler = Aggregator(refuses)
    with open_scene(anvil, tmp_path) as scene, open_node_of(scene, handler) as node:
        scene.until(RoundState.OPEN)
        data = encode(scene.honest.delta(value=5))
        other = encode(scene.hostile.delta(value=6))
        update = Update(delta_fact(node, data), SALT.hex(), 1)
        decision = replace(DECISION, action=Action(1.0, 1.0))
        RoundFacts(1, decision, update=update).save(node.session.journal)
        for member, sent in ((scene.honest, data), (scene.hostile, other)):
            member.record.commit(1, member.named(sent), SALT)
        scene.until(RoundState.COMMITTED)
        reveal = scene.record.settings().reveal_seconds
        # Two seconds are left until the node must reveal.
        anvil.pass_time(reveal - reveal // 4 - 2)
        assert node.next_plan().step is Step.UPLOAD
        assert not node.tick()
        assert handler.asked >= 1
        anvil.pass_time(2)
        assert node.next_plan().step is Step.REVEAL
        assert not node.tick()
        member = scene.honest.account.address
        assert scene.record.answers(1).of(member) is AnswerState.REVEALED
        # The hostile member did not reveal, and pays; the node does not.
        anvil.pass_time(reveal)
        scene.tick_until(lambda: scene.record.round(1).state.over)
        assert scene.record.may_contribute(member)
        assert not scene.record.may_contribute(scene.hostile.account.address)
