"""Artifacts on the wire: 4 MiB chunks, each named by its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from rescind.wire.errors import BadMessage, WrongHash
from rescind.wire.generated import rescind_pb2 as pb

CHUNK_BYTES = 4 * 2**20
ID_BYTES = 32


@dataclass(frozen=True)
class Manifest:
    """`size` in bytes; ids are lowercase hexadecimal SHA-256."""

    artifact_id: str
    size: int
    chunk_ids: tuple[str, ...]

    def to_wire(self) -> pb.Manifest:
        return pb.Manifest(
            artifact_id=bytes.fromhex(self.artifact_id),
            size=self.size,
            chunk_ids=[bytes.fromhex(one) for one in self.chunk_ids],
        )

    @classmethod
    def from_wire(cls, message: pb.Manifest, *, max_bytes: int) -> Manifest:
        """Raises BadMessage for a manifest that cannot be true or is too large."""
        chunks = len(message.chunk_ids)
        if message.size > max_bytes:
            raise BadMessage(f"artifact of {message.size} bytes, at most {max_bytes} are accepted")
        if message.size == 0 or chunks != -(-message.size // CHUNK_BYTES):
            raise BadMessage(f"a manifest of {message.size} bytes cannot have {chunks} chunks")
        return cls(
            id_from_wire(message.artifact_id),
            message.size,
            tuple(id_from_wire(one) for one in message.chunk_ids),
        )


def id_from_wire(value: bytes) -> str:
    if len(value) != ID_BYTES:
        raise BadMessage(f"an id has {ID_BYTES} bytes, got {len(value)}")
    return value.hex()


def split(data: bytes) -> tuple[Manifest, dict[str, bytes]]:
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    named = [(hashlib.sha256(piece).hexdigest(), piece) for piece in pieces]
    manifest = Manifest(hashlib.sha256(data).hexdigest(), len(data), tuple(one for one, _ in named))
    return manifest, dict(named)


def join(manifest: Manifest, chunks: Mapping[str, bytes]) -> bytes:
    """The artifact's bytes. Raises WrongHash unless they are those that the manifest names."""
    data = b"".join(chunks[one] for one in manifest.chunk_ids)
    if hashlib.sha256(data).hexdigest() != manifest.artifact_id or len(data) != manifest.size:
        raise WrongHash(f"the chunks of {manifest.artifact_id} make up another artifact")
    return data


def check_chunk(chunk_id: str, data: bytes) -> None:
    """Raises WrongHash, or BadMessage for a chunk that is too large."""
    if len(data) > CHUNK_BYTES:
        raise BadMessage(f"chunk of {len(data)} bytes, at most {CHUNK_BYTES} are accepted")
    found = hashlib.sha256(data).hexdigest()
    if found != chunk_id:
        raise WrongHash(f"chunk named {chunk_id} hashes to {found}")
