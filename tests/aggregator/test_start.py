"""An aggregator does not start on a consortium that it cannot serve."""

from pathlib import Path

import pytest

from rescind.aggregator import open_aggregator
from rescind.core.errors import ConfigError
from rescind.daemon import RulesNotServed
from tests.aggregator.scene import aggregator_config, open_scene
from tests.support.chain import Anvil


def test_contributions_of_two_parts_are_refused_at_the_start(anvil: Anvil, tmp_path: Path) -> None:
    with (
        pytest.raises(RulesNotServed, match="take contributions with the parts block, block"),
        open_scene(anvil, tmp_path, rules=("block", "block")),
    ):
        pass


def test_a_key_that_is_not_the_aggregators_is_refused(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path) as scene:
        stranger = anvil.funded()
        config = aggregator_config(anvil, tmp_path, "stranger", stranger, 2)
        aggregator = scene.record.aggregator()
        with (
            pytest.raises(ConfigError, match=f"the consortium's aggregator is {aggregator}"),
            open_aggregator(config),
        ):
            pass
