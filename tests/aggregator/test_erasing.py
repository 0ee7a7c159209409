"""After a closed withdrawal the aggregator erases old models and withdrawn contributions."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.aggregator import status
from rescind.aggregator.facts import Published
from rescind.contracts import WithdrawalState
from rescind.core import artifact_id, encode
from rescind.wire import AggregatorClient, NotPublished
from rescind.withdrawals import Erasure
from tests.aggregator.replacements import deposit, request_replacement
from tests.aggregator.scene import Scene, open_scene
from tests.support.chain import Anvil

NAMES = ("first", "second", "third")


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    with open_scene(anvil, tmp_path, names=NAMES) as opened:
        yield opened


def restart(scene: Scene) -> None:
    """Go on with nothing but what is durable."""
    scene.aggregator._erasing._seen = None


def remove(scene: Scene) -> dict[str, bytes]:
    """Play a round, remove the second member, and return what each member sent before."""
    sent = scene.play_together()
    scene.settled()
    scene.members[1].record.request_withdrawal()
    scene.tick_until(lambda: scene.record.withdrawal(1).state is WithdrawalState.CLOSED)
    return sent


def test_a_removal_erases_the_delta_and_the_model_before(scene: Scene) -> None:
    sent = scene.play_together()
    old = scene.settled()
    files, leaver = scene.record.publications(old)[-1], scene.members[1]
    orphan = scene.aggregator.session.publish(b"a sum that a crash left without a record")
    with AggregatorClient(leaver.address, scene.honest.tls) as member:
        assert member.download(files.adapter_id, 2**20)
        leaver.record.request_withdrawal()
        scene.idle()
        with pytest.raises(NotPublished, match="is not published"):
            member.download(files.adapter_id, 2**20)
        with pytest.raises(NotPublished):
            member.model(old)
        new = scene.record.publications(scene.record.latest_model_id())[-1]
        assert member.download(new.adapter_id, 2**20)
    store = scene.aggregator.session.store
    held = {name: store.has(artifact_id(data)) for name, data in sent.items()}
    assert held == {name: name != leaver.account.address for name in held}
    assert not store.has(files.adapter_id)
    assert not store.has(files.opening_id)
    assert not store.has(orphan)
    shown = status(scene.config)
    (erased,) = [each for each in shown["incidents"] if each["code"] == "erased"]
    assert erased["organization"] == "aggregator"
    assert erased["what"].startswith("withdrawal 1 is closed: 4 files are erased: ")
    assert f"file of model {old}" in erased["what"]
    assert [each["withdrawal_id"] for each in shown["erasures"]] == [1]


@pytest.mark.slow
def test_an_erasure_that_is_cut_short_at_every_step_is_finished_once(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    sent, session = remove(scene), scene.aggregator.session

    def die(*_: object, **__: object) -> None:
        raise SystemExit

    deadly = (
        (Published, "delete"),
        (type(session.store), "delete"),
        (type(session), "record_incident"),
        (Erasure, "finish"),
    )
    for owner, name in deadly:
        with monkeypatch.context() as patched:
            patched.setattr(owner, name, die)
            with pytest.raises(SystemExit):
                scene.idle()
        restart(scene)
    scene.idle()
    assert scene.incidents().count("erased") == 1
    assert not session.store.has(artifact_id(sent[scene.members[1].account.address]))
    assert [each.done for each in Erasure.all(session.journal)] == [True]


@pytest.mark.slow
def test_keep_withdrawn_keeps_everything(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path, names=NAMES) as scene:
        section = scene.config.aggregator.model_copy(update={"keep_withdrawn": True})
        object.__setattr__(
            scene.aggregator.session,
            "config",
            scene.config.model_copy(update={"aggregator": section}),
        )
        sent = remove(scene)
        scene.idle()
        assert all(scene.aggregator.session.store.has(artifact_id(each)) for each in sent.values())
        assert scene.incidents() == []


@pytest.mark.slow
def test_a_replacement_erases_what_it_replaced(scene: Scene) -> None:
    sent = scene.play_together()
    scene.settled()
    first = scene.members[0]
    number, data = request_replacement(first), encode(first.delta(value=500))
    first.record.offer(number, 1, first.named(data))
    deposit(first, number, data)
    scene.idle()
    store = scene.aggregator.session.store
    assert store.has(artifact_id(sent[first.account.address])), "the withdrawal is open"
    first.record.ready(number)
    scene.tick_until(lambda: scene.record.withdrawal(number).state is WithdrawalState.CLOSED)
    scene.idle()
    assert store.has(artifact_id(sent[first.account.address])), "a round started from the model"
    scene.play_together()
    scene.idle()
    assert not store.has(artifact_id(sent[first.account.address]))
    assert store.has(artifact_id(data))
