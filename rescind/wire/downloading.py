"""The receiving side of a download: what came already is kept, so that a download goes on later."""

from __future__ import annotations

import errno
import hashlib
import time
from pathlib import Path
from typing import Protocol

from rescind.core import StoreFull, append_private, make_private_folder
from rescind.core.errors import StoreError
from rescind.wire.errors import WrongHash

_STALE_SECONDS = 7 * 86_400
"""Age at which a part that was never completed is deleted."""


class Part(Protocol):
    """The bytes of an artifact that came already, from the first."""

    size: int

    def append(self, data: bytes) -> None:
        """Add the next bytes."""

    def take(self) -> bytes:
        """Return the bytes, and forget them."""


class _InMemory:
    def __init__(self) -> None:
        self.size, self._pieces = 0, bytearray()

    def append(self, data: bytes) -> None:
        self._pieces += data
        self.size += len(data)

    def take(self) -> bytes:
        data, self._pieces = bytes(self._pieces), bytearray()
        return data


class _InFile:
    def __init__(self, path: Path) -> None:
        self._path = path
        self.size = path.stat().st_size if path.is_file() else 0

    def append(self, data: bytes) -> None:
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

    def take(self) -> bytes:
        data = self._path.read_bytes() if self.size else b""
        self._path.unlink(missing_ok=True)
        return data


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


def complete(artifact_id: str, part: Part) -> bytes:
    """Return the bytes of a complete part, and forget it.

    Raises:
        WrongHash: They are not those of the artifact.
    """
    data = part.take()
    digest = hashlib.sha256(data).hexdigest()
    if digest != artifact_id:
        raise WrongHash(
            f"what was downloaded as artifact {artifact_id} hashes to {digest}: it is another "
            "artifact"
        )
    return data
