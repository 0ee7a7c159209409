"""The master key of a ledger: a file that only its owner can read, or the environment."""

from __future__ import annotations

import base64
import binascii
import os
import stat
from pathlib import Path

from adapters.errors import LedgerError

ENVIRONMENT = "RESCIND_LEDGER_KEY"
KEY_BYTES = 32


class LedgerKeyError(LedgerError):
    code = "ledger-key"


def create_key(path: Path) -> bytes:
    """A new random key in a new file of mode 0600. Raises LedgerKeyError if the file exists."""
    key = os.urandom(KEY_BYTES)
    path.parent.mkdir(parents=True, exist_ok=True)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    except FileExistsError as error:
        raise LedgerKeyError(
            f"{path} exists already: a ledger's key is never overwritten"
        ) from error
    with os.fdopen(descriptor, "wb") as file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return key


def load_key(path: Path | None) -> bytes:
    """From RESCIND_LEDGER_KEY if it is set, else from `path`."""
    text = os.environ.get(ENVIRONMENT)
    if text is not None:
        return _decode(text, ENVIRONMENT)
    if path is None:
        raise LedgerKeyError(f"no ledger key: give its file, or set {ENVIRONMENT}")
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_text(encoding="ascii")
    except OSError as error:
        raise LedgerKeyError(f"ledger key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LedgerKeyError(f"ledger key {path} is damaged: not base64") from error
    if mode & 0o077:
        raise LedgerKeyError(f"{path} can be read by others (mode {mode:04o}): chmod 600 {path}")
    return _decode(content, str(path))


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise LedgerKeyError(f"{where} is not base64") from error
    if len(key) != KEY_BYTES:
        raise LedgerKeyError(f"{where} holds {len(key)} bytes, a ledger key has {KEY_BYTES}")
    return key
