"""Uploads in progress: quotas, ownership, order, restarts and a full disk. No chain, no network."""

import errno
import threading
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from rescind.aggregator.uploads import Quotas, Uploads
from rescind.core import ArtifactStore, StoreFull
from rescind.wire import BadMessage, SizedArtifact, TooManyUploads, WrongHash, WrongPhase

ALICE, MALLORY = "0x" + "aa" * 20, "0x" + "bb" * 20
DATA = bytes(range(256)) * 4096  # 1 MiB
ARTIFACT = SizedArtifact.of(DATA)
QUOTAS = Quotas(
    member_files=2, member_bytes=3 * 2**20, files=3, bytes=4 * 2**20, idle_seconds=100.0
)


class Clock:
    def __init__(self) -> None:
        import time

        self.now = time.time()

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def uploads(tmp_path: Path, clock: Clock) -> Uploads:
    return Uploads(tmp_path / "uploads", QUOTAS, clock)


def begin(
    uploads: Uploads, organization: str, artifact: SizedArtifact, purpose: str = "offer"
) -> int:
    return uploads.begin(organization, artifact, purpose, 1)


def put_all(uploads: Uploads, organization: str, data: bytes, piece: int = 2**18) -> None:
    artifact_id = SizedArtifact.of(data).artifact_id
    for offset in range(0, len(data), piece):
        uploads.put(organization, artifact_id, offset, data[offset : offset + piece])


def files(tmp_path: Path) -> list[Path]:
    return [each for each in (tmp_path / "uploads").rglob("*") if each.is_file()]


def test_an_upload_is_complete_when_its_bytes_hash_to_its_id(
    uploads: Uploads, tmp_path: Path
) -> None:
    assert begin(uploads, ALICE, ARTIFACT) == 0
    put_all(uploads, ALICE, DATA)
    assert begin(uploads, ALICE, ARTIFACT) == len(DATA)
    store = ArtifactStore(tmp_path / "store")
    store.adopt(uploads.finish(ALICE, ARTIFACT), ARTIFACT.artifact_id)
    uploads.drop(ALICE, ARTIFACT.artifact_id)
    assert store.get(ARTIFACT.artifact_id) == DATA
    assert not files(tmp_path)


def test_pieces_that_overtake_each_other_are_put_in_order(uploads: Uploads) -> None:
    begin(uploads, ALICE, ARTIFACT)
    offsets = list(range(0, len(DATA), 2**18))
    with ThreadPoolExecutor(4) as pool:
        replies = [
            pool.submit(uploads.put, ALICE, ARTIFACT.artifact_id, n, DATA[n : n + 2**18])
            for n in reversed(offsets)
        ]
    assert max(reply.result() for reply in replies) == len(DATA)
    assert uploads.finish(ALICE, ARTIFACT).read_bytes() == DATA


def test_pieces_of_many_threads_are_hashed_in_order(uploads: Uploads) -> None:
    begin(uploads, ALICE, ARTIFACT)
    offsets = list(range(0, len(DATA), 2**12))

    def put(offset: int) -> int:
        return uploads.put(ALICE, ARTIFACT.artifact_id, offset, DATA[offset : offset + 2**12])

    # As many at a time as a sender may have, and some of them twice.
    with ThreadPoolExecutor(4) as pool:
        held = list(pool.map(put, [each for offset in offsets for each in (offset, offset)]))
    assert max(held) == len(DATA)
    assert uploads.finish(ALICE, ARTIFACT).read_bytes() == DATA


def test_a_repeated_or_overlapping_piece_changes_nothing(uploads: Uploads) -> None:
    begin(uploads, ALICE, ARTIFACT)
    assert uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA[:1000]) == 1000
    assert uploads.put(ALICE, ARTIFACT.artifact_id, 0, b"x" * 1000) == 1000
    assert uploads.put(ALICE, ARTIFACT.artifact_id, 500, b"x" * 500 + DATA[1000:]) == len(DATA)
    assert uploads.finish(ALICE, ARTIFACT).read_bytes() == DATA


