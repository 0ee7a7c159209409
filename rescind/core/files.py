"""Durable, all-or-nothing file writes, and files that only their owner can read."""

from __future__ import annotations

import contextlib
import os
import uuid
from pathlib import Path
from typing import BinaryIO

PRIVATE_FILE = 0o600
PRIVATE_FOLDER = 0o700


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


def make_private_folder(folder: Path) -> None:
    """Create a folder for its owner alone (mode 0700), with its missing parents.

    A folder that is there keeps its mode: `narrow_folder` is for those.

    Raises:
        OSError: The folder cannot be created.
    """
    if folder.is_dir():
        return
    if folder.parent != folder:
        make_private_folder(folder.parent)
    try:
        folder.mkdir(mode=PRIVATE_FOLDER)
    except FileExistsError:
        # Another process created it in between; a file of that name is an error.
        if not folder.is_dir():
            raise


def write_private(path: Path, content: bytes) -> None:
    """Replace the content of a file as `write_atomically` does; only its owner can read it (0600).

    Raises:
        OSError: The file was not replaced, or the folder could not be flushed after it was.
    """
    write_atomically(path, content, mode=PRIVATE_FILE)


def create_private(path: Path) -> BinaryIO:
    """Create a new file that only its owner can read (0600), and open it for writing.

    Raises:
        FileExistsError: The file exists.
        OSError: The file cannot be created.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, PRIVATE_FILE)
    return os.fdopen(descriptor, "wb")


def ensure_private(path: Path) -> None:
    """Create a file if it is missing, and let only its owner read it (0600).

    A file that exists is not opened. SQLite may have it open in this process, and when any
    descriptor of a file is closed, POSIX drops all locks that the process holds on the file.

    Raises:
        OSError: The file cannot be created or narrowed.
    """
    try:
        create_private(path).close()
    except FileExistsError:
        status = path.stat()
        if status.st_mode & 0o077 and status.st_uid == os.geteuid():
            path.chmod(PRIVATE_FILE)


def append_private(path: Path) -> BinaryIO:
    """Open a file for appending; create it so that only its owner can read it (0600).

    A file of the caller that others can read is narrowed before anything is written to it.

    Raises:
        OSError: The file cannot be opened.
    """
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, PRIVATE_FILE)
    status = os.fstat(descriptor)
    if status.st_mode & 0o077 and status.st_uid == os.geteuid():
        os.fchmod(descriptor, PRIVATE_FILE)
    return os.fdopen(descriptor, "ab")
