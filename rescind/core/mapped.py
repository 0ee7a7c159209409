"""Files as memory: the system reads pages in when they are used, and drops them when memory is short."""

from __future__ import annotations

import errno
import mmap
import os
import shutil
import tempfile
from pathlib import Path
from typing import BinaryIO

Bytes = bytes | memoryview
"""Bytes in memory or in a mapped file."""
_PIECE = 2**20
_SMALL = 2**20
"""Up to here a file is read: a map costs a file descriptor for as long as it lives."""


def map_file(path: Path) -> memoryview:
    """Return the bytes of a file, mapped read-only. The file must not be changed in place.

    It may be deleted or replaced meanwhile: the map keeps what it was.

    Raises:
        OSError: The file cannot be opened or mapped.
    """
    with path.open("rb") as file:
        return map_open_file(file)


def map_copy(source: BinaryIO) -> memoryview:
    """Return the bytes of an open file that has no place on a local disk, by a temporary copy.

    The copy has no name and goes when the bytes are not used any more. It lies in the folder for
    temporary files, `TMPDIR`.

    Raises:
        OSError: The source cannot be read, or there is no room for the copy.
    """
    with tempfile.TemporaryFile() as copy:
        shutil.copyfileobj(source, copy, _PIECE)
        copy.flush()
        return map_open_file(copy)


def map_open_file(file: BinaryIO) -> memoryview:
    """Return the bytes of an open file, mapped read-only. The file may be closed afterwards.

    Raises:
        OSError: The file cannot be mapped.
    """
    size = file.seek(0, os.SEEK_END)
    if size > _SMALL:
        try:
            return memoryview(mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ))
        except OSError as error:
            # Many maps live at once, such as those of the sums of a thousand rounds.
            if error.errno != errno.EMFILE:
                raise
    file.seek(0)
    return memoryview(file.read())
