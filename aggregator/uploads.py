"""Uploads in progress: files of their senders, bounded by quotas, resumed after a restart.

Each upload is a file in the sender's own folder, as long as what is held of it. No call names
another organization's file, so no organization can write or delete another's bytes.
"""

from __future__ import annotations

import errno
import hashlib
import json
import os
import shutil
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import structlog

from rescind.core import StoreFull, make_private_folder, write_private
from rescind.core.errors import StoreError
from rescind.core.mapped import Bytes
from rescind.wire import BadMessage, SizedArtifact, TooManyUploads, WrongHash, WrongPhase

_AHEAD_BYTES = 16 * 2**20
"""How far behind what is held a piece may begin that waits for the pieces before it."""

_TURN_SECONDS = 5.0
"""Time for which it waits. Pieces that are under way together overtake each other by little."""

_SPARE_BYTES = 64 * 2**20
"""Disk that uploads leave free, for the journal and for models."""


@dataclass(frozen=True)
class Quotas:
    """Limits of uploads in progress, by their announced sizes.

    Attributes:
        member_files: Uploads of an organization.
        member_bytes: Their bytes together.
        files: Uploads of all organizations.
        bytes: Their bytes together; the free disk bounds them too.
        idle_seconds: Time without a piece after which an upload is deleted.
    """

    member_files: int
    member_bytes: int
    files: int
    bytes: int
    idle_seconds: float


class _RunningHash:
    """The SHA-256 of pieces in their order, kept up by the threads that received them."""

    def __init__(self) -> None:
        self._hash, self._hashed = hashlib.sha256(), 0
        self._turn = threading.Condition()

    def update(self, begin: int, data: memoryview) -> None:
        """Add the piece that begins at an offset, after the pieces before it."""
        with self._turn:
            self._turn.wait_for(lambda: self._hashed == begin)
            self._hash.update(data)
            self._hashed += len(data)
            self._turn.notify_all()

    def digest_of(self, length: int) -> str:
        """Return the SHA-256 in hexadecimal, once all of so many bytes are added."""
        with self._turn:
            self._turn.wait_for(lambda: self._hashed == length)
            return self._hash.hexdigest()


@dataclass
class _Upload:
    """An upload. `turn` guards what changes while pieces arrive."""

    organization: str
    artifact: SizedArtifact
    purpose: str
    path: Path
    touched: float
    held: int = 0
    hash: _RunningHash | None = None
    ended: bool = False
    turn: threading.Condition = field(default_factory=threading.Condition)

    @property
    def note(self) -> Path:
        return self.path.with_suffix(".json")


