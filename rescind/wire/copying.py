"""Bytes of an upload that the server has already, in an earlier artifact of the same sender."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core.mapped import Bytes
from rescind.wire.errors import NotHeld
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.transfer import MOST_PIECE_BYTES, SizedArtifact
from rescind.wire.uploading import Connection, Upload

_COMPARED_BYTES = 2**20
"""Bytes of two artifacts that are compared at a time."""
_LEAST_COPIED_BYTES = 2**12
"""From here on bytes that the server has are named instead of sent; fewer are sent as quickly."""


@dataclass(frozen=True)
class Copied:
    """Bytes of an artifact that an earlier one has at the same place: from `start` to `end`."""

    start: int
    end: int


def copied_ranges(data: Bytes, like: Bytes | None) -> Iterator[Copied]:
    """Yield the beginning and the end of an artifact, where an earlier one has the same bytes.

    Statistics of the same rows differ in their hiding noise alone, which is one range of bytes.

    Args:
        data: The artifact.
        like: The earlier artifact, if there is one.
    """
    start, end = (0, 0) if like is None else common_ends(data, like)
    for each in (Copied(0, start), Copied(len(data) - end, len(data))):
        if each.end - each.start >= _LEAST_COPIED_BYTES:
            yield each


def common_ends(data: Bytes, other: Bytes) -> tuple[int, int]:
    """Return how many bytes two artifacts have in common at their beginning and at their end.

    The two ranges do not overlap. Artifacts of different sizes have nothing in common.

    Example:
        >>> common_ends(b"rescind", b"respond")
        (3, 2)
    """
    if len(data) != len(other):
        return 0, 0
    ours, theirs = (np.frombuffer(each, dtype=np.uint8) for each in (data, other))
    start = _common(ours, theirs)
    return start, _common(ours[start:][::-1], theirs[start:][::-1])


def send(
    connection: Connection,
    artifact: SizedArtifact,
    data: Bytes,
    like: Bytes | None,
    *,
    seconds: float,
    patience: float,
) -> None:
    """Send an artifact, but for bytes that the server can copy from an earlier one.

    Args:
        connection: The client.
        artifact: The artifact.
        data: Its bytes.
        like: The earlier artifact, if there is one.
        seconds: Shortest deadline of a piece.
        patience: Seconds without progress after which the upload fails.

    Raises:
        WireError: As `Upload.run`.
    """

    def run(until: int) -> None:
        Upload(connection, artifact, data, seconds=seconds, patience=patience, until=until).run()

    for copied in copied_ranges(data, like):
        assert like is not None
        run(copied.start)
        _copy(connection, artifact, SizedArtifact.of(like), copied.end)
    run(artifact.size)


def _copy(
    connection: Connection, artifact: SizedArtifact, source: SizedArtifact, until: int
) -> None:
    """Have the server copy bytes of an earlier artifact, as far as it still keeps that one."""
    held = connection.begin_upload(artifact)
    while held < until:
        message = pb.CopiedPiece(
            artifact_id=bytes.fromhex(artifact.artifact_id),
            offset=held,
            length=min(MOST_PIECE_BYTES, until - held),
            source_id=bytes.fromhex(source.artifact_id),
        )
        try:
            now = connection.copy_piece(message)
        except NotHeld:
            return
        if now <= held:
            return
        held = now


def _common(ours: NDArray[np.uint8], theirs: NDArray[np.uint8]) -> int:
    """Return the number of equal bytes before the first that differ."""
    for at in range(0, len(ours), _COMPARED_BYTES):
        piece = slice(at, at + _COMPARED_BYTES)
        different = np.flatnonzero(ours[piece] != theirs[piece])
        if len(different):
            return at + int(different[0])
    return len(ours)
