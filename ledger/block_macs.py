"""MACs over the blocks of a file: run as a program of its own, python -I block_macs.py FILE.

A process that has a SQLite database open must not open its file beside SQLite: when any descriptor of the
file is closed, POSIX drops all locks that the process holds on it, another process takes itself for the
last one, deletes the write-ahead log, and what is appended afterwards is lost
(sqlite.org/howtocorrupt.html, section 2.2).
"""

from __future__ import annotations

import hmac
import subprocess
import sys
from pathlib import Path

BLOCK = 2**16
_MAC = 32


def macs_of(path: Path, key: bytes, about: str) -> list[str]:
    """16 bytes for each block of 64 KiB, hexadecimal, bound to `about` and to its place. Raises OSError."""
    command = [sys.executable, "-I", __file__, str(path)]
    done = subprocess.run(
        command, input=f"{key.hex()} {about}", capture_output=True, text=True, check=False
    )
    if done.returncode:
        raise OSError(f"{path} cannot be read: {done.stderr.strip()[-200:]}")
    return done.stdout.split()


def main() -> None:
    key, about = sys.stdin.read().split(" ", 1)
    with open(sys.argv[1], "rb") as file:  # noqa: PTH123
        place = 0
        while block := file.read(BLOCK):
            mac = hmac.new(bytes.fromhex(key), f"{about}|{place}|".encode(), "sha256")
            mac.update(block)
            sys.stdout.write(f"{mac.hexdigest()[:_MAC]}\n")
            place += 1


if __name__ == "__main__":
    main()
