"""The aggregator's end of the wire: mutual TLS, every caller known by its certificate."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol, TypeVar

import grpc

from rescind.wire.errors import NotAMember
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_server import answer, caller_fingerprint, start_server
from rescind.wire.identity import TlsFiles
from rescind.wire.transfer import Manifest, check_chunk, id_from_wire

_SERVICE = "rescind.v1.Aggregator"

_Reply = TypeVar("_Reply")


@dataclass(frozen=True)
class SubmittedUpdate:
    """What an organization says about one artifact; `signature` is not checked yet."""

    round_id: int
    manifest: Manifest
    nonce: int
    signature: bytes


@dataclass(frozen=True)
class SubmittedOffer:
    """What an organization says about a delta that a withdrawal needs; `round_id` 0: a counter-delta.
    Neither `report` nor `signature` is checked yet."""

    withdrawal_id: int
    round_id: int
    manifest: Manifest
    report: bytes
    signature: bytes


@dataclass(frozen=True)
class SubmittedFisher:
    """Statistics of an organization's data; neither they nor `signature` are checked yet."""

    round_id: int
    manifest: Manifest
    signature: bytes


@dataclass(frozen=True)
class Description:
    parameters_id: str
    chain_id: int
    rounds_address: str
    latest_model_id: int
    adapter_id: str


class AggregatorHandler(Protocol):
    """What the aggregator does with authenticated calls; `organization` is an EIP-55 address."""

    max_artifact_bytes: int

    def organization_of(self, fingerprint: str) -> str | None: ...
    def describe(self) -> Description: ...
    def missing(self, organization: str, manifest: Manifest) -> Sequence[str]: ...
    def put_chunk(self, organization: str, chunk_id: str, data: bytes) -> None: ...
    def submit(self, organization: str, update: SubmittedUpdate) -> None: ...
    def submit_offered(self, organization: str, offer: SubmittedOffer) -> None: ...
    def post_fisher(self, organization: str, fisher: SubmittedFisher) -> None: ...
    def fisher(self, organization: str, model_id: int) -> str: ...
    def replay_start(self, organization: str, withdrawal_id: int, round_id: int) -> str: ...
    def round_sums(self, organization: str, model_id: int) -> Sequence[str]: ...
    def replay_sums(
        self, organization: str, withdrawal_id: int, round_id: int
    ) -> Sequence[str]: ...
    def manifest(self, organization: str, artifact_id: str) -> Manifest: ...
    def chunk(self, organization: str, chunk_id: str) -> bytes: ...
    def digest(self, organization: str, root: str) -> bytes: ...


def serve(handler: AggregatorHandler, address: str, tls: TlsFiles) -> tuple[grpc.Server, int]:
    """A started server and its port. Raises WireError when the address cannot be bound."""

    def add(server: grpc.Server) -> None:
        rpc.add_AggregatorServicer_to_server(_Servicer(handler), server)  # type: ignore[no-untyped-call]

    return start_server(add, _SERVICE, address, tls)


