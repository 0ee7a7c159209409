"""Models that stay in use: released by the operator, folded and published with each removal."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.aggregator import release, retire
from rescind.contracts import ContractRefused, WithdrawalState
from rescind.core import owners
from rescind.core.errors import ConfigError
from tests.aggregator.scene import Scene, open_scene
from tests.support.chain import Anvil

NAMES = ("first", "second", "third")


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    with open_scene(anvil, tmp_path, names=NAMES) as opened:
        yield opened


def test_a_removal_is_folded_into_three_models_in_use(scene: Scene) -> None:
    for _ in range(2):
        scene.play_together()
        release(scene.config)
    scene.play_together()
    scene.settled()
    stale = scene.record.models_in_use()
    assert len(stale) == 3
    leaver = scene.members[1]
    leaver.record.request_withdrawal()
    assert all(scene.record.is_stale(each) for each in stale)
    scene.tick_until(lambda: scene.record.withdrawal(1).state is WithdrawalState.CLOSED)
    in_use = scene.record.models_in_use()
    assert len(in_use) == 3
    assert not set(in_use) & set(stale)
    scene.tick_until(lambda: all(scene.record.publications(each) for each in in_use))
    kept = sorted(each.account.address.lower() for each in scene.members if each is not leaver)
    for model_id in in_use:
        assert scene.record.is_clean(model_id, leaver.account.address)
        assert sorted(owners(scene.published(model_id))) == kept


def test_a_released_model_is_retired_and_then_left_as_it_is(scene: Scene) -> None:
    scene.play_together()
    model_id = scene.settled()
    done = release(scene.config)
    assert (done["model"], done["in_use"]) == (model_id, [model_id])
    scene.play_together()
    head = scene.settled()
    assert scene.record.models_in_use() == [model_id, head]
    assert retire(scene.config, model_id)["in_use"] == [head]
    scene.members[1].record.request_withdrawal()
    scene.tick_until(lambda: scene.record.withdrawal(1).state is WithdrawalState.CLOSED)
    assert [scene.record.model(each).source for each in scene.record.models_in_use()] == [head]


def test_the_operator_is_told_why_a_model_cannot_be_released_or_retired(scene: Scene) -> None:
    with pytest.raises(ConfigError, match="no model to release yet"):
        release(scene.config)
    scene.play_together()
    head = scene.settled()
    with pytest.raises(ContractRefused, match="The newest model is always in use"):
        retire(scene.config, head)
    with pytest.raises(ContractRefused, match="rescind audit models shows"):
        retire(scene.config, head + 1)
    release(scene.config)
    with pytest.raises(ConfigError, match=f"Model {head} is released already"):
        release(scene.config)
