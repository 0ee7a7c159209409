"""Signed checkpoints: C2SP tlog-checkpoint, signed-note and tlog-cosignature (v1).

A checkpoint is the text `origin, size, root` and lines of signatures below it; a witness adds one that says
when it saw that the log had only grown.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from typing import Self

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from rescind.core.errors import LedgerError

_ED25519, _COSIGNATURE = 1, 4
_DASH = "\N{EM DASH} "
_NOTE_BYTES = 2**16
_MOST_SIGNATURES = 64


class NoteInvalid(LedgerError):
    """A checkpoint or its signature is not what it should be."""

    code = "ledger-note-invalid"


@dataclass(frozen=True)
class Verifier:
    """A public key as C2SP signed-note writes it: NAME+HASH+BASE64. `kind`: 1 a log, 4 a witness."""

    name: str
    kind: int
    public: bytes

    @property
    def hash(self) -> bytes:
        text = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(text).digest()[:4]

    def __str__(self) -> str:
        key = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.hash.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NoteInvalid."""
        try:
            name, hashed, key = text.strip().split("+", 2)
            raw = base64.b64decode(key, validate=True)
            found = cls(_name(name), raw[0], raw[1:])
        except (ValueError, IndexError, binascii.Error) as error:
            raise NoteInvalid(f"{text!r} is no key: NAME+HASH+BASE64") from error
        if found.kind not in (_ED25519, _COSIGNATURE) or len(found.public) != 32:
            raise NoteInvalid(f"{text!r} is no Ed25519 key")
        if found.hash.hex() != hashed:
            raise NoteInvalid(f"{text!r} is damaged: its hash is not of its key")
        return found

    def check(self, signature: bytes, message: bytes) -> None:
        """Raises NoteInvalid."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NoteInvalid(f"the signature by {self.name} is not over this text") from error


@dataclass(frozen=True)
class Signature:
    """A line of a note: `hash` of the key (4 bytes), `data` as the key's kind has it."""

    name: str
    hash: bytes
    data: bytes

    def line(self) -> str:
        return f"{_DASH}{self.name} {base64.b64encode(self.hash + self.data).decode()}\n"


@dataclass(frozen=True)
class Checkpoint:
    origin: str
    size: int
    root: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def body(self) -> str:
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def __str__(self) -> str:
        return f"{self.body}\n{''.join(it.line() for it in self.signatures)}"

    def with_signatures(self, more: Iterable[Signature]) -> Checkpoint:
        return replace(self, signatures=(*self.signatures, *more))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Raises NoteInvalid. Signatures are read, not checked."""
        if len(text) > _NOTE_BYTES:
            raise NoteInvalid(f"a checkpoint of {len(text)} characters: {_NOTE_BYTES} is the most")
        body, apart, rest = text.partition("\n\n")
        lines = body.split("\n")
        if not apart or len(lines) != 3 or not rest.endswith("\n"):
            raise NoteInvalid("not a checkpoint: origin, size and root, an empty line, signatures")
        origin, size, root = lines
        if not size.isascii() or not size.isdigit() or str(int(size[:20])) != size:
            raise NoteInvalid(f"{size[:30]!r} is no size of a log")
        raw = _base64(root, "root")
        if len(raw) != 32:
            raise NoteInvalid(f"a root has 32 bytes, this one {len(raw)}")
        found = rest[:-1].split("\n")
        if len(found) > _MOST_SIGNATURES:
            raise NoteInvalid(f"{len(found)} signatures: {_MOST_SIGNATURES} is the most")
        return cls(_name(origin), int(size), raw, tuple(map(_signature, found)))

    def check_signed(self, key: Verifier) -> None:
        """By the log itself. Raises NoteInvalid."""
        for it in self._by(key):
            key.check(it.data, self.body.encode())
            return
        raise NoteInvalid(f"the checkpoint is not signed by {key.name}")

    def cosigned_at(self, key: Verifier) -> int:
        """When a witness saw it, in Unix seconds. Raises NoteInvalid."""
        for it in self._by(key):
            time = int.from_bytes(it.data[:8], "big")
            key.check(it.data[8:], _cosigned(self.body, time))
            return time
        raise NoteInvalid(f"the checkpoint is not cosigned by {key.name}")

    def _by(self, key: Verifier) -> list[Signature]:
        return [it for it in self.signatures if (it.name, it.hash) == (key.name, key.hash)]


@dataclass(frozen=True)
class LogKey:
    """Signs checkpoints of the log that is called `name`, or cosigns those of others."""

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def of(cls, log_id: str, seed: bytes) -> Self:
        return cls(f"rescind.ledger/{log_id}", seed)

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def verifier(self, kind: int = _ED25519) -> Verifier:
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return Verifier(self.name, kind, public)

    def witness(self) -> Verifier:
        return self.verifier(_COSIGNATURE)

    def checkpoint(self, size: int, root: bytes) -> Checkpoint:
        plain = Checkpoint(self.name, size, root)
        signature = self._private.sign(plain.body.encode())
        return plain.with_signatures([Signature(self.name, self.verifier().hash, signature)])

    def cosign(self, checkpoint: Checkpoint, time: int) -> Signature:
        """What the caller has found to be consistent with all that it cosigned before."""
        signature = self._private.sign(_cosigned(checkpoint.body, time))
        return Signature(self.name, self.witness().hash, time.to_bytes(8, "big") + signature)


def _cosigned(body: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{body}".encode()


def _signature(line: str) -> Signature:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2:
        raise NoteInvalid(f"{line[:60]!r} is no line of a signature")
    raw = _base64(parts[1], "signature")
    if len(raw) < 5:
        raise NoteInvalid("a signature is too short")
    return Signature(_name(parts[0]), raw[:4], raw[4:])


def _name(text: str) -> str:
    if not text or not text.isprintable() or any(c.isspace() or c == "+" for c in text):
        raise NoteInvalid(f"{text[:60]!r} is no name of a key")
    return text


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoteInvalid(f"the {what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteInvalid(f"the {what} is not canonical base64")
    return raw
