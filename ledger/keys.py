"""The organization's master key: a file that only its owner can read, the environment, or a program
that asks a key management service."""

from __future__ import annotations

import base64
import binascii
import os
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from cryptography.exceptions import InvalidTag

from rescind.core.errors import LedgerError
from rescind.ledger.encryption import KEY_BYTES, decrypt, encrypt

ENVIRONMENT = "RESCIND_LEDGER_KEY"
_PROGRAM_SECONDS = 30


class LedgerKeyError(LedgerError):
    code = "ledger-key"


class MasterKey(Protocol):
    """Wraps the one secret from which a ledger's other keys hang. `context`: what it is bound to."""

    def wrap(self, secret: bytes, context: bytes) -> bytes: ...
    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Raises LedgerKeyError when this is not the key that wrapped it."""
        ...


@dataclass(frozen=True)
class LocalKey:
    """32 bytes at hand; AES-256-GCM."""

    key: bytes = field(repr=False)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        return encrypt(self.key, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        try:
            return decrypt(self.key, wrapped, context)
        except (InvalidTag, ValueError) as error:
            raise LedgerKeyError(
                "the key is another ledger's, or its bytes were changed"
            ) from error


@dataclass(frozen=True)
class KeyProgram:
    """A key that never leaves where it is kept (AWS KMS, Vault, an HSM, ...), behind a program.

    `COMMAND wrap CONTEXT` and `COMMAND unwrap CONTEXT` read base64 on standard input and write base64 on
    standard output; CONTEXT is hexadecimal, and a wrapped secret must not unwrap under another one.
    """

    command: tuple[str, ...]

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        return self._ask("wrap", secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        return self._ask("unwrap", wrapped, context)

    def _ask(self, what: str, data: bytes, context: bytes) -> bytes:
        name = self.command[0]
        try:
            done = subprocess.run(
                [*self.command, what, context.hex()],
                input=base64.b64encode(data),
                capture_output=True,
                timeout=_PROGRAM_SECONDS,
                check=False,
            )
            if done.returncode:
                said = done.stderr.decode(errors="replace").strip()[-200:]
                raise LedgerKeyError(f"{name} {what} failed with {done.returncode}: {said}")
            return base64.b64decode(done.stdout.strip(), validate=True)
        except OSError as error:
            raise LedgerKeyError(f"{name} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise LedgerKeyError(f"{name} {what} took over {_PROGRAM_SECONDS} s") from error
        except (binascii.Error, ValueError) as error:
            raise LedgerKeyError(f"{name} {what} did not answer in base64") from error


def create_key(path: Path) -> LocalKey:
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
    return LocalKey(key)


def load_key(path: Path | None, program: Sequence[str] = ()) -> MasterKey:
    """By `program` if one is given, else from RESCIND_LEDGER_KEY if it is set, else from `path`."""
    if program:
        return KeyProgram(tuple(program))
    text = os.environ.get(ENVIRONMENT)
    if text is not None:
        return LocalKey(_decode(text, ENVIRONMENT))
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
    return LocalKey(_decode(content, str(path)))


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise LedgerKeyError(f"{where} is not base64") from error
    if len(key) != KEY_BYTES:
        raise LedgerKeyError(f"{where} holds {len(key)} bytes, a ledger key has {KEY_BYTES}")
    return key
