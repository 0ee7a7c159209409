"""Durable, all-or-nothing file writes."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path


def write_atomically(path: Path, content: bytes, *, mode: int | None = None) -> None:
    """Replace the content of a file durably: after a crash it is the old content or the new one.

    The content goes to a temporary file in the same folder, whose name starts with a dot. That file
    is flushed to the disk, renamed over `path`, and then the folder is flushed, so that the rename
    survives a power failure too. The temporary file is removed on error.

    Args:
        path: The file to write. Its folder must exist.
        content: The bytes of the whole file.
        mode: Permissions of the file, for example 0o600. By default 0o666 less the umask.

    Raises:
        OSError: The file was not replaced, or the folder could not be flushed after it was.
    """
    temporary = path.with_name(f".{path.name}.{uuid.uuid4().hex}")
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL
    try:
        descriptor = os.open(temporary, flags, 0o666 if mode is None else mode)
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)  # noqa: PTH105 (tests replace os.replace)
    except BaseException:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise
    sync_folder(path.parent)


def sync_folder(folder: Path) -> None:
    """Flush a folder's entries to the disk, so that new, renamed and removed names survive a crash.

    Raises:
        OSError: The folder cannot be opened or flushed.
    """
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
