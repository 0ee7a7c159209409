"""A file of a node's own store that was damaged before it is sent."""

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.core import ArtifactStore, StoreCorrupt
from rescind.core.mapped import Bytes
from rescind.node.exchange import deliver
from rescind.wire import SizedArtifact, WrongHash
from tests.support.stored_files import damage


class Aggregator:
    """Takes uploads, and refuses to take those that are submitted first."""

    def __init__(self, refusals: int) -> None:
        self.refusals, self.sent_bytes = refusals, 0
        self.uploads: list[tuple[str, bool]] = []

    def upload(self, data: Bytes, like: Bytes | None = None, *, artifact_id: str) -> SizedArtifact:
        self.uploads.append((artifact_id, like is not None))
        return SizedArtifact(artifact_id, len(data))

    def submit(self, _: SizedArtifact) -> None:
        self.refusals -= 1
        if self.refusals >= 0:
            raise WrongHash("the bytes are another artifact")


def send(tmp_path: Path, *, damaged: bool, like: bytes | None) -> tuple[Aggregator, Any]:
    store = ArtifactStore(tmp_path, mends=True)
    artifact = store.put(b"an update" * 1000)
    if damaged:
        damage(tmp_path, artifact)
    aggregator = Aggregator(refusals=1)
    session: Any = SimpleNamespace(store=store, client=aggregator)
    expected = StoreCorrupt if damaged else WrongHash
    if damaged or like is None:
        with pytest.raises(expected):
            deliver(session, artifact, like, aggregator.submit)
    else:
        deliver(session, artifact, like, aggregator.submit)
    return aggregator, store.has(artifact)


@pytest.mark.parametrize("like", [None, b"an earlier update"])
def test_it_is_refused_as_damaged_and_deleted(tmp_path: Path, like: bytes | None) -> None:
    aggregator, kept = send(tmp_path, damaged=True, like=like)
    assert len(aggregator.uploads) == 1
    assert not kept


def test_a_whole_file_is_sent_again_without_what_the_aggregator_copied(tmp_path: Path) -> None:
    aggregator, kept = send(tmp_path, damaged=False, like=b"an earlier update")
    assert [copied for _, copied in aggregator.uploads] == [True, False]
    assert kept


def test_a_whole_file_that_was_sent_whole_is_not_sent_again(tmp_path: Path) -> None:
    aggregator, kept = send(tmp_path, damaged=False, like=None)
    assert len(aggregator.uploads) == 1
    assert kept
