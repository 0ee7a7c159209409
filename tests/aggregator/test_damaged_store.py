"""An aggregator whose disk lost bits: it builds its files again, and asks for contributions again."""

import threading
from collections.abc import Iterator

import pytest

from rescind.core import artifact_id
from rescind.daemon import scrub
from rescind.wire import AggregatorClient, WrongHash
from tests.aggregator.scene import Scene, open_scene
from tests.support.chain import Anvil
from tests.support.stored_files import damage


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    with open_scene(running_anvil, tmp_path_factory.mktemp("damaged")) as opened:
        yield opened


def damage_stored(scene: Scene, artifact: str) -> None:
    damage(scene.folder / "aggregator" / "store", artifact)


def scrubbed(scene: Scene) -> None:
    scrub(scene.aggregator.session.store, threading.Event()).join(60)


def test_a_published_file_is_built_again(scene: Scene) -> None:
    scene.play_together()
    model_id = scene.settled()
    published = scene.record.publications(model_id)[-1]
    whole = scene.aggregator.session.store.get(published.adapter_id)
    damage_stored(scene, published.adapter_id)
    with AggregatorClient(scene.honest.address, scene.honest.tls) as client:
        # Pieces are served as they are on the disk: a download notices.
        with pytest.raises(WrongHash):
            client.download(published.adapter_id, 2**20)
        scrubbed(scene)
        scene.tick_until(lambda: scene.aggregator.session.store.has(published.adapter_id))
        assert client.download(published.adapter_id, 2**20) == whole


def test_a_contribution_is_asked_for_again(scene: Scene) -> None:
    sent = scene.play_together()
    model_id = scene.settled()
    member = scene.honest
    contribution = artifact_id(sent[member.account.address])
    adapter_id = scene.record.publications(model_id)[-1].adapter_id
    damage_stored(scene, contribution)
    damage_stored(scene, adapter_id)
    scrubbed(scene)
    with AggregatorClient(member.address, member.tls) as client:
        scene.tick_until(lambda: contribution in client.wanted())
        client.hand_over(sent[member.account.address])
    scene.tick_until(lambda: scene.aggregator.session.store.has(adapter_id))
    assert scene.aggregator.session.store.get(contribution) == sent[member.account.address]
