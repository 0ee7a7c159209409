"""Daemons and the library make the same model: all comparisons of other tests rest on it."""

from pathlib import Path

import pytest

from rescind.core import Coupling
from tests.support.daemons import consortium, finals, wait_for
from tests.support.library import adapter_of, play
from tests.support.withdrawals import adapter

ROUNDS = 2


@pytest.mark.slow
@pytest.mark.parametrize("coupling", ["federated", "isolated"])
def test_daemons_and_the_library_make_the_same_adapter(tmp_path: Path, coupling: Coupling) -> None:
    with consortium(tmp_path / "run", ROUNDS, coupling=coupling) as (run, record, daemons):
        for daemon in daemons.values():
            daemon.start()
        wait_for("the rounds", lambda: finals(record) == ROUNDS)
        by_daemons = adapter(record)
    assert adapter_of(play(run, tmp_path / "library", ROUNDS)) == by_daemons
