"""An aggregator whose store is gone rebuilds every sum from what members hand over."""

from pathlib import Path

import pytest

from rescind.aggregator import open_aggregator
from rescind.contracts import RoundState
from rescind.core import encode
from rescind.devnet.chain import free_port
from rescind.wire import AggregatorClient, WrongPhase
from tests.aggregator.scene import SALT, Scene, open_scene
from tests.support.chain import Anvil


def play(scene: Scene) -> dict[str, bytes]:
    """Play a round of all members, and return what each sent."""
    round_id = scene.until(RoundState.OPEN)
    sent = {
        member.account.address: encode(member.delta(value=3 + index))
        for index, member in enumerate(scene.members)
    }
    for member in scene.members:
        member.record.commit(round_id, member.named(sent[member.account.address]), SALT)
    scene.until(RoundState.COMMITTED)
    for member in scene.members:
        data = sent[member.account.address]
        member.submit(round_id, data)
        member.record.reveal(round_id, member.named(data), SALT)
    scene.until(RoundState.FINAL)
    return sent


def test_sums_are_rebuilt_from_contributions_that_members_hand_over(
    anvil: Anvil, tmp_path: Path
) -> None:
    with open_scene(anvil, tmp_path) as scene:
        sent = play(scene)
        head = scene.settled()
        published = scene.record.publications(head)[-1]
        port = free_port()
        fresh = {
            "listen": f"127.0.0.1:{port}",
            "state_dir": tmp_path / "fresh-state",
            "store": str(tmp_path / "fresh-store"),
        }
        section = scene.config.aggregator.model_copy(update=fresh)
        config = scene.config.model_copy(update={"aggregator": section})
        with open_aggregator(config) as aggregator:
            for member in scene.members:
                with AggregatorClient(f"localhost:{port}", member.tls) as client:
                    own = sent[member.account.address]
                    assert len(client.wanted()) == 1
                    with pytest.raises(WrongPhase):
                        client.hand_over(b"another file")
                    client.hand_over(own)
                    client.hand_over(own)
                    assert client.wanted() == []
            aggregator.tick()
            store = aggregator.session.store
            assert store.has(published.adapter_id)
            assert store.has(published.opening_id)
