from collections.abc import Iterator

import pytest

from tests.support.chain import Anvil, start_anvil


@pytest.fixture(scope="package")
def anvil() -> Iterator[Anvil]:
    with start_anvil() as started:
        yield started