def test_no_one_can_write_delete_or_learn_of_anothers_bytes(uploads: Uploads) -> None:
    begin(uploads, ALICE, ARTIFACT)
    uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA[: 2**19])
    with pytest.raises(WrongPhase, match="begin it first"):
        uploads.put(MALLORY, ARTIFACT.artifact_id, 0, b"x")
    assert begin(uploads, MALLORY, ARTIFACT) == 0
    uploads.put(MALLORY, ARTIFACT.artifact_id, 0, b"x" * len(DATA))
    with pytest.raises(WrongHash):
        uploads.finish(MALLORY, ARTIFACT)
    uploads.drop(MALLORY, ARTIFACT.artifact_id)
    uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA)
    assert uploads.finish(ALICE, ARTIFACT).read_bytes() == DATA


def test_an_upload_without_all_bytes_is_not_complete(uploads: Uploads) -> None:
    with pytest.raises(BadMessage, match="0 of 1048576 bytes"):
        uploads.finish(ALICE, ARTIFACT)
    begin(uploads, ALICE, ARTIFACT)
    uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA[:10])
    with pytest.raises(BadMessage, match="10 of 1048576 bytes"):
        uploads.finish(ALICE, ARTIFACT)


@pytest.mark.parametrize(("offset", "length"), [(2**20, 1), (2**62, 1), (0, 2**20 + 1)])
def test_a_piece_beyond_the_announced_size_is_refused_and_takes_no_disk(
    uploads: Uploads, tmp_path: Path, offset: int, length: int
) -> None:
    begin(uploads, ALICE, ARTIFACT)
    with pytest.raises(BadMessage, match="does not fit"):
        uploads.put(ALICE, ARTIFACT.artifact_id, offset, bytes(length))
    assert sum(each.stat().st_size for each in files(tmp_path)) < 1000


def test_quotas_are_checked_against_announced_sizes(uploads: Uploads, tmp_path: Path) -> None:
    def named(number: int, size: int = 2**20) -> SizedArtifact:
        return SizedArtifact(f"{number:064x}", size)

    with pytest.raises(TooManyUploads, match=f"of {ALICE} "):
        begin(uploads, ALICE, named(1, 3 * 2**20 + 1))
    begin(uploads, ALICE, named(1), "update")
    begin(uploads, ALICE, named(2), "offer")
    with pytest.raises(TooManyUploads, match=f"2 uploads of {ALICE} "):
        begin(uploads, ALICE, named(3), "contribution")
    # Bytes of all: 4 MiB.
    with pytest.raises(TooManyUploads, match="2 uploads with"):
        begin(uploads, MALLORY, named(4, 2 * 2**20 + 1))
    begin(uploads, MALLORY, named(4), "update")
    with pytest.raises(TooManyUploads, match="3 uploads with"):
        begin(uploads, MALLORY, named(5), "offer")
    # A refused one has taken nothing, and a dropped one makes room.
    uploads.drop(ALICE, named(1).artifact_id)
    begin(uploads, MALLORY, named(5), "offer")
    assert len([each for each in files(tmp_path) if each.suffix == ""]) == 3


def test_a_later_upload_for_the_same_purpose_takes_the_place_of_the_earlier(
    uploads: Uploads, clock: Clock, tmp_path: Path
) -> None:
    for number in range(10):
        clock.now += 1
        uploads.begin(ALICE, SizedArtifact(f"{number:064x}", 100), "round/5", 1)
    assert {each.stem for each in files(tmp_path)} == {f"{9:064x}"}


