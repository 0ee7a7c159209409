"""The tensors of a stored artifact, read one at a time: the file is never in memory as a whole."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Iterator, Mapping
from typing import Any, BinaryIO

import numpy as np
from numpy.typing import NDArray

from rescind.core.artifact import artifact_header, check_file_size, longest_header
from rescind.core.delta import l2_norm
from rescind.core.tensor_header import LENGTH_BYTES, header_size
from rescind.core.totals import add_totals

_PIECE = 1 << 20
"""Bytes that are hashed at a time."""


class TensorReader:
    """An open artifact.

    Args:
        file: Its file, open for reading.

    Attributes:
        artifact_id: The SHA-256 of the file's bytes.

    Raises:
        ArtifactError: The file is not an artifact; as `decode`.
    """

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        length = file.read(LENGTH_BYTES)
        size = header_size(length, longest_header(None))
        head = length + file.read(size - LENGTH_BYTES)
        header = artifact_header(head, None)
        sha, total = hashlib.sha256(head), len(head)
        while piece := file.read(_PIECE):
            sha.update(piece)
            total += len(piece)
        check_file_size(header, total)
        self.artifact_id = sha.hexdigest()
        self._specs, self._begins, begin = header.specs, dict[str, int](), header.size
        for name, spec in header.specs.items():
            self._begins[name] = begin
            begin += spec.size

    @property
    def names(self) -> frozenset[str]:
        """The names of the tensors."""
        return frozenset(self._specs)

    def read(self, name: str) -> NDArray[Any]:
        """Return one tensor."""
        spec = self._specs[name]
        self._file.seek(self._begins[name])
        data = self._file.read(spec.size)
        return np.frombuffer(data, spec.numpy_dtype, math.prod(spec.shape)).reshape(spec.shape)


def norm_of_change(after: TensorReader, before: TensorReader | None) -> float:
    """Return the L2 norm of the difference of two artifacts.

    The result has the same bits as `l2_norm` of the whole difference. Two tensors are in memory.

    Args:
        after: The one.
        before: The other; None if there is none, which counts as zeros, as a missing tensor does.
    """
    return l2_norm(_Differences(after, before))


class _Differences(Mapping[str, NDArray[Any]]):
    """The difference of two artifacts by tensor, computed when it is asked for."""

    def __init__(self, after: TensorReader, before: TensorReader | None) -> None:
        self._after, self._before = after, before
        self._names = after.names | (before.names if before else frozenset())

    def __getitem__(self, name: str) -> NDArray[Any]:
        parts = []
        if name in self._after.names:
            parts.append({name: self._after.read(name)})
        if self._before is not None and name in self._before.names:
            parts.append({name: np.negative(self._before.read(name), dtype=np.int64)})
        return add_totals(parts)[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._names)

    def __len__(self) -> int:
        return len(self._names)
