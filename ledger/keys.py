"""The organization's master key.

It lies in a file that only its owner can read, or in the environment, or it stays in a key
management service behind a program.
"""

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

from rescind.core import create_private, make_private_folder
from rescind.core.errors import LedgerError
from rescind.ledger.encryption import KEY_BYTES, decrypt, encrypt

ENVIRONMENT = "RESCIND_LEDGER_KEY"
"""The environment variable that may hold the key, in base64."""
_PROGRAM_SECONDS = 30
"""How long a key program may take; a call to a key management service takes under a second."""


class LedgerKeyError(LedgerError):
    """The master key is missing, unusable or another ledger's."""

    code = "ledger-key"


class MasterKey(Protocol):
    """A key that wraps the secrets of a ledger, bound to a context."""

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return a secret encrypted under the key."""

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the secret that was wrapped.

        Raises:
            LedgerKeyError: Another key or another context wrapped it.
        """
        ...


@dataclass(frozen=True)
class LocalKey:
    """A master key of 32 bytes in memory, for AES-256-GCM."""

    key: bytes = field(repr=False)

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return a secret encrypted under the key."""
        return encrypt(self.key, secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return the secret that was wrapped; raise LedgerKeyError for another key or context."""
        try:
            return decrypt(self.key, wrapped, context)
        except (InvalidTag, ValueError) as error:
            raise LedgerKeyError(
                "the key belongs to another ledger, or the wrapped bytes were changed"
            ) from error


@dataclass(frozen=True)
class KeyProgram:
    """A master key that stays where it is kept (AWS KMS, Vault, an HSM), behind a program.

    `COMMAND wrap CONTEXT` and `COMMAND unwrap CONTEXT` read base64 on standard input and write
    base64 on standard output. CONTEXT is hexadecimal; a wrapped secret must not unwrap under
    another one.

    Attributes:
        command: The program and its first arguments.
    """

    command: tuple[str, ...]

    def wrap(self, secret: bytes, context: bytes) -> bytes:
        """Return a secret wrapped by the program; raise LedgerKeyError when it fails."""
        return self._ask("wrap", secret, context)

    def unwrap(self, wrapped: bytes, context: bytes) -> bytes:
        """Return a secret unwrapped by the program; raise LedgerKeyError when it fails."""
        return self._ask("unwrap", wrapped, context)

    def _ask(self, action: str, data: bytes, context: bytes) -> bytes:
        name = self.command[0]
        try:
            process = subprocess.run(
                [*self.command, action, context.hex()],
                input=base64.b64encode(data),
                capture_output=True,
                timeout=_PROGRAM_SECONDS,
                check=False,
            )
            if process.returncode:
                output = process.stderr.decode(errors="replace").strip()[-200:]
                raise LedgerKeyError(
                    f"{name} {action} failed with exit code {process.returncode}: {output}"
                )
            return base64.b64decode(process.stdout.strip(), validate=True)
        except OSError as error:
            raise LedgerKeyError(f"{name} cannot be run: {error.strerror}") from error
        except subprocess.TimeoutExpired as error:
            raise LedgerKeyError(f"{name} {action} took more than {_PROGRAM_SECONDS} s") from error
        except (binascii.Error, ValueError) as error:
            raise LedgerKeyError(f"{name} {action} did not print base64") from error


def create_key(path: Path) -> LocalKey:
    """Write a random key to a new file of mode 0600.

    Raises:
        LedgerKeyError: The file exists.
    """
    key = os.urandom(KEY_BYTES)
    make_private_folder(path.parent)
    try:
        file = create_private(path)
    except FileExistsError as error:
        raise LedgerKeyError(
            f"{path} already exists, and a ledger's key is never overwritten: choose another file"
        ) from error
    with file:
        file.write(base64.b64encode(key) + b"\n")
        file.flush()
        os.fsync(file.fileno())
    return LocalKey(key)


def load_key(path: Path | None, program: Sequence[str] = ()) -> MasterKey:
    """Load the master key.

    Args:
        path: The key's file. Used only without `program` and without RESCIND_LEDGER_KEY.
        program: The command of a key program. It takes precedence over everything else.

    Raises:
        LedgerKeyError: There is no key, or it is damaged, or other users can read its file.
    """
    if program:
        return KeyProgram(tuple(program))
    text = os.environ.get(ENVIRONMENT)
    if text is not None:
        return LocalKey(_decode(text, ENVIRONMENT))
    if path is None:
        raise LedgerKeyError(f"no ledger key: pass its file, or set {ENVIRONMENT}")
    return read_key(path)


def read_key(path: Path) -> LocalKey:
    """Read the master key of a file, whatever RESCIND_LEDGER_KEY says.

    Raises:
        LedgerKeyError: The key is missing or damaged, or other users can read its file.
    """
    try:
        mode = stat.S_IMODE(path.stat().st_mode)
        content = path.read_text(encoding="ascii")
    except OSError as error:
        raise LedgerKeyError(f"ledger key {path} cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise LedgerKeyError(f"ledger key {path} is damaged: not base64") from error
    if mode & 0o077:
        raise LedgerKeyError(f"other users can read {path} (mode {mode:04o}): run chmod 600 {path}")
    return LocalKey(_decode(content, str(path)))


def _decode(text: str, where: str) -> bytes:
    try:
        key = base64.b64decode(text.strip(), validate=True)
    except (binascii.Error, ValueError) as error:
        raise LedgerKeyError(f"{where} is not base64") from error
    if len(key) != KEY_BYTES:
        raise LedgerKeyError(f"{where} holds {len(key)} bytes, but a ledger key has {KEY_BYTES}")
    return key
