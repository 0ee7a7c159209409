"""The sending side of an upload: pieces one after the other, resumed where the last ones ended."""

from __future__ import annotations

import time
from collections import deque
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from rescind.core.mapped import Bytes
from rescind.wire.errors import TransferGivenUp
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.grpc_client import has_no_room, is_late, may_pass
from rescind.wire.transfer import Pace, SizedArtifact, piece_message

_PAUSE_SECONDS = 0.2


class Connection(Protocol):
    """The part of a client that an upload needs."""

    def begin_upload(self, artifact: SizedArtifact) -> int:
        """Return how many bytes the server holds."""

    def send_piece(self, message: bytes, seconds: float) -> Any:
        """Send a serialized Piece, and return the future of the reply."""

    def copy_piece(self, message: pb.CopiedPiece) -> int:
        """Have the server copy a piece, and return how many bytes of the upload it holds."""

    def before_piece(self) -> None:
        """Raise if the upload must end now."""

    def close(self) -> None:
        """Drop the connection; the next piece opens another one."""

    def failed(self, error: Any) -> Exception:
        """Return the error to raise for a failed call."""


@dataclass
class _Sent:
    """A piece under way."""

    end: int
    length: int
    at: float
    reply: Any


class Upload:
    """Sends an artifact until the server holds all of it, or as much as is asked for.

    Args:
        connection: The client.
        artifact: The artifact.
        data: Its bytes.
        seconds: Shortest deadline of a piece.
        patience: Seconds without progress after which the upload fails.
        until: How many bytes the server is to hold; all by default.
    """

    def __init__(
        self,
        connection: Connection,
        artifact: SizedArtifact,
        data: Bytes,
        *,
        seconds: float,
        patience: float,
        until: int | None = None,
    ) -> None:
        self._connection, self._artifact = connection, artifact
        self._data, self._patience = memoryview(data), patience
        self._until = artifact.size if until is None else until
        self._pace = Pace(seconds)
        self._sent: deque[_Sent] = deque()
        self._held = 0
        self._last_reply = 0.0

    def run(self) -> None:
        """Send what the server does not hold.

        Only bytes beyond all that were ever held are progress, or a server that forgets what it was
        sent, or says so, would keep the sender for ever.

        Raises:
            WireError: The server refuses the upload, or is away without progress for too long.
            TransferGivenUp: The server answers, and holds no more for too long.
        """
        self._held = most = self._connection.begin_upload(self._artifact)
        progressed, was_late = time.monotonic(), False
        while self._held < self._until:
            error = self._try_rest()
            now = time.monotonic()
            # A late piece is tried once more, on a new connection, whatever the patience.
            again = error is not None and is_late(error) and not was_late
            if self._held > most:
                most, progressed, was_late = self._held, now, False
            elif now - progressed > self._patience and not again:
                raise self._given_up(error, most)
            if error is not None:
                was_late = was_late or is_late(error)
                time.sleep(_PAUSE_SECONDS)
            self._held = self._connection.begin_upload(self._artifact)

    def _try_rest(self) -> grpc.RpcError | None:
        """Send what is not held, and return the error that ended it, if it may pass."""
        try:
            self._send_rest()
        except grpc.RpcError as error:
            self._give_up_pieces()
            if not (may_pass(error) or is_late(error)):
                raise self._connection.failed(error) from error
            if not has_no_room(error):
                # A server that is asked too often says nothing of the link.
                self._pace.failed()
            if is_late(error):
                self._connection.close()
            return error
        return None

    def _given_up(self, error: grpc.RpcError | None, most: int) -> Exception:
        if error is not None:
            return self._connection.failed(error)
        return TransferGivenUp(
            f"the server takes pieces of artifact {self._artifact.artifact_id}, but has held no "
            f"more than {most} of {self._artifact.size} bytes for {self._patience:g} s. The upload "
            "is tried again later."
        )

    def _send_rest(self) -> None:
        """Send pieces from what is held on, until all are held or one is not added."""
        offset, end = self._held, self._until
        while offset < end or self._sent:
            while offset < end and len(self._sent) < self._pace.under_way:
                offset = self._send(offset)
            sent = self._sent.popleft()
            held = self._result(sent)
            if held < sent.end:
                self._give_up_pieces()
                return
            self._held = max(self._held, held)

    def _send(self, offset: int) -> int:
        """Send a piece, and return where the next one begins."""
        self._connection.before_piece()
        data = self._data[offset : min(offset + self._pace.size, self._until)]
        message = piece_message(self._artifact.artifact_id, offset, data)
        reply = self._connection.send_piece(message, self._pace.deadline(len(data)))
        end = offset + len(data)
        self._sent.append(_Sent(end, len(data), time.monotonic(), reply))
        return end

    def _result(self, sent: _Sent) -> int:
        reply: pb.Held = sent.reply.result()
        now = time.monotonic()
        self._pace.took(sent.length, now - max(sent.at, self._last_reply))
        self._last_reply = now
        return reply.bytes

    def _give_up_pieces(self) -> None:
        for each in self._sent:
            each.reply.cancel()
        self._sent.clear()
