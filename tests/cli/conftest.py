from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.support.chain import Anvil
from tests.support.files import Files, make_files


@pytest.fixture(scope="package")
def deployed(running_anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Files]:
    """A consortium that no test changes: `files` is a copy of it."""
    with running_anvil.rewound():
        yield make_files(tmp_path_factory.mktemp("deployed"), running_anvil, exit_seconds=60)


@pytest.fixture
def files(deployed: Files, anvil: Anvil, tmp_path: Path) -> Files:
    """A consortium of three, on a chain and in a folder that are the test's own."""
    assert anvil is deployed.consortium.anvil
    return deployed.copied(tmp_path)
