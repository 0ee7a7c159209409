from collections.abc import Iterator

import pytest

from tests.consortium import Anvil, start_anvil


@pytest.fixture(scope="package")
def anvil() -> Iterator[Anvil]:
    with start_anvil() as started:
        yield started
