"""A consortium whose provider misbehaves in every way at once, and one on Hardhat.

benchmarks/chains plays each way alone.
"""

from pathlib import Path

import pytest

from benchmarks.chains.cases import mixture
from tests.support.provider_story.outcome import Outcome
from tests.support.provider_story.story import play

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def plain(tmp_path_factory: pytest.TempPathFactory) -> Outcome:
    return play(tmp_path_factory.mktemp("plain"))


def test_a_good_provider_lets_everything_happen_once(plain: Outcome) -> None:
    assert plain.failures(plain) == []
    assert plain.sent["aggregator Members.postAggregatorBond"] == 1
    assert plain.sent["aurora Members.join"] == plain.sent["borealis Members.join"] == 1
    assert not plain.reverted


def test_every_fault_at_once_loses_nothing_and_pays_nothing_twice(
    plain: Outcome, tmp_path: Path
) -> None:
    outcome = play(tmp_path, mixture(0.05), block_seconds=1, seed=1)
    assert outcome.failures(plain) == []
    hit = [name for name, count in outcome.faults.items() if count and name != "calls"]
    assert len(hit) > 10


def test_hardhat_carries_a_consortium_as_anvil_does(plain: Outcome, tmp_path: Path) -> None:
    outcome = play(tmp_path, chain="hardhat")
    assert outcome.failures(plain) == []
