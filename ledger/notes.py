"""Signed checkpoints: C2SP tlog-checkpoint, signed-note and tlog-cosignature (v1).

A checkpoint is the text `origin, size, root` with lines of signatures below it. A witness adds a
line that says when it saw that the log had only grown.
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
"""Begins a signature line (C2SP signed-note)."""
_NOTE_BYTES = 2**16
"""The longest checkpoint that is read; a note of 64 signatures is below 12 KiB."""
_MOST_SIGNATURES = 64


class NoteInvalid(LedgerError):
    """A checkpoint, a key or a signature is malformed or does not hold."""

    code = "ledger-note-invalid"


@dataclass(frozen=True)
class Verifier:
    """A public key, as C2SP signed-note writes it: NAME+HASH+BASE64.

    Attributes:
        name: The name of the log or witness.
        kind: 1 for a log (Ed25519), 4 for a witness (timestamped Ed25519 cosignature).
        public: The 32 bytes of the Ed25519 key.
    """

    name: str
    kind: int
    public: bytes

    @property
    def hash(self) -> bytes:
        """The 4 bytes by which a signature line names the key."""
        text = self.name.encode() + b"\n" + bytes([self.kind]) + self.public
        return hashlib.sha256(text).digest()[:4]

    def __str__(self) -> str:
        key = base64.b64encode(bytes([self.kind]) + self.public).decode()
        return f"{self.name}+{self.hash.hex()}+{key}"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read NAME+HASH+BASE64; raise NoteInvalid for anything else."""
        try:
            name, hashed, key = text.strip().split("+", 2)
            raw = base64.b64decode(key, validate=True)
            verifier = cls(_name(name), raw[0], raw[1:])
        except (ValueError, IndexError, binascii.Error) as error:
            raise NoteInvalid(
                f"{text[:100]!r} is not a valid key: it must be NAME+HASH+BASE64"
            ) from error
        if verifier.kind not in (_ED25519, _COSIGNATURE) or len(verifier.public) != 32:
            raise NoteInvalid(f"{text[:100]!r} is not a valid Ed25519 key")
        if verifier.hash.hex() != hashed:
            raise NoteInvalid(f"{text[:100]!r} is damaged: its hash does not match its key")
        return verifier

    def check(self, signature: bytes, message: bytes) -> None:
        """Check an Ed25519 signature; raise NoteInvalid when it does not hold."""
        try:
            Ed25519PublicKey.from_public_bytes(self.public).verify(signature, message)
        except (InvalidSignature, ValueError) as error:
            raise NoteInvalid(f"the signature by {self.name} does not match the text") from error


@dataclass(frozen=True)
class Signature:
    """A signature line of a note.

    Attributes:
        name: The name of the key.
        hash: The hash of the key, 4 bytes.
        data: The signature in the encoding of the key's kind.
    """

    name: str
    hash: bytes
    data: bytes

    def line(self) -> str:
        """Return the line, with its line feed."""
        return f"{_DASH}{self.name} {base64.b64encode(self.hash + self.data).decode()}\n"


