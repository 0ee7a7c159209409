"""Vectors of one length in a temporary file, so that memory does not grow with their number."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Self

import numpy as np
from numpy.typing import NDArray


class VectorFile:
    """A list of float64 vectors. They are read through memory maps, and the file has no name.

    Args:
        folder: Where the file is. The folder for temporary files, which is the default, may itself
            be in memory.
    """

    def __init__(self, folder: Path | None = None) -> None:
        self._file = tempfile.TemporaryFile(dir=folder)  # noqa: SIM115 (closed by __exit__)
        self._count = self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def append(self, vector: NDArray[np.float64]) -> None:
        """Add a vector; all have the length of the first."""
        if self._count and vector.size != self._size:
            raise ValueError(f"the vector has {vector.size} values, the others have {self._size}")
        self._size = vector.size
        self._file.write(np.ascontiguousarray(vector, dtype=np.float64).data)
        self._file.flush()
        self._count += 1

    def __getitem__(self, number: int) -> NDArray[np.float64]:
        if not self._size:
            return np.zeros(0)
        begin = 8 * self._size * number
        return np.memmap(self._file, np.float64, "r", offset=begin, shape=(self._size,))
