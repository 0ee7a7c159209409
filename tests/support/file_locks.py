"""A check that the locks that this process holds on files still keep other processes out."""

import subprocess
import sys
from pathlib import Path

_TAKE_THE_LOCK = """
import fcntl, sys
with open(sys.argv[1], "a") as file:
    try:
        fcntl.lockf(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        sys.exit("locked")
"""


def another_process_can_lock(path: Path) -> bool:
    """Return if another process gets the exclusive lock of a file (as SQLite takes its locks)."""
    command = [sys.executable, "-c", _TAKE_THE_LOCK, str(path)]
    other = subprocess.run(command, capture_output=True, text=True, check=False)
    if other.returncode and other.stderr.strip() != "locked":
        raise RuntimeError(other.stderr)
    return other.returncode == 0
