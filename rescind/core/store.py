"""Content-addressed files: an artifact is stored under the SHA-256 of its bytes."""

from __future__ import annotations

import errno
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Any, BinaryIO, TypeVar

import fsspec
from fsspec.implementations.local import LocalFileSystem
from numpy.typing import NDArray

from rescind.core.artifact import artifact_id, check_size, decode
from rescind.core.errors import ArtifactError, StoreError
from rescind.core.files import create_private, make_private_folder, sync_folder, write_private
from rescind.core.mapped import map_copy, map_file
from rescind.core.scan import Scan, scan
from rescind.core.tensor_header import Expected
from rescind.core.tensor_reader import TensorReader

_Hashed = TypeVar("_Hashed", Scan, TensorReader)
_ID = re.compile(r"^[0-9a-f]{64}$")


class StoreFull(StoreError):
    """The disk has no room for an artifact."""

    code = "store-full"


class StoreMissing(StoreError):
    """An artifact is not in the store."""

    code = "store-missing"


class StoreCorrupt(StoreError):
    """The stored bytes of an artifact do not hash to its id."""

    code = "store-corrupt"


class ArtifactStore:
    """A store of artifacts in a local folder or behind any fsspec URL.

    Every read is checked against the id. Tensors are views of the mapped file, so that they take no
    memory of their own, however large the artifact is. A local write is complete or absent, and durable when
    `put` returns.

    Args:
        url: A folder by path, or an fsspec URL such as `s3://bucket/prefix`. It is created if it
            does not exist.
        mends: Whether to delete a file that does not hash to its name when it is read. A daemon then
            fetches or builds the artifact again, as if it had never had it.
    """

    def __init__(self, url: str | Path, *, mends: bool = False) -> None:
        self._mends = mends
        self._filesystem, path = fsspec.core.url_to_fs(str(url))
        self._root = path.rstrip("/")
        self._local = isinstance(self._filesystem, LocalFileSystem)
        if self._local:
            make_private_folder(Path(self._root))
        else:
            self._filesystem.makedirs(self._root, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Store the bytes of an artifact and return its id. A damaged file of it is replaced.

        Raises:
            StoreFull: The disk has no room.
            StoreError: The artifact cannot be written for another reason.
        """
        digest = artifact_id(data)
        if self.has(digest) and self._is_whole(digest):
            return digest
        try:
            self._write(self._path(digest), data)
        except OSError as error:
            what = f"{len(data)} bytes"
            raise self._failure(error, self._path(digest), what) from error
        return digest

    def adopt(self, path: Path, digest: str) -> None:
        """Move a complete file, whose hash was checked, into the store. It replaces one of its id.

        Args:
            path: The file; it is gone afterwards. A file of the store's own disk is not copied.
            digest: The SHA-256 of its bytes.

        Raises:
            StoreFull: The disk has no room.
            StoreError: The artifact cannot be written for another reason.
        """
        target = self._path(digest)
        try:
            if self._local or not self.has(digest):
                self._move(path, target)
            path.unlink(missing_ok=True)
        except OSError as error:
            raise self._failure(error, target, "the artifact") from error

    def read(self, digest: str, offset: int, length: int) -> tuple[bytes, int]:
        """Return a range of an artifact's bytes, which are not checked, and the artifact's size.

        Args:
            digest: The id of the artifact.
            offset: Where the range begins.
            length: Its bytes; fewer are returned at the artifact's end.

        Raises:
            StoreMissing: The artifact is not in the store.
            StoreError: The file cannot be read, or `digest` is not an artifact id.
        """
        path = self._path(digest)
        try:
            size = int(self._filesystem.size(path))
            with self._filesystem.open(path, "rb") as file:
                file.seek(min(offset, size))
                return bytes(file.read(length)), size
        except FileNotFoundError as error:
            raise StoreMissing(f"artifact {digest} is not in the store {self._root}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}") from error

    def get(self, digest: str) -> bytes:
        """Return the bytes of the artifact with an id, in memory: for what is small.

        Raises:
            StoreMissing: The artifact is not in the store.
            StoreCorrupt: The stored bytes do not hash to the id.
            StoreError: The file cannot be read, or `digest` is not an artifact id.
        """
        path = self._path(digest)
        try:
            data: bytes = self._filesystem.cat_file(path)
        except FileNotFoundError as error:
            raise StoreMissing(f"artifact {digest} is not in the store {self._root}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        self._check_id(digest, artifact_id(data))
        return data

    def view(self, digest: str, *, check: bool = True) -> memoryview:
        """Return the bytes of an artifact, mapped: memory does not grow with its size.

        Args:
            digest: The id of the artifact.
            check: Whether to compare the bytes with the id. Only a caller that hashes them itself,
                or checks by other means what it makes of them, passes False.

        Raises:
            StoreError: As `get`.
        """
        path = self._path(digest)
        try:
            if self._local:
                data = map_file(Path(path))
            else:
                with self._open(digest) as file:
                    data = map_copy(file)
        except FileNotFoundError as error:
            raise StoreMissing(f"artifact {digest} is not in the store {self._root}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        if check:
            self._check_id(digest, hashlib.sha256(data).hexdigest())
        return data

    def load(
        self,
        digest: str,
        *,
        max_bytes: int | None = None,
        expected: Expected | None = None,
        check: bool = True,
    ) -> dict[str, NDArray[Any]]:
        """Return the tensors of the artifact with an id, by name, sorted. They are views of the file.

        Args:
            digest: The id of the artifact.
            max_bytes: The largest size to accept; unlimited by default.
            expected: The tensors that it must have, as for `decode`.
            check: Whether to compare the bytes with the id, as for `view`.

        Raises:
            StoreError: As `get`.
            ArtifactError: As `decode`.
        """
        self._check_size(digest, max_bytes)
        data = self.view(digest, check=check)
        return dict(decode(data, max_bytes=max_bytes, expected=expected))

    def load_scanned(
        self, digest: str, *, max_bytes: int | None = None, expected: Expected | None = None
    ) -> tuple[dict[str, NDArray[Any]], Scan]:
        """Return the tensors of an artifact, hashed and digested in one pass over its bytes.

        Args:
            digest: The id of the artifact.
            max_bytes: The largest size to accept; unlimited by default.
            expected: The tensors that it must have, as for `decode`.

        Raises:
            StoreError: As `get`.
            ArtifactError: As `decode`.
        """
        self._check_size(digest, max_bytes)
        data = self.view(digest, check=False)
        scanned = self._hashed(digest, lambda: scan(data, max_bytes=max_bytes, expected=expected))
        return scanned.header.views(data), scanned

    def scan(
        self, digest: str, *, max_bytes: int | None = None, expected: Expected | None = None
    ) -> Scan:
        """Hash and digest an artifact in one pass, in pieces: it is never in memory as a whole.

        Args:
            digest: The id of the artifact.
            max_bytes: The largest size to accept; unlimited by default.
            expected: The tensors that it must have, as for `decode`.

        Raises:
            StoreError: As `get`.
            ArtifactError: As `decode`.
        """

        def read() -> Scan:
            with self._open(digest) as file:
                return scan(file, max_bytes=max_bytes, expected=expected)

        return self._hashed(digest, read)

    @contextmanager
    def open_tensors(self, digest: str) -> Iterator[TensorReader]:
        """Open an artifact whose tensors are read one at a time. Its hash is checked first.

        Args:
            digest: The id of the artifact.

        Raises:
            StoreError: As `get`.
            ArtifactError: As `decode`.
        """
        with self._open(digest) as file:
            yield self._hashed(digest, lambda: TensorReader(file))

    def has(self, digest: str) -> bool:
        """Return whether an artifact is in the store; its bytes are not checked."""
        return bool(self._filesystem.isfile(self._path(digest)))

    def missing(self, digests: Iterable[str]) -> list[str]:
        """Return those of the ids that are not in the store, in their order."""
        return [digest for digest in digests if not self.has(digest)]

    def ids(self) -> list[str]:
        """Return the ids of all stored artifacts, sorted."""
        names = (path.rsplit("/", 1)[-1] for path in self._filesystem.find(self._root))
        return sorted(name for name in names if _ID.match(name))

    def delete(self, digest: str) -> None:
        """Delete an artifact if it is in the store."""
        if self.has(digest):
            self._filesystem.rm_file(self._path(digest))

    def drop_damaged(self, stop: Callable[[], bool] = lambda: False) -> list[str]:
        """Delete the artifacts whose bytes do not hash to their ids. A remote store looks after its own.

        Args:
            stop: Asked before each artifact; True ends the search.

        Returns:
            The ids of those that were deleted.
        """
        dropped = []
        for digest in self.ids() if self._local else []:
            if stop():
                break
            # What is deleted meanwhile counts as whole.
            if self.has(digest) and not self._is_whole(digest):
                self.delete(digest)
                dropped.append(digest)
        return dropped

    def _is_whole(self, digest: str) -> bool:
        """Return whether the stored bytes of an artifact hash to its id."""
        try:
            return self._sha256(digest) == digest
        except StoreMissing:
            return True

    def _sha256(self, digest: str) -> str:
        """Return the SHA-256 of an artifact's stored bytes."""
        with self._open(digest) as file:
            # Files of every file system have readinto, which the type BinaryIO does not say.
            return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]

    def _hashed(self, digest: str, read: Callable[[], _Hashed]) -> _Hashed:
        """Return what is read of an artifact once its bytes hash to its id."""
        try:
            result = read()
        except ArtifactError:
            # A damaged file is refused as damaged, and not for what it seems to hold.
            self._check_id(digest, self._sha256(digest))
            raise
        self._check_id(digest, result.artifact_id)
        return result

    def _open(self, digest: str) -> AbstractContextManager[BinaryIO]:
        path = self._path(digest)
        try:
            file: AbstractContextManager[BinaryIO] = self._filesystem.open(path, "rb")
        except FileNotFoundError as error:
            raise StoreMissing(f"artifact {digest} is not in the store {self._root}") from error
        except OSError as error:
            raise StoreError(f"cannot read {path}: {error}") from error
        return file

    def _check_id(self, digest: str, actual: str) -> None:
        if actual != digest:
            advice = "delete it and fetch the artifact again"
            if self._mends:
                self.delete(digest)
                advice = "it was deleted, and is fetched or built again"
            raise StoreCorrupt(
                f"{self._path(digest)} hashes to {actual}, not to its name: the file was changed or "
                f"the disk is failing; {advice}"
            )

    def _check_size(self, digest: str, max_bytes: int | None) -> None:
        """Refuse an artifact that is too large before its bytes are in memory."""
        if max_bytes is not None and self.has(digest):
            check_size(int(self._filesystem.size(self._path(digest))), max_bytes)

    def _path(self, digest: str) -> str:
        if not _ID.match(digest):
            raise StoreError(f"{digest!r} is not an artifact id (64 lowercase hexadecimal digits)")
        return f"{self._root}/{digest[:2]}/{digest}"

    def _write(self, path: str, data: bytes) -> None:
        if not self._local:
            self._filesystem.pipe_file(path, data)
            return
        target = Path(path)
        make_private_folder(target.parent)
        write_private(target, data)

    def _move(self, path: Path, target: str) -> None:
        if not self._local:
            self._filesystem.put_file(str(path), target)
            return
        make_private_folder(Path(target).parent)
        try:
            path.rename(target)
        except OSError as error:
            if error.errno != errno.EXDEV:
                raise
            # Another disk: copy beside the target, then rename, so that it is complete or absent.
            copy = Path(f"{target}.part")
            copy.unlink(missing_ok=True)
            with path.open("rb") as source, create_private(copy) as sink:
                shutil.copyfileobj(source, sink, 2**20)
                sink.flush()
                os.fsync(sink.fileno())
            copy.rename(target)
        sync_folder(Path(target).parent)

    def _failure(self, error: OSError, path: str, what: str) -> StoreError:
        """Return the error to raise for a failed write."""
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            return StoreFull(
                f"there is no room for {what} under {self._root}: free some disk and retry"
            )
        return StoreError(f"cannot write {path}: {error}")
