"""Server and client of a node's ledger: checkpoints, cosignatures, disclosure to auditors."""

# ruff: noqa: N802 (gRPC looks methods up by the names in rescind.proto)

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Protocol

from rescind.wire.errors import NodeUnavailable
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import GrpcClient
from rescind.wire.grpc_server import RunningServer, start_server
from rescind.wire.identity import TlsFiles, fingerprint
from rescind.wire.limits import Limits

_SERVICE = pb.DESCRIPTOR.services_by_name["Ledger"]

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


def serve_ledger(
    handler: LedgerHandler,
    address: str,
    tls: TlsFiles,
    *,
    limits: Limits | None = None,
    reflected: bool = False,
) -> RunningServer:
    """Start a server for a handler.

    Args:
        handler: Replies to the calls.
        address: HOST:PORT to listen on; port 0 picks a free one.
        tls: The node's key and certificate, and the consortium's authority.
        limits: What callers may use.
        reflected: Whether to answer reflection, which a devnet is inspected with.

    Raises:
        WireError: The address cannot be bound.
    """
    # Auditors are no members: every certificate of the authority may ask, and the handler decides.
    return start_server(
        _SERVICE, _Servicer(handler), bytes, address, tls, limits=limits, reflected=reflected
    )


class _Servicer:
    """One method for each call of the service; converts messages, and leaves the rest to the handler.

    `caller` is the caller's certificate (PEM).
    """

    def __init__(self, handler: LedgerHandler) -> None:
        self._handler = handler

    def GetCheckpoint(self, caller: bytes, request: pb.CheckpointRequest) -> pb.LogCheckpoint:  # noqa: ARG002
        note, key = self._handler.checkpoint()
        return pb.LogCheckpoint(note=note, key=key)

    def Disclose(self, caller: bytes, request: pb.DisclosureRequest) -> pb.DisclosureFile:
        asked = DisclosureRequest(
            request.index, request.time, request.signature, fingerprint(caller)
        )
        return pb.DisclosureFile(document=self._handler.disclose(asked))

    def GetSeen(self, caller: bytes, request: pb.LogKey) -> pb.SeenSize:
        return pb.SeenSize(size=self._handler.seen(caller, request.key))

    def Cosign(self, caller: bytes, request: pb.CosignRequest) -> pb.Cosignature:
        proof = tuple(request.proof[:_MAX_PROOF])
        asked = CosignatureRequest(request.note, request.key, request.old_size, proof)
        line, key = self._handler.cosign(caller, asked)
        return pb.Cosignature(line=line, key=key)


class LedgerClient(GrpcClient):
    """A connection to another organization's node that retries calls while it is away.

    Any method raises NodeUnavailable if the node stays away, and the WireError with which the node
    refused the call.

    Args:
        address: HOST:PORT of the node.
        tls: The caller's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried.
        check: Raises a WireError unless a certificate (PEM) is the node's; see GrpcClient.
    """

    peer, unavailable = "the node", NodeUnavailable
    stub_type = rpc.LedgerStub

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        *,
        patience: float = 5.0,
        check: Callable[[bytes], None] | None = None,
    ) -> None:
        super().__init__(address, tls, patience, check)

    def checkpoint(self) -> tuple[str, str]:
        """Return the node's newest checkpoint as text, and the key of its log."""
        reply: pb.LogCheckpoint = self.call("GetCheckpoint", pb.CheckpointRequest())
        return reply.note, reply.key

    def disclose(self, index: int, time: int, signature: bytes) -> bytes:
        """Return the file that discloses a record, unchecked.

        Args:
            index: Position of the record in the node's ledger.
            time: Unix seconds, as in the signed document.
            signature: Signature of `disclosure_typed_data`.
        """
        message = pb.DisclosureRequest(index=index, time=time, signature=signature)
        reply: pb.DisclosureFile = self.call("Disclose", message)
        return reply.document

    def seen(self, key: str) -> int:
        """Return the size at which the node last cosigned the log with a key; 0 if never."""
        reply: pb.SeenSize = self.call("GetSeen", pb.LogKey(key=key))
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
        reply: pb.Cosignature = self.call("Cosign", message)
        return reply.line, reply.key
