"""The aggregator deletes the files of models that later rounds took the place of."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.aggregator.keeping import NEWEST_KEPT, Keeping, superseded
from rescind.aggregator.state import Step
from rescind.contracts import Model, ModelKind, WithdrawalState
from rescind.wire import AggregatorClient, NotPublished
from tests.aggregator.scene import Scene, open_scene
from tests.support.chain import Anvil

NAMES = ("first", "second", "third")
ROUNDS = NEWEST_KEPT + 2


def model(number: int, kind: ModelKind = ModelKind.ROUND) -> Model:
    return Model(number, kind, number - 1, number, 0, 0, released=False, commitments=())


def test_the_newest_the_needed_and_those_of_withdrawals_are_kept() -> None:
    models = [model(number) for number in range(1, 12)]
    assert superseded(models, ()) == [1, 2, 3, 4, 5, 6, 7]
    assert superseded(models, (2, 11)) == [1, 3, 4, 5, 6, 7]
    models[4] = model(5, ModelKind.REMOVAL)
    assert superseded(models, ()) == [1, 2, 3, 6, 7]
    assert superseded(models[:NEWEST_KEPT], ()) == []


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    with open_scene(anvil, tmp_path, names=NAMES) as opened:
        yield opened


def stored(scene: Scene) -> list[int]:
    """Return the models whose files are in the store."""
    record, store = scene.record, scene.aggregator.session.store
    numbers = range(1, record.model_count() + 1)
    return [each for each in numbers if store.has(record.publications(each)[-1].adapter_id)]


def test_superseded_models_are_deleted_and_an_open_withdrawal_keeps_them(scene: Scene) -> None:
    for _ in range(ROUNDS):
        scene.play_together()
        scene.settled()
    first = scene.record.publications(1)[-1]
    keeping, leaver = Keeping(scene.aggregator.session), scene.members[1]
    leaver.record.request_withdrawal()
    keeping.delete_superseded()
    assert stored(scene) == [*range(1, ROUNDS + 1)]
    scene.tick_until(lambda: scene.record.withdrawal(1).state is WithdrawalState.CLOSED)
    scene.tick_until(lambda: scene.aggregator.next_plan().step is Step.WAIT)
    # The removal erased every model that held the leaver.
    assert stored(scene) == [ROUNDS + 1]
    for _ in range(ROUNDS):
        scene.play_together()
        scene.settled()
    keeping.delete_superseded()
    newest = range(2 * ROUNDS + 2 - NEWEST_KEPT, 2 * ROUNDS + 2)
    assert stored(scene) == [ROUNDS + 1, *newest]
    with AggregatorClient(scene.members[0].address, scene.members[0].tls) as member:
        with pytest.raises(NotPublished):
            member.download(first.adapter_id, 2**20)
        assert member.download(scene.record.publications(newest[0])[-1].adapter_id, 2**20)