def test_uploads_end_with_their_round_and_when_they_are_idle(
    uploads: Uploads, clock: Clock, tmp_path: Path
) -> None:
    begin(uploads, ALICE, ARTIFACT, "round/5")
    begin(uploads, MALLORY, ARTIFACT, "round/6")
    uploads.end_purposes(lambda purpose: purpose == "round/5")
    with pytest.raises(WrongPhase):
        uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA)
    uploads.put(MALLORY, ARTIFACT.artifact_id, 0, DATA[:10])
    clock.now += 101
    begin(uploads, ALICE, ARTIFACT)
    with pytest.raises(WrongPhase):
        uploads.put(MALLORY, ARTIFACT.artifact_id, 10, DATA[10:])
    assert {each.parent.name for each in files(tmp_path)} == {ALICE}


def test_an_upload_goes_on_after_a_restart(uploads: Uploads, tmp_path: Path) -> None:
    begin(uploads, ALICE, ARTIFACT)
    uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA[:500_000])
    again = Uploads(tmp_path / "uploads", QUOTAS)
    assert begin(again, ALICE, ARTIFACT) == 500_000
    again.put(ALICE, ARTIFACT.artifact_id, 500_000, DATA[500_000:])
    assert again.finish(ALICE, ARTIFACT).read_bytes() == DATA


def test_a_start_deletes_what_is_stale_or_no_upload(
    uploads: Uploads, clock: Clock, tmp_path: Path
) -> None:
    begin(uploads, ALICE, ARTIFACT)
    (tmp_path / "uploads" / "stray").write_bytes(b"x")
    (tmp_path / "uploads" / ALICE / "damaged.json").write_bytes(b"{")
    (tmp_path / "uploads" / ALICE / "damaged").write_bytes(b"x")
    again = Uploads(tmp_path / "uploads", QUOTAS, clock)
    assert {each.stem for each in files(tmp_path)} == {ARTIFACT.artifact_id}
    assert begin(again, ALICE, ARTIFACT) == 0
    clock.now += 1000
    Uploads(tmp_path / "uploads", QUOTAS, clock)
    assert not files(tmp_path)


def test_a_full_disk_is_a_clear_error_and_loses_nothing(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch
) -> None:
    begin(uploads, ALICE, ARTIFACT)
    uploads.put(ALICE, ARTIFACT.artifact_id, 0, DATA[:1000])
    opened = Path.open

    def full(path: Path, mode: str = "r", *args: Any, **options: Any) -> Any:
        if "+" in mode:
            raise OSError(errno.ENOSPC, "No space left on device")
        return opened(path, mode, *args, **options)

    with monkeypatch.context() as patched:
        patched.setattr(Path, "open", full)
        with pytest.raises(StoreFull, match="goes on where it is"):
            uploads.put(ALICE, ARTIFACT.artifact_id, 1000, DATA[1000:])
    assert uploads.put(ALICE, ARTIFACT.artifact_id, 1000, DATA[1000:]) == len(DATA)
    assert uploads.finish(ALICE, ARTIFACT).read_bytes() == DATA


def test_an_upload_that_the_disk_has_no_room_for_is_refused_before_it_begins(
    uploads: Uploads, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    free = type("Usage", (), {"free": 64 * 2**20 + len(DATA) - 1})
    monkeypatch.setattr("shutil.disk_usage", lambda _: free)
    with pytest.raises(StoreFull, match="no room for 1048576 bytes"):
        begin(uploads, ALICE, ARTIFACT)
    assert not files(tmp_path)


def test_a_piece_that_waits_for_its_turn_ends_with_its_upload(uploads: Uploads) -> None:
    begin(uploads, ALICE, ARTIFACT)
    refused: list[Exception] = []

    def put_ahead() -> None:
        try:
            uploads.put(ALICE, ARTIFACT.artifact_id, 100, DATA[100:])
        except WrongPhase as error:
            refused.append(error)

    waiting = threading.Thread(target=put_ahead)
    waiting.start()
    uploads.drop(ALICE, ARTIFACT.artifact_id)
    waiting.join(30)
    assert len(refused) == 1