class _Servicer(rpc.AggregatorServicer):
    def __init__(self, handler: AggregatorHandler) -> None:
        self._handler = handler

    def Describe(self, request: pb.DescribeRequest, context: Any) -> pb.Description:  # noqa: ARG002, N802
        def reply(_: str) -> pb.Description:
            found = self._handler.describe()
            return pb.Description(
                parameters_id=bytes.fromhex(found.parameters_id),
                chain_id=found.chain_id,
                rounds_address=found.rounds_address,
                latest_model_id=found.latest_model_id,
                adapter_id=bytes.fromhex(found.adapter_id),
            )

        return self._answer(context, reply)

    def MissingChunks(self, request: pb.Manifest, context: Any) -> pb.ChunkIds:  # noqa: N802
        def reply(caller: str) -> pb.ChunkIds:
            found = self._handler.missing(caller, self._manifest(request))
            return pb.ChunkIds(chunk_ids=[bytes.fromhex(one) for one in found])

        return self._answer(context, reply)

    def PutChunk(self, request: pb.Chunk, context: Any) -> pb.Stored:  # noqa: N802
        def reply(caller: str) -> pb.Stored:
            chunk_id = id_from_wire(request.chunk_id)
            check_chunk(chunk_id, request.data)
            self._handler.put_chunk(caller, chunk_id, request.data)
            return pb.Stored()

        return self._answer(context, reply)

    def SubmitUpdate(self, request: pb.SignedUpdate, context: Any) -> pb.Receipt:  # noqa: N802
        def reply(caller: str) -> pb.Receipt:
            manifest = self._manifest(request.manifest)
            self._handler.submit(
                caller,
                SubmittedUpdate(request.round_id, manifest, request.nonce, request.signature),
            )
            return pb.Receipt(artifact_id=request.manifest.artifact_id)

        return self._answer(context, reply)

    def SubmitOffered(self, request: pb.SignedOffer, context: Any) -> pb.Receipt:  # noqa: N802
        def reply(caller: str) -> pb.Receipt:
            offer = SubmittedOffer(
                request.withdrawal_id,
                request.round_id,
                self._manifest(request.manifest),
                request.report,
                request.signature,
            )
            self._handler.submit_offered(caller, offer)
            return pb.Receipt(artifact_id=request.manifest.artifact_id)

        return self._answer(context, reply)

    def PostFisher(self, request: pb.SignedFisher, context: Any) -> pb.Receipt:  # noqa: N802
        def reply(caller: str) -> pb.Receipt:
            manifest = self._manifest(request.manifest)
            fisher = SubmittedFisher(request.round_id, manifest, request.signature)
            self._handler.post_fisher(caller, fisher)
            return pb.Receipt(artifact_id=request.manifest.artifact_id)

        return self._answer(context, reply)

    def GetFisher(self, request: pb.ModelId, context: Any) -> pb.ArtifactId:  # noqa: N802
        def reply(caller: str) -> pb.ArtifactId:
            found = self._handler.fisher(caller, request.model_id)
            return pb.ArtifactId(artifact_id=bytes.fromhex(found))

        return self._answer(context, reply)

    def GetReplayStart(self, request: pb.ReplayRound, context: Any) -> pb.ArtifactId:  # noqa: N802
        def reply(caller: str) -> pb.ArtifactId:
            found = self._handler.replay_start(caller, request.withdrawal_id, request.round_id)
            return pb.ArtifactId(artifact_id=bytes.fromhex(found))

        return self._answer(context, reply)

    def GetRoundSums(self, request: pb.ModelId, context: Any) -> pb.ArtifactIds:  # noqa: N802
        return self._answer(
            context, lambda caller: _ids(self._handler.round_sums(caller, request.model_id))
        )

    def GetReplaySums(self, request: pb.ReplayRound, context: Any) -> pb.ArtifactIds:  # noqa: N802
        return self._answer(
            context,
            lambda caller: _ids(
                self._handler.replay_sums(caller, request.withdrawal_id, request.round_id)
            ),
        )

    def GetManifest(self, request: pb.ArtifactId, context: Any) -> pb.Manifest:  # noqa: N802
        return self._answer(
            context,
            lambda caller: self._handler.manifest(
                caller, id_from_wire(request.artifact_id)
            ).to_wire(),
        )

    def GetChunk(self, request: pb.ChunkId, context: Any) -> pb.Chunk:  # noqa: N802
        def reply(caller: str) -> pb.Chunk:
            data = self._handler.chunk(caller, id_from_wire(request.chunk_id))
            return pb.Chunk(chunk_id=request.chunk_id, data=data)

        return self._answer(context, reply)

    def GetDigest(self, request: pb.DigestRoot, context: Any) -> pb.DigestBytes:  # noqa: N802
        return self._answer(
            context,
            lambda caller: pb.DigestBytes(
                data=self._handler.digest(caller, id_from_wire(request.root))
            ),
        )

    def _manifest(self, message: pb.Manifest) -> Manifest:
        return Manifest.from_wire(message, max_bytes=self._handler.max_artifact_bytes)

    def _answer(self, context: Any, reply: Callable[[str], _Reply]) -> _Reply:
        return answer(context, lambda: reply(self._caller(context)))

    def _caller(self, context: Any) -> str:
        digest = caller_fingerprint(context)
        organization = self._handler.organization_of(digest)
        if organization is None:
            raise NotAMember(
                f"the certificate with fingerprint {digest} is not that of a member on chain"
            )
        return organization


def _ids(artifacts: Sequence[str]) -> pb.ArtifactIds:
    return pb.ArtifactIds(artifact_ids=[bytes.fromhex(one) for one in artifacts])
