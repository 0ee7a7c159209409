"""The public reference of the agreed router, as an aggregator reads it at its start."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.aggregator.reference import publish_reference
from rescind.core import artifact_id, encode
from rescind.core.errors import ConfigError
from rescind.core.router_statistics import WrongReference
from rescind.core.store import ArtifactStore
from tests.support.desk import AGREED, REFERENCE


def session(folder: Path, path: Path | None, statistics: object = AGREED) -> Any:
    """Return what `publish_reference` reads of a session, with a real store."""
    store = ArtifactStore(folder / "store")
    return SimpleNamespace(
        parameters=SimpleNamespace(statistics=statistics),
        config=SimpleNamespace(aggregator=SimpleNamespace(reference=path)),
        store=store,
        publish=store.put,
    )


def test_a_reference_is_published_and_not_needed_again(tmp_path: Path) -> None:
    path = tmp_path / "reference.safetensors"
    path.write_bytes(REFERENCE)
    publish_reference(session(tmp_path, path))
    path.unlink()
    again = session(tmp_path, path)
    publish_reference(again)
    assert again.store.get(artifact_id(REFERENCE)) == REFERENCE


def test_a_lost_reference_is_named_with_where_to_get_it(tmp_path: Path) -> None:
    path = tmp_path / "reference.safetensors"
    with pytest.raises(ConfigError, match=r"cannot be read.*copy it from the former aggregator"):
        publish_reference(session(tmp_path, path))
    with pytest.raises(ConfigError, match=f"{artifact_id(REFERENCE)}, as aggregator.reference"):
        publish_reference(session(tmp_path, None))


def test_another_reference_than_agreed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "reference.safetensors"
    path.write_bytes(encode({}))
    with pytest.raises(WrongReference):
        publish_reference(session(tmp_path, path))


def test_a_reference_without_an_agreed_router_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="remove the setting"):
        publish_reference(session(tmp_path, tmp_path / "any", statistics=None))
