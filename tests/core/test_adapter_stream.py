"""Adapters that are summed a few tensors at a time, and files that are mapped and not read."""

import errno
import mmap
from io import BytesIO
from pathlib import Path
from typing import Any

import fsspec
import numpy as np
import pytest

from rescind.core import (
    ArtifactStore,
    StoreCorrupt,
    StoreMissing,
    Term,
    adapter_totals,
    encode,
    encoded_id,
)
from rescind.core.adapter_stream import adapter_bytes
from rescind.core.mapped import map_copy, map_file

SHAPES = {"a": (3, 5), "b": (7,), "c": (4, 4), "empty": (0, 9)}
OWNERS = ("0xaa", "0xbb")


@pytest.mark.parametrize("group_bytes", [1, 150, 10**6])
def test_pieces_come_to_the_bytes_of_the_whole_sum(tmp_path: Path, group_bytes: int) -> None:
    store, dice, groups = ArtifactStore(tmp_path), np.random.default_rng(0), {}
    for owner in OWNERS:
        deltas = [
            {f"{owner}/{n}": dice.integers(-99, 99, s).astype(np.int32) for n, s in SHAPES.items()}
            for _ in range(3)
        ]
        groups[owner] = [Term(n, owner, store.put(encode(d)), 7 + n) for n, d in enumerate(deltas)]
    loaded: list[str] = []

    def reload(artifact: str) -> Any:
        loaded.append(artifact)
        return store.load(artifact, check=False)

    data = b"".join(adapter_bytes(groups, SHAPES, store.load, reload, group_bytes=group_bytes))
    totals = adapter_totals([term for terms in groups.values() for term in terms], store.load)
    assert data == encode(totals)
    assert encoded_id(totals) == store.put(data)
    assert bool(loaded) == (group_bytes < 10**6)


@pytest.mark.parametrize("size", [0, 10, 3 * 2**20])
def test_mapped_bytes_are_those_of_the_file_and_stay_when_it_goes(
    tmp_path: Path, size: int
) -> None:
    content = np.random.default_rng(1).bytes(size)
    path = tmp_path / "file"
    path.write_bytes(content)
    data = map_file(path)
    path.unlink()
    assert data == content
    assert map_copy(BytesIO(content)) == content


def test_a_process_without_descriptors_left_reads_the_file(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def none_left(*_: object, **__: object) -> None:
        raise OSError(errno.EMFILE, "Too many open files")

    monkeypatch.setattr(mmap, "mmap", none_left)
    path = tmp_path / "file"
    path.write_bytes(bytes(2**21))
    assert map_file(path) == bytes(2**21)


def test_tensors_of_a_store_are_views_of_its_file(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.put(encode({"w": np.arange(2**19)}))
    tensors = store.load(artifact)
    assert not tensors["w"].flags.writeable
    assert not tensors["w"].flags.owndata
    store.delete(artifact)
    assert tensors["w"][-1] == 2**19 - 1


def test_a_view_is_checked_against_the_id(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    artifact = store.put(b"some bytes")
    (tmp_path / artifact[:2] / artifact).write_bytes(b"more bytes")
    with pytest.raises(StoreCorrupt, match="not to its name"):
        store.view(artifact)
    with pytest.raises(StoreMissing, match="is not in the store"):
        store.view("ab" * 32)


def test_a_store_that_is_not_on_this_disk_is_viewed_by_a_copy() -> None:
    store = ArtifactStore("memory://viewed")
    artifact = store.put(encode({"w": np.arange(2**18)}))
    assert store.view(artifact) == store.get(artifact)
    assert store.load(artifact)["w"][7] == 7
    with pytest.raises(StoreMissing, match="is not in the store"):
        store.view("ab" * 32)
    fsspec.filesystem("memory").rm("/viewed", recursive=True)
