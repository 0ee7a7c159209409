"""SHA-256, linear digest and commitment of an artifact in one pass over its bytes.

A file is read in pieces. Each piece is hashed and digested while it is in the processor's cache;
the header is compared with the expected tensors before the first piece is read.
"""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Callable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import cached_property, partial
from typing import TYPE_CHECKING, BinaryIO

import numpy as np

from rescind.core.artifact import artifact_header, check_file_size, check_size, longest_header
from rescind.core.commitments import commit, point_hash
from rescind.core.linear_digest import ZERO_DIGEST, Digest
from rescind.core.mapped import Bytes
from rescind.core.ring import DEGREE, Matrix
from rescind.core.tensor_header import LENGTH_BYTES, Expected, Header, header_size

if TYPE_CHECKING:
    from rescind.core._ntt import Job

PIECE_BYTES = 2**22
"""Bytes that are read at once. They and the matrix of the digest fit a shared cache; much less would
leave threads waiting for one another."""


@dataclass(frozen=True)
class Scan:
    """The findings of one pass over an artifact.

    Attributes:
        artifact_id: The SHA-256 of the bytes.
        header: The header.
        digests: The digest of each owner's tensors; "" owns names without an owner.
    """

    artifact_id: str
    header: Header
    digests: Mapping[str, Digest]

    @cached_property
    def digest(self) -> Digest:
        """The digest of all tensors."""
        return sum(self.digests.values(), ZERO_DIGEST)

    @cached_property
    def commitment(self) -> bytes:
        """The point that commits to the digest, 128 bytes."""
        return commit(self.digest)

    @cached_property
    def point_hash(self) -> str:
        """The hash of the commitment, as the chain stores it."""
        return point_hash(self.commitment)


def scan(
    source: Bytes | BinaryIO, *, max_bytes: int | None = None, expected: Expected | None = None
) -> Scan:
    """Hash and digest an artifact in one pass.

    Args:
        source: The bytes, or a file that is open at its beginning.
        max_bytes: The largest size to accept; unlimited by default.
        expected: The tensors that the artifact must have, as for `rescind.core.decode`.

    Raises:
        ArtifactError: As `rescind.core.decode`.
    """
    read = _reader(source)
    length = bytes(read(LENGTH_BYTES))
    size = header_size(length, longest_header(expected))
    data = length + bytes(read(size - LENGTH_BYTES))
    header = artifact_header(data, expected)
    check_size(header.file_size, max_bytes)
    sha, blocks, seen = hashlib.sha256(data), _Blocks(header), len(data)
    with _Workers() as workers:
        # One byte more than the header says is asked for, so that a longer file is noticed.
        while piece := read(min(PIECE_BYTES, header.file_size - seen) or 1):
            seen += len(piece)
            if seen > header.file_size:
                break
            workers.run(partial(sha.update, piece), blocks.cut(piece))
        check_file_size(header, seen)
        return Scan(sha.hexdigest(), header, workers.digests())


def _reader(source: Bytes | BinaryIO) -> Callable[[int], Bytes]:
    """Return a function that returns the next bytes; of bytes in memory it copies none."""
    if not isinstance(source, bytes | memoryview):
        return source.read
    view, position = memoryview(source), [0]

    def read(count: int) -> memoryview:
        begin = position[0]
        position[0] = begin + count
        return view[begin : begin + count]

    return read


class _Blocks:
    """Cuts the bytes of a file's tensors into blocks of the digest, whatever the pieces are."""

    def __init__(self, header: Header) -> None:
        self._tensors = iter([item for item in header.specs.items() if item[1].size])
        self._rest = bytearray()
        self._left = 0

    def cut(self, piece: Bytes) -> list[tuple[str, Job]]:
        """Return the blocks that are complete with a piece, with their owners."""
        view, jobs = memoryview(piece), list[tuple[str, "Job"]]()
        while view:
            if not self._left:
                self._next()
            part, view = view[: self._left], view[self._left :]
            self._left -= len(part)
            for values in self._complete(part):
                jobs.extend(self._jobs(values))
        return jobs

    def _next(self) -> None:
        name, spec = next(self._tensors)
        self._owner = name.partition("/")[0] if "/" in name else ""
        self._matrix, self._dtype = Matrix(name, spec.shape), spec.numpy_dtype
        self._block, self._first, self._left = DEGREE * self._dtype.itemsize, 0, spec.size

    def _complete(self, part: memoryview) -> Iterator[Bytes]:
        """Yield whole blocks of the current tensor, and at its end the rest, padded with zeros."""
        if self._rest:
            missing = self._block - len(self._rest)
            self._rest += part[:missing]
            part = part[missing:]
            if len(self._rest) == self._block:
                yield bytes(self._rest)
                self._rest.clear()
        whole = len(part) // self._block * self._block
        if whole:
            yield part[:whole]
        self._rest += part[whole:]
        if not self._left and self._rest:
            yield bytes(self._rest.ljust(self._block, b"\0"))
            self._rest.clear()

    def _jobs(self, data: Bytes) -> Iterator[tuple[str, Job]]:
        from rescind.core._ntt import CHUNK, Job

        values = np.frombuffer(data, dtype=self._dtype).reshape(-1, DEGREE)
        values = np.require(values, requirements=["A"])
        for at in range(0, len(values), CHUNK):
            yield self._owner, Job(self._matrix, self._first + at, values[at : at + CHUNK])
        self._first += len(values)


class _Workers:
    """Threads that hash a piece and digest its blocks; they take the next block when they are free."""

    def __init__(self) -> None:
        from rescind.core import _ntt

        self._count = _ntt.threads()
        self._sums = [_ntt.OwnedTotals() for _ in range(self._count)]
        self._pool: ThreadPoolExecutor | None = None
        self._lock = threading.Lock()

    def __enter__(self) -> _Workers:
        return self

    def __exit__(self, *_: object) -> None:
        if self._pool is not None:
            self._pool.shutdown()

    def run(self, hash_piece: Callable[[], None], jobs: list[tuple[str, Job]]) -> None:
        """Hash a piece and digest its blocks."""
        waiting = iter(jobs)
        if self._count == 1:
            hash_piece()
            self._take(0, waiting)
            return
        if self._pool is None:
            self._pool = ThreadPoolExecutor(self._count - 1)
        others = [
            self._pool.submit(self._take, number, waiting) for number in range(1, self._count)
        ]
        hash_piece()
        self._take(0, waiting)
        for other in others:
            other.result()

    def _take(self, number: int, waiting: Iterator[tuple[str, Job]]) -> None:
        totals = self._sums[number]
        while True:
            with self._lock:
                item = next(waiting, None)
            if item is None:
                return
            totals.add(*item)

    def digests(self) -> dict[str, Digest]:
        """Return the digest of each owner."""
        from rescind.core import _ntt

        return {
            owner: Digest.from_residues(residues)
            for owner, residues in _ntt.merged(self._sums).items()
        }
