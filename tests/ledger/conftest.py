from pathlib import Path

import pytest

from rescind.ledger import LocalKey, create_key


@pytest.fixture(params=["sqlite", "postgres"])
def where(request: pytest.FixtureRequest, tmp_path: Path) -> Path | str:
    """Return a place for a ledger; a test that uses it runs on both databases."""
    if request.param == "sqlite":
        return tmp_path / "ledger"
    return str(request.getfixturevalue("cluster").new())


@pytest.fixture
def key(tmp_path: Path) -> LocalKey:
    return create_key(tmp_path / "ledger.key")