@dataclass(frozen=True)
class Checkpoint:
    """A log's size and root, with signatures.

    Attributes:
        origin: The name of the log.
        size: The number of entries.
        root: Their root, 32 bytes.
        signatures: By the log and by witnesses; unchecked.
    """

    origin: str
    size: int
    root: bytes
    signatures: tuple[Signature, ...] = ()

    @property
    def body(self) -> str:
        """The text that is signed."""
        return f"{self.origin}\n{self.size}\n{base64.b64encode(self.root).decode()}\n"

    def __str__(self) -> str:
        return f"{self.body}\n{''.join(signature.line() for signature in self.signatures)}"

    def with_signatures(self, more: Iterable[Signature]) -> Checkpoint:
        """Return the checkpoint with more signatures."""
        return replace(self, signatures=(*self.signatures, *more))

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a signed checkpoint without checking signatures; raise NoteInvalid if malformed."""
        if len(text) > _NOTE_BYTES:
            raise NoteInvalid(
                f"a checkpoint has {len(text)} characters; at most {_NOTE_BYTES} are read"
            )
        body, apart, rest = text.partition("\n\n")
        lines = body.split("\n")
        if not apart or len(lines) != 3 or not rest.endswith("\n"):
            raise NoteInvalid(
                "this is not a checkpoint: it must have the lines origin, size and root, an empty "
                "line, and signature lines"
            )
        origin, size, root = lines
        if not size.isascii() or not size.isdigit() or str(int(size[:20])) != size:
            raise NoteInvalid(f"{size[:30]!r} is not a valid log size")
        raw = _base64(root, "root")
        if len(raw) != 32:
            raise NoteInvalid(f"the root has {len(raw)} bytes and must have 32")
        signatures = rest[:-1].split("\n")
        if len(signatures) > _MOST_SIGNATURES:
            raise NoteInvalid(
                f"a checkpoint has {len(signatures)} signatures; at most {_MOST_SIGNATURES} "
                "are read"
            )
        return cls(_name(origin), int(size), raw, tuple(map(_signature, signatures)))

    def check_signed(self, key: Verifier) -> None:
        """Check the signature of the log; raise NoteInvalid when there is none or it is wrong."""
        for signature in self._by(key):
            key.check(signature.data, self.body.encode())
            return
        raise NoteInvalid(f"the checkpoint is not signed by {key.name}")

    def cosigned_at(self, key: Verifier) -> int:
        """Check the cosignature of a witness.

        Returns:
            The time at which the witness saw the checkpoint, in Unix seconds.

        Raises:
            NoteInvalid: There is no cosignature, or it is wrong.
        """
        for signature in self._by(key):
            time = int.from_bytes(signature.data[:8], "big")
            key.check(signature.data[8:], _cosigned(self.body, time))
            return time
        raise NoteInvalid(f"the checkpoint is not cosigned by {key.name}")

    def _by(self, key: Verifier) -> list[Signature]:
        return [
            signature
            for signature in self.signatures
            if (signature.name, signature.hash) == (key.name, key.hash)
        ]


@dataclass(frozen=True)
class LogKey:
    """A private Ed25519 key that signs checkpoints of a log, or cosigns those of others.

    Attributes:
        name: The name of the log or witness.
        seed: 32 bytes.
    """

    name: str
    seed: bytes = field(repr=False)

    @classmethod
    def of(cls, log_id: str, seed: bytes) -> Self:
        """Return the key of the log with an id."""
        return cls(f"rescind.ledger/{log_id}", seed)

    @property
    def _private(self) -> Ed25519PrivateKey:
        return Ed25519PrivateKey.from_private_bytes(self.seed)

    def verifier(self, kind: int = _ED25519) -> Verifier:
        """Return the public key, by default as a log's."""
        public = self._private.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
        return Verifier(self.name, kind, public)

    def witness(self) -> Verifier:
        """Return the public key as a witness's."""
        return self.verifier(_COSIGNATURE)

    def checkpoint(self, size: int, root: bytes) -> Checkpoint:
        """Return a signed checkpoint."""
        plain = Checkpoint(self.name, size, root)
        signature = self._private.sign(plain.body.encode())
        return plain.with_signatures([Signature(self.name, self.verifier().hash, signature)])

    def cosign(self, checkpoint: Checkpoint, time: int) -> Signature:
        """Return a cosignature at a time in Unix seconds.

        The caller must have checked that the checkpoint is consistent with all that it cosigned
        before.
        """
        signature = self._private.sign(_cosigned(checkpoint.body, time))
        return Signature(self.name, self.witness().hash, time.to_bytes(8, "big") + signature)


def _cosigned(body: str, time: int) -> bytes:
    return f"cosignature/v1\ntime {time}\n{body}".encode()


def _signature(line: str) -> Signature:
    parts = line.removeprefix(_DASH).split(" ")
    if not line.startswith(_DASH) or len(parts) != 2:
        raise NoteInvalid(f"{line[:60]!r} is not a valid signature line")
    raw = _base64(parts[1], "signature")
    if len(raw) < 5:
        raise NoteInvalid(f"the signature by {parts[0][:60]!r} is too short")
    return Signature(_name(parts[0]), raw[:4], raw[4:])


def _name(text: str) -> str:
    if not text or not text.isprintable() or any(c.isspace() or c == "+" for c in text):
        raise NoteInvalid(
            f"{text[:60]!r} is not a valid key name: it must be printable, without spaces or +"
        )
    return text


def _base64(text: str, what: str) -> bytes:
    try:
        raw = base64.b64decode(text.encode("ascii"), validate=True)
    except (ValueError, binascii.Error) as error:
        raise NoteInvalid(f"the {what} is not base64") from error
    if base64.b64encode(raw).decode() != text:
        raise NoteInvalid(f"the {what} is not canonical base64")
    return raw
