"""Marks that say what a test needs, the order in which tests run, and what all tests share."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support import postgres

TESTS = Path(__file__).parent

NEEDS = {
    "daemons": ("daemons", "devnet/test_demo.py"),
    "chain": (
        "aggregator/test_cheats.py",
        "aggregator/test_fishers.py",
        "aggregator/test_hostile.py",
        "aggregator/test_hostile_offers.py",
        "aggregator/test_proof.py",
        "aggregator/test_selection.py",
        "audit",
        "cli/test_deploy.py",
        "cli/test_governance.py",
        "cli/test_membership.py",
        "cli/test_withdraw.py",
        "contracts",
        "withdrawals/test_amendments.py",
    ),
    "trains": (
        "cli/test_evaluate.py",
        "forgetting/test_attacks.py",
        "forgetting/test_attacks_recovery.py",
        "forgetting/test_metrics_live.py",
        "forgetting/test_replay.py",
        "node/test_engine.py",
        "training",
        "unlearning",
    ),
}
"""The folders and files of tests whose tests get each mark. `make test-fast` runs all others."""


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Leave files out that `-m "not (...)"` deselects as a whole: to import them takes seconds."""
    unwanted = re.fullmatch(r"not \(?([\w ]+)\)?", config.option.markexpr)
    names = unwanted[1].split(" or ") if unwanted else []
    places = [TESTS / place for name in names for place in NEEDS.get(name, ())]
    return True if collection_path in places else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark the tests of NEEDS; let the longest begin first, so that no worker ends with one."""
    for name, places in NEEDS.items():
        for place in places:
            path = TESTS / place
            if not path.exists():
                raise pytest.UsageError(f"tests/conftest.py: NEEDS names {path}, which is missing")
            for item in items:
                if item.path == path or path in item.path.parents:
                    item.add_marker(name)
    items.sort(key=_rank)


def _rank(item: pytest.Item) -> int:
    ranked = ("daemons", "slow", "chain", "trains")
    return next((n for n, name in enumerate(ranked) if item.get_closest_marker(name)), len(ranked))


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server, or a skip where it is not installed."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed: its half of the ledger's tests is left out")
    with postgres.running() as found:
        yield found
