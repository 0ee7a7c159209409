"""The file of a model's adapter, written owner by owner, so that no more than one is in memory."""

from __future__ import annotations

import mmap
import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core import (
    Scan,
    TensorSpec,
    Term,
    adapter_totals,
    make_private_folder,
    qualify,
    scan,
    split_owner,
)
from rescind.core.artifact import METADATA
from rescind.core.sums import Load
from rescind.core.tensor_header import in_file_order, write_header


@dataclass(frozen=True)
class AdapterFile:
    """A written adapter.

    Attributes:
        path: The file. It is flushed to the disk.
        scanned: Its hash, and the digest of each owner.
    """

    path: Path
    scanned: Scan

    def tensors(self) -> dict[str, NDArray[Any]]:
        """Return the tensors as views of the file: the system reads them in when they are used."""
        with self.path.open("rb") as file:
            return self.scanned.header.views(
                memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
            )


@contextmanager
def written(
    folder: Path,
    groups: Mapping[str, Sequence[Term]],
    shapes: Mapping[str, tuple[int, ...]],
    load: Load,
) -> Iterator[AdapterFile]:
    """Write the sums of owners to a file with the bytes of `rescind.core.encode`.

    Args:
        folder: Where to write it. The file is deleted when the block ends, if it is still there.
        groups: The terms of each owner. Every term has exactly the agreed tensors.
        shapes: The agreed shapes, by bare name.
        load: Returns the tensors of an artifact.

    Raises:
        SumOverflow: A sum may not fit 64 bits.
        OSError: The file cannot be written.
    """
    specs = {
        qualify(name, bare): TensorSpec("I64", tuple(shape))
        for name in groups
        for bare, shape in shapes.items()
    }
    make_private_folder(folder)
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(write_header(specs, METADATA))
            for piece in _pieces(list(in_file_order(specs)), groups, load):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        with path.open("rb") as written_file:
            scanned = scan(written_file)
        yield AdapterFile(path, scanned)
    finally:
        path.unlink(missing_ok=True)


def _pieces(
    names: Sequence[str], groups: Mapping[str, Sequence[Term]], load: Load
) -> Iterator[memoryview]:
    """Yield the bytes of the tensors in the order of the file; an owner's are next to each other."""
    current, totals = "", dict[str, NDArray[np.int64]]()
    for name in names:
        if (owner := split_owner(name)[0]) != current:
            totals.clear()
            current, totals = owner, adapter_totals(groups[owner], load)
        yield totals[name].reshape(-1).data.cast("B")
