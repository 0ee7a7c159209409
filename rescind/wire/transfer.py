"""Artifacts on the wire: pieces at an offset, whose size follows the speed of the link."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from rescind.core.mapped import Bytes
from rescind.wire.errors import BadMessage
from rescind.wire.generated import rescind_pb2 as pb

MOST_PIECE_BYTES = 4 * 2**20
"""Largest piece: it fits one gRPC message."""

FIRST_PIECE_BYTES = 2**16
"""Size of the first piece: it takes two seconds at 256 kbit/s."""

LEAST_PIECE_BYTES = 2**13
"""Smallest piece: it takes eight seconds at 8 kbit/s."""

ID_BYTES = 32
"""Bytes of a SHA-256."""

_FAST_SECONDS, _SLOW_SECONDS = 0.5, 4.0
"""Pieces double while one takes less than the first, and halve when one takes more than the second."""

_SLOWEST = 512.0
"""Bytes per second of the slowest link that a deadline allows for before the speed is known."""

_SLACK = 8.0
"""A piece may take this many times as long as the last one suggests."""

_PIPELINED_BYTES = 2**20
"""Size from which several pieces are under way at a time: the link is fast then."""


@dataclass(frozen=True)
class SizedArtifact:
    """An artifact by its id, with its size.

    Attributes:
        artifact_id: SHA-256 of the artifact, lowercase hexadecimal.
        size: Bytes of the artifact.
    """

    artifact_id: str
    size: int

    @classmethod
    def of(cls, data: Bytes) -> SizedArtifact:
        """Return the artifact with these bytes."""
        return cls(hashlib.sha256(data).hexdigest(), len(data))

    def to_wire(self) -> pb.SizedArtifact:
        """Return the artifact as a protobuf message."""
        return pb.SizedArtifact(artifact_id=bytes.fromhex(self.artifact_id), size=self.size)

    @classmethod
    def from_wire(cls, message: pb.SizedArtifact, *, max_bytes: int) -> SizedArtifact:
        """Return the artifact that a protobuf message names.

        Raises:
            BadMessage: It is empty, or larger than `max_bytes`.
        """
        check_size(message.size, max_bytes)
        return cls(id_from_wire(message.artifact_id), message.size)


def check_size(size: int, max_bytes: int) -> None:
    """Check the size of an artifact.

    Raises:
        BadMessage: It is empty, or larger than `max_bytes`.
    """
    if not 0 < size <= max_bytes:
        raise BadMessage(
            f"the artifact has {size} bytes, at least 1 and at most {max_bytes} are accepted"
        )


def id_from_wire(value: bytes) -> str:
    """Return an id of a message in lowercase hexadecimal.

    Raises:
        BadMessage: The id does not have 32 bytes.
    """
    if len(value) != ID_BYTES:
        raise BadMessage(f"an id must have {ID_BYTES} bytes, this one has {len(value)}")
    return value.hex()


def piece_message(artifact_id: str, offset: int, data: memoryview) -> bytes:
    """Return a serialized Piece. The bytes of the artifact are copied once."""
    head = pb.Piece(artifact_id=bytes.fromhex(artifact_id), offset=offset).SerializeToString()
    return b"".join((head, b"\x1a", _varint(len(data)), data))


@dataclass(frozen=True)
class ReceivedPiece:
    """A piece that arrived; its bytes are a view of the message.

    Attributes:
        artifact_id: SHA-256 of the artifact, raw.
        offset: Where the piece begins in the artifact.
        data: The piece.
    """

    artifact_id: bytes
    offset: int
    data: memoryview

    @classmethod
    def parse(cls, message: bytes) -> ReceivedPiece:
        """Read a serialized Piece.

        With its fields in order, as protobuf writes it, the bytes are not copied. Any other form is
        left to protobuf, which copies them twice.

        Raises:
            DecodeError: The message is not a Piece.
        """
        start = 2 + ID_BYTES
        if message[:2] == bytes((0x0A, ID_BYTES)):
            offset, after = 0, start
            if message[after : after + 1] == b"\x10":
                offset, after = _read_varint(message, after + 1)
            if message[after : after + 1] == b"\x1a":
                length, after = _read_varint(message, after + 1)
                if after and length == len(message) - after:
                    return cls(message[2:start], offset, memoryview(message)[after:])
        piece = pb.Piece.FromString(message)
        return cls(piece.artifact_id, piece.offset, memoryview(piece.data))


def _read_varint(message: bytes, at: int) -> tuple[int, int]:
    """Return a number of at most 63 bits and where it ends, 0 if there is none."""
    value = 0
    for index, byte in enumerate(message[at : at + 9]):
        value |= (byte & 0x7F) << 7 * index
        if byte <= 0x7F:
            return value, at + index + 1
    return 0, 0


def _varint(value: int) -> bytes:
    """Return a number in the variable length of protobuf."""
    encoded = bytearray()
    while value > 0x7F:
        encoded.append(value & 0x7F | 0x80)
        value >>= 7
    encoded.append(value)
    return bytes(encoded)


class Pace:
    """The size and the deadline of pieces, from how long the last ones took.

    Args:
        seconds: The shortest deadline.
    """

    def __init__(self, seconds: float) -> None:
        self._shortest = seconds
        self._rate: float | None = None
        self.size = FIRST_PIECE_BYTES

    @property
    def under_way(self) -> int:
        """Pieces that may be under way at a time."""
        return 3 if self.size >= _PIPELINED_BYTES else 1

    def deadline(self, length: int) -> float:
        """Return the seconds that a piece may take, with all that is sent before it.

        Args:
            length: Bytes of the piece.
        """
        if self._rate is None:
            return max(self._shortest, length / _SLOWEST)
        return max(self._shortest, _SLACK * length * self.under_way / self._rate)

    def took(self, length: int, seconds: float) -> None:
        """Adapt to a piece that arrived.

        Args:
            length: Bytes of the piece.
            seconds: Time that it took.
        """
        self._rate = length / max(seconds, 1e-6)
        if seconds > _SLOW_SECONDS:
            self.size = max(self.size // 2, LEAST_PIECE_BYTES)
        elif seconds < _FAST_SECONDS and length >= self.size:
            self.size = min(2 * self.size, MOST_PIECE_BYTES)

    def failed(self) -> None:
        """Adapt to a piece that did not arrive: the link may be another one now."""
        self._rate = None
        self.size = max(min(self.size, FIRST_PIECE_BYTES) // 2, LEAST_PIECE_BYTES)
