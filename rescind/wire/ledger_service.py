"""The wire between organizations' ledgers: checkpoints, cosignatures, and records shown to auditors."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from rescind.wire.errors import NodeUnavailable
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import Caller
from rescind.wire.grpc_server import answer, caller_fingerprint, start_server
from rescind.wire.identity import TlsFiles

_SERVICE = "rescind.v1.Ledger"
_PATH = 64


@dataclass(frozen=True)
class Question:
    """`certificate`: SHA-256 of the caller's. `signature`: not checked yet."""

    index: int
    time: int
    signature: bytes
    certificate: str


@dataclass(frozen=True)
class ToCosign:
    """A checkpoint as text, the key of its log, and why it continues what was cosigned at `old_size`."""

    note: str
    key: str
    old_size: int
    proof: tuple[bytes, ...]


class LedgerHandler(Protocol):
    """What a node answers; `certificate` is the SHA-256 of the caller's."""

    def checkpoint(self) -> tuple[str, str]: ...
    def disclose(self, question: Question) -> bytes: ...
    def seen(self, certificate: str, key: str) -> int: ...
    def cosign(self, certificate: str, asked: ToCosign) -> tuple[str, str]: ...


def serve_ledger(handler: LedgerHandler, address: str, tls: TlsFiles) -> tuple[grpc.Server, int]:
    """A started server and its port. Raises WireError when the address cannot be bound."""

    def add(server: grpc.Server) -> None:
        rpc.add_LedgerServicer_to_server(_Servicer(handler), server)  # type: ignore[no-untyped-call]

    return start_server(add, _SERVICE, address, tls)


class _Servicer(rpc.LedgerServicer):
    def __init__(self, handler: LedgerHandler) -> None:
        self._handler = handler

    def GetCheckpoint(self, request: pb.CheckpointRequest, context: Any) -> pb.LogCheckpoint:  # noqa: ARG002, N802
        def reply() -> pb.LogCheckpoint:
            note, key = self._handler.checkpoint()
            return pb.LogCheckpoint(note=note, key=key)

        return answer(context, reply)

    def Disclose(self, request: pb.DisclosureRequest, context: Any) -> pb.DisclosureFile:  # noqa: N802
        def reply() -> pb.DisclosureFile:
            certificate = caller_fingerprint(context)
            asked = Question(request.index, request.time, request.signature, certificate)
            return pb.DisclosureFile(document=self._handler.disclose(asked))

        return answer(context, reply)

    def GetSeen(self, request: pb.LogKey, context: Any) -> pb.SeenSize:  # noqa: N802
        def reply() -> pb.SeenSize:
            return pb.SeenSize(size=self._handler.seen(caller_fingerprint(context), request.key))

        return answer(context, reply)

    def Cosign(self, request: pb.CosignRequest, context: Any) -> pb.Cosignature:  # noqa: N802
        def reply() -> pb.Cosignature:
            proof = tuple(request.proof[: _PATH + 1])
            asked = ToCosign(request.note, request.key, request.old_size, proof)
            line, key = self._handler.cosign(caller_fingerprint(context), asked)
            return pb.Cosignature(line=line, key=key)

        return answer(context, reply)


class LedgerClient(Caller):
    """Asks another organization's node."""

    who, unavailable = "the node", NodeUnavailable

    def __init__(self, address: str, tls: TlsFiles, *, patience: float = 5.0) -> None:
        super().__init__(address, tls, patience)
        self._stub = rpc.LedgerStub(self.channel)  # type: ignore[no-untyped-call]

    def checkpoint(self) -> tuple[str, str]:
        """The newest, as text, and the key of its log."""
        found: pb.LogCheckpoint = self.call(self._stub.GetCheckpoint, pb.CheckpointRequest())
        return found.note, found.key

    def disclose(self, index: int, time: int, signature: bytes) -> bytes:
        """The file that shows a record, unchecked."""
        message = pb.DisclosureRequest(index=index, time=time, signature=signature)
        found: pb.DisclosureFile = self.call(self._stub.Disclose, message)
        return found.document

    def seen(self, key: str) -> int:
        """The size at which the other node last cosigned a log; 0 if it never did."""
        found: pb.SeenSize = self.call(self._stub.GetSeen, pb.LogKey(key=key))
        return found.size

    def cosign(self, note: str, key: str, old_size: int, proof: Sequence[bytes]) -> tuple[str, str]:
        """The line to add to the note, and the witness's key."""
        message = pb.CosignRequest(note=note, key=key, old_size=old_size, proof=list(proof))
        found: pb.Cosignature = self.call(self._stub.Cosign, message)
        return found.line, found.key
