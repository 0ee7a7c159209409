"""An aggregator serves the consortium that it was configured for, and no other."""

from __future__ import annotations

from pathlib import Path

import pytest

from rescind.aggregator import open_aggregator
from rescind.contracts import WrongChain
from rescind.core.errors import ConfigError
from tests.aggregator.scene import PARAMETERS, open_scene
from tests.support.chain import Anvil


def test_parameters_of_another_consortium_are_refused(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path) as scene:
        other = PARAMETERS.model_copy(update={"seed": PARAMETERS.seed + 1})
        (tmp_path / "parameters.json").write_bytes(other.canonical_bytes())
        refusal = f"has id {other.id}, but the chain has {PARAMETERS.id}"
        with pytest.raises(ConfigError, match=refusal), open_aggregator(scene.config):
            pass


def test_a_contracts_file_for_another_chain_is_refused(anvil: Anvil, tmp_path: Path) -> None:
    with open_scene(anvil, tmp_path) as scene:
        path = tmp_path / "contracts.json"
        path.write_text(path.read_text().replace('"chain_id": 31337', '"chain_id": 5'))
        refusal = "is chain 31337, but the contracts file is for chain 5"
        with pytest.raises(WrongChain, match=refusal), open_aggregator(scene.config):
            pass
