"""Artifacts on the wire: chunks of 4 MiB, each named by its SHA-256."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from dataclasses import dataclass

from rescind.wire.errors import BadMessage, WrongHash
from rescind.wire.generated import rescind_pb2 as pb

CHUNK_BYTES = 4 * 2**20
"""Bytes of a chunk: a retry repeats little, and a chunk fits one gRPC message."""

ID_BYTES = 32
"""Bytes of a SHA-256."""


@dataclass(frozen=True)
class ChunkList:
    """The chunks that make up an artifact.

    Attributes:
        artifact_id: SHA-256 of the artifact, lowercase hexadecimal.
        size: Bytes of the artifact.
        chunk_ids: SHA-256 of each chunk, in order, lowercase hexadecimal. All chunks but the last
            have `CHUNK_BYTES`.
    """

    artifact_id: str
    size: int
    chunk_ids: tuple[str, ...]

    def to_wire(self) -> pb.Manifest:
        """Return the chunk list as a protobuf message."""
        return pb.Manifest(
            artifact_id=bytes.fromhex(self.artifact_id),
            size=self.size,
            chunk_ids=[bytes.fromhex(chunk_id) for chunk_id in self.chunk_ids],
        )

    @classmethod
    def from_wire(cls, message: pb.Manifest, *, max_bytes: int) -> ChunkList:
        """Return the chunk list of a protobuf message.

        Raises:
            BadMessage: The artifact is larger than `max_bytes`, or the number of chunks does not
                match the size.
        """
        chunks = len(message.chunk_ids)
        if message.size > max_bytes:
            raise BadMessage(
                f"the artifact has {message.size} bytes, at most {max_bytes} are accepted"
            )
        if message.size == 0 or chunks != -(-message.size // CHUNK_BYTES):
            raise BadMessage(f"an artifact of {message.size} bytes cannot have {chunks} chunks")
        return cls(
            id_from_wire(message.artifact_id),
            message.size,
            tuple(id_from_wire(chunk_id) for chunk_id in message.chunk_ids),
        )


def id_from_wire(value: bytes) -> str:
    """Return an id of a message in lowercase hexadecimal.

    Raises:
        BadMessage: The id does not have 32 bytes.
    """
    if len(value) != ID_BYTES:
        raise BadMessage(f"an id must have {ID_BYTES} bytes, this one has {len(value)}")
    return value.hex()


def split(data: bytes) -> tuple[ChunkList, dict[str, bytes]]:
    """Return the chunk list of an artifact, and its chunks by id."""
    pieces = [data[start : start + CHUNK_BYTES] for start in range(0, len(data), CHUNK_BYTES)]
    chunk_ids = tuple(hashlib.sha256(piece).hexdigest() for piece in pieces)
    chunk_list = ChunkList(hashlib.sha256(data).hexdigest(), len(data), chunk_ids)
    return chunk_list, dict(zip(chunk_ids, pieces, strict=True))


def join(chunk_list: ChunkList, chunks: Mapping[str, bytes]) -> bytes:
    """Return the bytes of an artifact.

    Args:
        chunk_list: The chunks to join, in order.
        chunks: The bytes of each chunk, by id.

    Raises:
        WrongHash: The joined bytes are not the artifact that the chunk list names.
    """
    data = b"".join(chunks[chunk_id] for chunk_id in chunk_list.chunk_ids)
    if hashlib.sha256(data).hexdigest() != chunk_list.artifact_id or len(data) != chunk_list.size:
        raise WrongHash(f"the chunks of artifact {chunk_list.artifact_id} join to another artifact")
    return data


def check_chunk(chunk_id: str, data: bytes) -> None:
    """Check that the bytes of a chunk match its id.

    Raises:
        BadMessage: The chunk is larger than `CHUNK_BYTES`.
        WrongHash: The chunk does not hash to its id.
    """
    if len(data) > CHUNK_BYTES:
        raise BadMessage(f"the chunk has {len(data)} bytes, at most {CHUNK_BYTES} are accepted")
    digest = hashlib.sha256(data).hexdigest()
    if digest != chunk_id:
        raise WrongHash(f"chunk {chunk_id} hashes to {digest}, not to its id")
