"""Check, and where it is safe mend, the modes of private files and folders."""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from pathlib import Path

from rescind.core.errors import ConfigError
from rescind.core.files import PRIVATE_FILE, PRIVATE_FOLDER

_OTHERS = 0o077


class FileModeRefused(ConfigError):
    """Other users of the machine can read a file that must be secret."""

    code = "file-mode"


def narrow_folder(folder: Path) -> list[Path]:
    """Take access to a folder and all that is in it from everyone but its owner.

    Links are not followed. What another user owns inside of the folder is left alone: no one else
    reaches it through the folder.

    Args:
        folder: A state folder. One that does not exist is left so.

    Returns:
        What was open to others, the folder first.

    Raises:
        FileModeRefused: The folder belongs to another user, and others can enter it.
    """
    if not folder.is_dir():
        return []
    narrowed = [folder] if _narrow(folder) else []
    if _is_open(folder):
        raise FileModeRefused(
            f"Other users can enter {folder} (mode {_mode(folder):04o}), and it does not belong to "
            f"you. Have its owner run: chmod 700 {folder}"
        )
    return narrowed + [path for path in _inside(folder) if _narrow(path)]


def narrow_file(path: Path) -> bool:
    """Take access to one of your own files from everyone else.

    Args:
        path: A private file, such as training data. One that does not exist is left so.

    Returns:
        Whether others had access.

    Raises:
        FileModeRefused: The file belongs to another user, and everyone can read it.
    """
    if not path.is_file():
        return False
    narrowed = _narrow(path)
    if not narrowed and _mode(path) & 0o007:
        raise FileModeRefused(_refusal(path))
    return narrowed


def demand_secret(path: Path) -> None:
    """Check that no other user can read a secret, such as a key or a password.

    It is not mended: the secret may have been read already, and you should decide whether to
    replace it. A file of another owner may be readable by your group, as mounted secrets are.

    Args:
        path: The file. One that does not exist is for its reader to report.

    Raises:
        FileModeRefused: Other users can read it. The message has the command that closes it.
    """
    try:
        status = path.stat()
    except OSError:
        return
    others = _OTHERS if status.st_uid == os.geteuid() else 0o007
    if stat.S_ISREG(status.st_mode) and status.st_mode & others:
        raise FileModeRefused(_refusal(path))


def _inside(folder: Path) -> Iterator[Path]:
    for parent, folders, files in os.walk(folder):
        for name in (*folders, *files):
            yield Path(parent, name)


def _narrow(path: Path) -> bool:
    """Close a file or folder of this user to others. Return whether it was open."""
    try:
        status = path.lstat()
        if not status.st_mode & _OTHERS or status.st_uid != os.geteuid():
            return False
        if stat.S_ISDIR(status.st_mode):
            path.chmod(PRIVATE_FOLDER)
        elif stat.S_ISREG(status.st_mode):
            path.chmod(PRIVATE_FILE)
        else:
            return False
    except FileNotFoundError:
        # A running daemon deletes temporary files at any time.
        return False
    return True


def _is_open(path: Path) -> bool:
    return bool(_mode(path) & _OTHERS)


def _mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def _refusal(path: Path) -> str:
    return (
        f"Other users can read {path} (mode {_mode(path):04o}). If one of them may have done so, "
        f"replace the secret in it. Then run: chmod 600 {path}"
    )
