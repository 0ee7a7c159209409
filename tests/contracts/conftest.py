from collections.abc import Iterator

import pytest

from tests.support.chain import Anvil, start_anvil


@pytest.fixture(scope="package")
def running_anvil() -> Iterator[Anvil]:
    with start_anvil() as started:
        yield started


@pytest.fixture
def anvil(running_anvil: Anvil) -> Iterator[Anvil]:
    """A chain that is wound back to its start after every test."""
    with running_anvil.rewound():
        yield running_anvil
