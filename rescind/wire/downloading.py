"""The receiving side of a download: what came already is kept, so that a download goes on later."""

from __future__ import annotations

import errno
import hashlib
import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from rescind.core import ArtifactStore, StoreFull, append_private, make_private_folder
from rescind.core.errors import StoreError
from rescind.core.mapped import Bytes
from rescind.wire.errors import WrongHash
from rescind.wire.transfer import MOST_PIECE_BYTES

_STALE_SECONDS = 7 * 86_400
"""Age at which a part that was never completed is deleted."""


@dataclass(frozen=True)
class HeldBytes:
    """Bytes of an artifact that its receiver has already.

    Attributes:
        begin: Where in the artifact they begin.
        data: The bytes, in memory or in a mapped file.
    """

    begin: int
    data: Bytes

    @property
    def end(self) -> int:
        """The offset behind them."""
        return self.begin + len(self.data)


class Part(Protocol):
    """The bytes of an artifact that came already, from the first."""

    size: int

    def append(self, data: Bytes) -> None:
        """Add the next bytes."""

    def first(self, count: int) -> bytes:
        """Return the first bytes."""

    def sha256(self) -> str:
        """Return the hash of all bytes."""

    def take(self) -> bytes:
        """Return the bytes, and forget them."""

    def drop(self) -> None:
        """Forget the bytes."""

    def move(self, store: ArtifactStore, artifact_id: str) -> None:
        """Move the bytes, whose hash was checked, into a store."""


class _InMemory:
    def __init__(self) -> None:
        self.size, self._bytes = 0, bytearray()

    def append(self, data: Bytes) -> None:
        self._bytes += data
        self.size += len(data)

    def first(self, count: int) -> bytes:
        return bytes(self._bytes[:count])

    def sha256(self) -> str:
        return hashlib.sha256(self._bytes).hexdigest()

    def take(self) -> bytes:
        data = bytes(self._bytes)
        self.drop()
        return data

    def drop(self) -> None:
        self.size, self._bytes = 0, bytearray()

    def move(self, store: ArtifactStore, artifact_id: str) -> None:  # noqa: ARG002 (it is their hash)
        store.put(self.take())


class _InFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size if path.is_file() else 0

    def append(self, data: Bytes) -> None:
        try:
            with append_private(self._path) as file:
                file.write(data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(
                    f"there is no room under {self._path.parent}: free some disk. The download goes "
                    "on where it is."
                ) from error
            raise StoreError(f"cannot write {self._path}: {error}") from error
        self.size += len(data)

    def first(self, count: int) -> bytes:
        with self._path.open("rb") as file:
            return file.read(count)

    def sha256(self) -> str:
        if not self.size:
            return hashlib.sha256().hexdigest()
        with self._path.open("rb") as file:
            return hashlib.file_digest(file, "sha256").hexdigest()

    def take(self) -> bytes:
        data = self._path.read_bytes() if self.size else b""
        self.drop()
        return data

    def drop(self) -> None:
        self._path.unlink(missing_ok=True)
        self.size = 0

    def move(self, store: ArtifactStore, artifact_id: str) -> None:
        with self._path.open("rb") as file:
            os.fsync(file.fileno())
        store.adopt(self._path, artifact_id)
        self.size = 0


class Downloads:
    """Where the parts of unfinished downloads are.

    Args:
        folder: Keeps them over a restart; None keeps them nowhere.
    """

    def __init__(self, folder: Path | None) -> None:
        self._folder = folder
        if folder is not None:
            make_private_folder(folder)
            for path in folder.iterdir():
                if time.time() - path.stat().st_mtime > _STALE_SECONDS:
                    path.unlink(missing_ok=True)

    def part(self, artifact_id: str) -> Part:
        """Return what came already of an artifact."""
        return _InMemory() if self._folder is None else _InFile(self._folder / artifact_id)


def next_held(held: Sequence[HeldBytes], position: int, size: int) -> tuple[Bytes, int]:
    """Return held bytes from a position on, a piece at most, and how many bytes to fetch if none.

    Args:
        held: The bytes that the receiver has, in any order.
        position: Bytes of the artifact that are there.
        size: Bytes to be there at the end.
    """
    for each in held:
        if each.begin <= position < each.end:
            begin = position - each.begin
            return each.data[begin : begin + MOST_PIECE_BYTES], 0
    return b"", min((h.begin for h in held if h.begin > position), default=size) - position


def check_complete(artifact_id: str, part: Part) -> None:
    """Check that a part is an artifact, and forget it if it is another.

    Raises:
        WrongHash: It is not.
    """
    digest = part.sha256()
    if digest != artifact_id:
        part.drop()
        raise WrongHash(
            f"what was downloaded as artifact {artifact_id} hashes to {digest}: it is another "
            "artifact"
        )
