"""Content-addressed files: an artifact is stored under the SHA-256 of its bytes."""

from __future__ import annotations

import errno
import re
from pathlib import Path

import fsspec
from fsspec.implementations.local import LocalFileSystem

from rescind.core.artifact import artifact_id
from rescind.core.errors import StoreError
from rescind.core.files import write_atomically

_ID = re.compile(r"^[0-9a-f]{64}$")


class StoreFull(StoreError):
    code = "store-full"


class StoreMissing(StoreError):
    code = "store-missing"


class StoreCorrupt(StoreError):
    code = "store-corrupt"


class ArtifactStore:
    """A folder by path, or any fsspec URL (`s3://bucket/prefix`).

    Every read is checked against the id. A local write is complete or absent: it goes to a
    temporary file, is flushed to the disk and renamed.
    """

    def __init__(self, url: str | Path) -> None:
        self._filesystem, path = fsspec.core.url_to_fs(str(url))
        self._root = path.rstrip("/")
        self._local = isinstance(self._filesystem, LocalFileSystem)
        self._filesystem.makedirs(self._root, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Store and return the id. Raises StoreFull when the disk has no room."""
        digest = artifact_id(data)
        if self.has(digest):
            return digest
        try:
            self._write(self._path(digest), data)
        except OSError as error:
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise StoreFull(
                    f"no room for {len(data)} bytes under {self._root}: free some disk and retry"
                ) from error
            raise StoreError(f"cannot write {self._path(digest)}: {error}") from error
        return digest

    def get(self, digest: str) -> bytes:
        """Raises StoreMissing, or StoreCorrupt when the stored bytes are not those of the id."""
        path = self._path(digest)
        try:
            data: bytes = self._filesystem.cat_file(path)
        except FileNotFoundError as error:
            raise StoreMissing(f"artifact {digest} is not in the store {self._root}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        found = artifact_id(data)
        if found != digest:
            raise StoreCorrupt(
                f"{path} hashes to {found}, not to its name: the file was changed or the disk "
                "is failing; delete it and fetch the artifact again"
            )
        return data

    def has(self, digest: str) -> bool:
        return bool(self._filesystem.isfile(self._path(digest)))

    def missing(self, digests: list[str]) -> list[str]:
        return [digest for digest in digests if not self.has(digest)]

    def ids(self) -> list[str]:
        names = (path.rsplit("/", 1)[-1] for path in self._filesystem.find(self._root))
        return sorted(name for name in names if _ID.match(name))

    def delete(self, digest: str) -> None:
        """Forget an artifact; nothing happens when it is not there."""
        if self.has(digest):
            self._filesystem.rm_file(self._path(digest))

    def _path(self, digest: str) -> str:
        if not _ID.match(digest):
            raise StoreError(f"{digest!r} is not an artifact id (64 lowercase hexadecimal digits)")
        return f"{self._root}/{digest[:2]}/{digest}"

    def _write(self, path: str, data: bytes) -> None:
        if not self._local:
            self._filesystem.pipe_file(path, data)
            return
        target = Path(path)
        target.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(target, data)