class Uploads:
    """The uploads in progress of all organizations.

    No method asks the chain, and locks are held only for work on memory and a single file.

    Args:
        folder: Where their files are. Those of an earlier run are taken over; files that do not
            belong to an upload, or were idle for too long, are deleted.
        quotas: What they may use.
        clock: Unix seconds.
    """

    def __init__(
        self, folder: Path, quotas: Quotas, clock: Callable[[], float] = time.time
    ) -> None:
        self._folder, self._quotas, self._clock = folder, quotas, clock
        self._lock = threading.Lock()
        self._open: dict[tuple[str, str], _Upload] = {}
        make_private_folder(folder)
        self._load()

    def begin(self, organization: str, artifact: SizedArtifact, purpose: str, slots: int) -> int:
        """Begin or resume an upload, and return how many of its bytes are held.

        Args:
            organization: EIP-55 address of the sender.
            artifact: What is uploaded.
            purpose: What it is for. Further uploads of the sender for the same purpose take the
                place of its oldest.
            slots: Uploads that the sender may have for the purpose.

        Raises:
            TooManyUploads: A quota is used up.
            StoreFull: The disk has no room for it.
        """
        self.end(lambda each: self._clock() - each.touched > self._quotas.idle_seconds)
        with self._lock:
            upload = self._open.get((organization, artifact.artifact_id))
            if upload is not None and upload.artifact == artifact:
                upload.touched, upload.purpose = self._clock(), purpose
                return upload.held
            if upload is not None:
                self._end(upload)
            own = [each for each in self._open.values() if each.organization == organization]
            same = sorted((u for u in own if u.purpose == purpose), key=lambda each: each.touched)
            for each in same[: max(len(same) - slots + 1, 0)]:
                self._end(each)
            self._check_quotas(organization, artifact.size)
            self._add(organization, artifact, purpose)
            return 0

    def put(self, organization: str, artifact_id: str, offset: int, data: Bytes) -> int:
        """Add a piece to an upload of the sender, and return how many bytes are held.

        A piece that is held already changes nothing. One that begins behind what is held waits a
        moment for those before it, and is dropped if they do not come.

        Raises:
            WrongPhase: The sender has no such upload.
            BadMessage: The piece goes beyond the announced size, or is far ahead.
            StoreFull: The disk is full. What is held stays.
        """
        upload = self._of(organization, artifact_id)
        if offset + len(data) > upload.artifact.size or offset > upload.held + _AHEAD_BYTES:
            raise BadMessage(
                f"a piece of {len(data)} bytes at {offset} does not fit: {upload.held} of "
                f"{upload.artifact.size} bytes are held"
            )
        with upload.turn:
            upload.turn.wait_for(lambda: upload.held >= offset or upload.ended, _TURN_SECONDS)
            if upload.ended:
                raise self._no_upload(organization, artifact_id)
            upload.touched, begin = self._clock(), upload.held
            fresh = memoryview(data)[begin - offset :] if offset <= begin else memoryview(b"")
            if fresh:
                self._append(upload, fresh)
                upload.turn.notify_all()
            held = upload.held
        if fresh and upload.hash is not None:
            # The next piece is written meanwhile.
            upload.hash.update(begin, fresh)
        return held

    def finish(self, organization: str, artifact: SizedArtifact) -> Path:
        """Return the file of a complete upload, flushed to the disk. The upload stays until `drop`.

        Raises:
            BadMessage: Bytes are missing, or there is no such upload.
            WrongHash: The bytes are another artifact; the upload is deleted.
        """
        artifact_id = artifact.artifact_id
        with self._lock:
            upload = self._open.get((organization, artifact_id))
        held = upload.held if upload else 0
        if upload is None or held < artifact.size:
            raise BadMessage(
                f"{held} of {artifact.size} bytes of artifact {artifact_id} were uploaded: upload "
                "it before you submit it"
            )
        with upload.turn:
            digest = _hash_of(upload)
            if upload.artifact == artifact and digest == artifact_id:
                _flush(upload.path)
                return upload.path
        self.drop(organization, artifact_id)
        raise WrongHash(
            f"the {upload.held} bytes uploaded as artifact {artifact_id} hash to {digest}"
        )

    def drop(self, organization: str, artifact_id: str) -> None:
        """Forget an upload of the sender, and delete what is left of its file."""
        self.end(lambda u: (u.organization, u.artifact.artifact_id) == (organization, artifact_id))

    def end_purposes(self, is_over: Callable[[str], bool]) -> None:
        """Delete the uploads whose purpose is over."""
        self.end(lambda upload: is_over(upload.purpose))

    def end(self, chosen: Callable[[Any], bool]) -> None:
        """Delete some of the uploads."""
        with self._lock:
            for upload in [each for each in self._open.values() if chosen(each)]:
                self._end(upload)

    def _of(self, organization: str, artifact_id: str) -> _Upload:
        with self._lock:
            upload = self._open.get((organization, artifact_id))
        if upload is None:
            raise self._no_upload(organization, artifact_id)
        return upload

    @staticmethod
    def _no_upload(organization: str, artifact_id: str) -> WrongPhase:
        return WrongPhase(
            f"{organization} has no upload of artifact {artifact_id} in progress: begin it first"
        )

    def _check_quotas(self, organization: str, size: int) -> None:
        quotas, everything = self._quotas, list(self._open.values())
        own = [each for each in everything if each.organization == organization]
        for uploads, files, most, sender in (
            (own, quotas.member_files, quotas.member_bytes, f"of {organization} "),
            (everything, quotas.files, quotas.bytes, ""),
        ):
            announced = sum(each.artifact.size for each in uploads)
            if len(uploads) >= files or announced + size > most:
                raise TooManyUploads(
                    f"{len(uploads)} uploads {sender}with {announced} bytes are in progress, at most "
                    f"{files} with {most} bytes are allowed: finish one first, or wait"
                )
        expected = sum(each.artifact.size - each.held for each in everything)
        if shutil.disk_usage(self._folder).free < expected + size + _SPARE_BYTES:
            raise StoreFull(
                f"the aggregator's disk has no room for {size} bytes. Its operator must free some."
            )

    def _add(self, organization: str, artifact: SizedArtifact, purpose: str) -> None:
        path = self._folder / organization / artifact.artifact_id
        upload = _Upload(organization, artifact, purpose, path, self._clock(), hash=_RunningHash())
        note = json.dumps({"size": artifact.size, "purpose": purpose}).encode()
        try:
            make_private_folder(path.parent)
            write_private(upload.note, note)
            write_private(path, b"")
        except OSError as error:
            raise _failure(path, error) from error
        self._open[organization, artifact.artifact_id] = upload

    def _append(self, upload: _Upload, data: memoryview) -> None:
        try:
            with upload.path.open("r+b", buffering=0) as file:
                file.seek(upload.held)
                written = 0
                while written < len(data):
                    written += file.write(data[written:])
        except OSError as error:
            # What was written of the piece is not counted, and the next piece writes over it.
            raise _failure(upload.path, error) from error
        upload.held += len(data)

    def _end(self, upload: _Upload) -> None:
        self._open.pop((upload.organization, upload.artifact.artifact_id), None)
        with upload.turn:
            upload.ended = True
            upload.turn.notify_all()
            for path in (upload.note, upload.path):
                path.unlink(missing_ok=True)

    def _load(self) -> None:
        """Take over the uploads of an earlier run."""
        for path in [each for each in self._folder.rglob("*") if each.is_file()]:
            upload = self._read(path) if path.suffix == ".json" else None
            if upload is not None:
                self._open[upload.organization, upload.artifact.artifact_id] = upload
        known = {path for each in self._open.values() for path in (each.path, each.note)}
        for path in [each for each in self._folder.rglob("*") if each.is_file()]:
            if path not in known:
                path.unlink(missing_ok=True)
        if self._open:
            structlog.get_logger().info("uploads taken over", uploads=len(self._open))

    def _read(self, note: Path) -> _Upload | None:
        path = note.with_suffix("")
        try:
            about, stat = json.loads(note.read_bytes()), path.stat()
            artifact = SizedArtifact(path.name, int(about["size"]))
            purpose = str(about["purpose"])
        except (OSError, ValueError, KeyError, TypeError):
            return None
        idle = self._clock() - stat.st_mtime
        if stat.st_size > artifact.size or idle > self._quotas.idle_seconds:
            return None
        # The bytes are hashed when the upload is complete.
        return _Upload(path.parent.name, artifact, purpose, path, stat.st_mtime, stat.st_size)


def _hash_of(upload: _Upload) -> str:
    """Return the SHA-256 of what is held; after a restart the file is read."""
    if upload.hash is None:
        with upload.path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()
    return upload.hash.digest_of(upload.held)


def _flush(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _failure(path: Path, error: OSError) -> StoreError:
    if error.errno in (errno.ENOSPC, errno.EDQUOT):
        return StoreFull(
            f"the aggregator's disk is full under {path.parent}. Its operator must free some; the "
            "upload then goes on where it is."
        )
    return StoreError(f"cannot write {path}: {error}")
