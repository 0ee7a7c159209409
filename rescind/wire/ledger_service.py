"""Server and client of a node's ledger: checkpoints, cosignatures, disclosure to auditors."""

# ruff: noqa: N802 (gRPC looks methods up by the names in rescind.proto)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import grpc

from rescind.wire.errors import NodeUnavailable
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import GrpcClient
from rescind.wire.grpc_server import answer, caller_certificate, start_server
from rescind.wire.identity import TlsFiles, fingerprint

_SERVICE = "rescind.v1.Ledger"

_MAX_PROOF = 65
"""Hashes in the longest consistency proof of a log with 64-bit sizes. Further hashes are dropped, so
that a caller cannot make the handler work on more; a proof that needed them fails anyway."""


@dataclass(frozen=True)
class DisclosureRequest:
    """An auditor's request to be shown a record.

    Attributes:
        index: Position of the record in the ledger.
        time: Unix seconds at which the auditor asks.
        signature: Signature of `disclosure_typed_data`, unchecked.
        certificate: SHA-256 of the caller's TLS certificate, hexadecimal.
    """

    index: int
    time: int
    signature: bytes
    certificate: str


@dataclass(frozen=True)
class CosignatureRequest:
    """A checkpoint to cosign.

    Attributes:
        note: The checkpoint as text (C2SP tlog-checkpoint).
        key: The key of its log.
        old_size: The size at which the witness last cosigned the log.
        proof: RFC 9162 consistency proof from `old_size`; empty the first time.
    """

    note: str
    key: str
    old_size: int
    proof: tuple[bytes, ...]


class LedgerHandler(Protocol):
    """A node's reply to each call; `certificate` is the caller's, in PEM."""

    def checkpoint(self) -> tuple[str, str]:
        """Return the newest checkpoint as text, and the key of its log."""

    def disclose(self, question: DisclosureRequest) -> bytes:
        """Return the file that discloses a record."""

    def seen(self, certificate: bytes, key: str) -> int:
        """Return the size at which this node last cosigned a log; 0 if it never did."""

    def cosign(self, certificate: bytes, asked: CosignatureRequest) -> tuple[str, str]:
        """Return the line to add to the note, and this witness's key."""


def serve_ledger(handler: LedgerHandler, address: str, tls: TlsFiles) -> tuple[grpc.Server, int]:
    """Start a server for a handler.

    Args:
        handler: Replies to the calls.
        address: HOST:PORT to listen on; port 0 picks a free one.
        tls: The node's key and certificate, and the consortium's authority.

    Returns:
        The started server and its port.

    Raises:
        WireError: The address cannot be bound.
    """

    def add(server: grpc.Server) -> None:
        rpc.add_LedgerServicer_to_server(_Servicer(handler), server)  # type: ignore[no-untyped-call]

    return start_server(add, _SERVICE, address, tls)


class _Servicer(rpc.LedgerServicer):
    """One method for each call of the service; converts messages, and leaves the rest to the handler."""

    def __init__(self, handler: LedgerHandler) -> None:
        self._handler = handler

    def GetCheckpoint(self, request: pb.CheckpointRequest, context: Any) -> pb.LogCheckpoint:  # noqa: ARG002
        def reply() -> pb.LogCheckpoint:
            note, key = self._handler.checkpoint()
            return pb.LogCheckpoint(note=note, key=key)

        return answer(context, reply)

    def Disclose(self, request: pb.DisclosureRequest, context: Any) -> pb.DisclosureFile:
        def reply() -> pb.DisclosureFile:
            certificate = fingerprint(caller_certificate(context))
            asked = DisclosureRequest(request.index, request.time, request.signature, certificate)
            return pb.DisclosureFile(document=self._handler.disclose(asked))

        return answer(context, reply)

    def GetSeen(self, request: pb.LogKey, context: Any) -> pb.SeenSize:
        def reply() -> pb.SeenSize:
            return pb.SeenSize(size=self._handler.seen(caller_certificate(context), request.key))

        return answer(context, reply)

    def Cosign(self, request: pb.CosignRequest, context: Any) -> pb.Cosignature:
        def reply() -> pb.Cosignature:
            proof = tuple(request.proof[:_MAX_PROOF])
            asked = CosignatureRequest(request.note, request.key, request.old_size, proof)
            line, key = self._handler.cosign(caller_certificate(context), asked)
            return pb.Cosignature(line=line, key=key)

        return answer(context, reply)


class LedgerClient(GrpcClient):
    """A connection to another organization's node that retries calls while it is away.

    Any method raises NodeUnavailable if the node stays away, and the WireError with which the node
    refused the call.

    Args:
        address: HOST:PORT of the node.
        tls: The caller's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried.
    """

    peer, unavailable = "the node", NodeUnavailable
    stub_type = rpc.LedgerStub

    def __init__(self, address: str, tls: TlsFiles, *, patience: float = 5.0) -> None:
        super().__init__(address, tls, patience)

    def checkpoint(self) -> tuple[str, str]:
        """Return the node's newest checkpoint as text, and the key of its log."""
        reply: pb.LogCheckpoint = self.call(self._stub.GetCheckpoint, pb.CheckpointRequest())
        return reply.note, reply.key

    def disclose(self, index: int, time: int, signature: bytes) -> bytes:
        """Return the file that discloses a record, unchecked.

        Args:
            index: Position of the record in the node's ledger.
            time: Unix seconds, as in the signed document.
            signature: Signature of `disclosure_typed_data`.
        """
        message = pb.DisclosureRequest(index=index, time=time, signature=signature)
        reply: pb.DisclosureFile = self.call(self._stub.Disclose, message)
        return reply.document

    def seen(self, key: str) -> int:
        """Return the size at which the node last cosigned the log with a key; 0 if never."""
        reply: pb.SeenSize = self.call(self._stub.GetSeen, pb.LogKey(key=key))
        return reply.size

    def cosign(self, note: str, key: str, old_size: int, proof: Sequence[bytes]) -> tuple[str, str]:
        """Ask the node to cosign a checkpoint.

        Args:
            note: The checkpoint as text.
            key: The key of its log.
            old_size: What `seen` returned.
            proof: RFC 9162 consistency proof from `old_size`; empty the first time.

        Returns:
            The line to add to the note, and the witness's key.
        """
        message = pb.CosignRequest(note=note, key=key, old_size=old_size, proof=list(proof))
        reply: pb.Cosignature = self.call(self._stub.Cosign, message)
        return reply.line, reply.key
