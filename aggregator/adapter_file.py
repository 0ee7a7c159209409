"""The file of a model's adapter, written a few tensors at a time, which alone are in memory."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from numpy.typing import NDArray

from rescind.core import Scan, Term, make_private_folder, scan
from rescind.core.adapter_stream import adapter_bytes
from rescind.core.mapped import map_file
from rescind.core.sums import Load


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
        return self.scanned.header.views(map_file(self.path))


@contextmanager
def written(
    folder: Path,
    groups: Mapping[str, Sequence[Term]],
    shapes: Mapping[str, tuple[int, ...]],
    load: Load,
    reload: Load | None = None,
    *,
    sums: Mapping[str, Mapping[str, tuple[int, ...]]] | None = None,
) -> Iterator[AdapterFile]:
    """Write the sums of owners to a file with the bytes of `rescind.core.encode`.

    Args:
        folder: Where to write it. The file is deleted when the block ends, if it is still there.
        groups: The terms of each owner. Every term has exactly the agreed tensors.
        shapes: The agreed shapes of a block or of the shared adapter, by bare name.
        load: Returns the tensors of an artifact.
        reload: As `load`, for an artifact that `load` returned before.
        sums: The agreed shapes of sums beside blocks, by owner and bare name.

    Raises:
        SumOverflow: A sum may not fit 64 bits.
        OSError: The file cannot be written.
    """
    make_private_folder(folder)
    descriptor, name = tempfile.mkstemp(dir=folder, suffix=".part")
    path = Path(name)
    try:
        with os.fdopen(descriptor, "wb") as file:
            for piece in adapter_bytes(groups, shapes, load, reload, sums=sums):
                file.write(piece)
            file.flush()
            os.fsync(file.fileno())
        with path.open("rb") as written_file:
            scanned = scan(written_file)
        yield AdapterFile(path, scanned)
    finally:
        path.unlink(missing_ok=True)
