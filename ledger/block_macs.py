"""MACs over the blocks of a file, run as a separate process: python -I -S block_macs.py FILE.

A process that has a SQLite database open must not open its file beside SQLite: when any descriptor
of the file is closed, POSIX drops all locks that the process holds on it, another process takes
itself for the last one, deletes the write-ahead log, and what is appended afterwards is lost
(sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import hmac
import os
import sys

BLOCK = 2**16
"""Bytes of a block."""
_MAC = 32
"""Hexadecimal digits of a MAC: 16 bytes of the HMAC-SHA256."""


def macs_of(path: os.PathLike[str], key: bytes, about: str) -> list[str]:
    """Return the MACs of a file's blocks of 64 KiB, computed by another process.

    That process imports this file, at each close of a ledger: nothing is imported here that takes
    longer than a small file takes to read.

    Args:
        path: The file.
        key: The MAC key. It goes to the process on standard input, not on its command line.
        about: Text that every MAC is bound to, beside the index of its block.

    Returns:
        16 bytes for each block, in hexadecimal.

    Raises:
        OSError: The file cannot be read.
    """
    import subprocess

    command = [sys.executable, "-I", "-S", __file__, os.fspath(path)]
    process = subprocess.run(
        command, input=f"{key.hex()} {about}", capture_output=True, text=True, check=False
    )
    if process.returncode:
        raise OSError(f"{path} cannot be read: {process.stderr.strip()[-200:]}")
    return process.stdout.split()


def main() -> None:
    """Read `KEY ABOUT` from standard input; print one MAC per line for the file argv names."""
    key, about = sys.stdin.read().split(" ", 1)
    with open(sys.argv[1], "rb") as file:  # noqa: PTH123 (starts sooner without pathlib)
        index = 0
        while block := file.read(BLOCK):
            mac = hmac.new(bytes.fromhex(key), f"{about}|{index}|".encode(), "sha256")
            mac.update(block)
            sys.stdout.write(f"{mac.hexdigest()[:_MAC]}\n")
            index += 1


if __name__ == "__main__":
    main()
