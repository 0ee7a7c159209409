"""Modes of files, and the umask that they are created under."""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def umask(mask: int) -> Iterator[None]:
    """Create files under a umask."""
    before = os.umask(mask)
    try:
        yield
    finally:
        os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


def open_to_others(folder: Path, public: frozenset[str] = frozenset()) -> list[str]:
    """Return the paths in a folder, and the folder, to which other users have any access.

    Args:
        folder: Where to look.
        public: Names of files that may be read by all.
    """
    found = [folder, *folder.rglob("*")]
    return sorted(
        f"{path.relative_to(folder.parent)} {mode(path):04o}"
        for path in found
        if not path.is_symlink() and mode(path) & 0o077 and path.name not in public
    )
