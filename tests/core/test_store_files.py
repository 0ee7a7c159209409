"""Files that a store takes over, and ranges that it reads."""

import errno
from pathlib import Path
from typing import Any

import pytest

from rescind.core import ArtifactStore, StoreFull, StoreMissing, artifact_id

DATA = bytes(range(256)) * 16
ID = artifact_id(DATA)


@pytest.fixture
def upload(tmp_path: Path) -> Path:
    path = tmp_path / "upload"
    path.write_bytes(DATA)
    return path


def test_a_file_is_moved_into_the_store(upload: Path, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / "store")
    store.adopt(upload, ID)
    assert store.get(ID) == DATA
    assert not upload.exists()


def test_a_file_is_copied_to_another_disk_or_a_remote_store(
    upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rename = Path.rename

    def across(path: Path, target: Any) -> Path:
        if path == upload:
            raise OSError(errno.EXDEV, "Invalid cross-device link")
        return rename(path, target)

    monkeypatch.setattr(Path, "rename", across)
    for url in (tmp_path / "store", "memory://adopted"):
        upload.write_bytes(DATA)
        store = ArtifactStore(url)
        store.adopt(upload, ID)
        assert store.get(ID) == DATA
        assert store.ids() == [ID]
        assert not upload.exists()


def test_a_full_disk_loses_no_upload(
    upload: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    store = ArtifactStore(tmp_path / "store")

    def full(*_: object) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", full)
        with pytest.raises(StoreFull, match="free some disk"):
            store.adopt(upload, ID)
    assert upload.read_bytes() == DATA
    assert not store.has(ID)


@pytest.mark.parametrize("url", ["store", "memory://ranges"])
def test_a_range_is_read_without_the_rest(url: str, tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path / url if "://" not in url else url)
    store.put(DATA)
    for offset, length in ((0, 10), (4090, 10), (4096, 1), (2**62, 5)):
        assert store.read(ID, offset, length) == (DATA[offset : offset + length], len(DATA))
    with pytest.raises(StoreMissing):
        store.read("ab" * 32, 0, 1)
