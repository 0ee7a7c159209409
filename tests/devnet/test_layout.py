"""The files of a run's folder."""

from pathlib import Path

import pytest

from rescind.core.errors import ConfigError
from rescind.devnet.layout import RunFolder


def test_a_run_without_its_agreed_parameters_says_where_a_copy_is(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"parameters\.json cannot be read.*holds a copy"):
        RunFolder(tmp_path).agreed()
