"""The aggregator's server: mutual TLS, every caller identified by its certificate."""

# ruff: noqa: N802 (gRPC looks methods up by the names in rescind.proto)

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from rescind.core.mapped import Bytes
from rescind.wire.admission import Admission, Admitted
from rescind.wire.errors import BadMessage
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.grpc_server import RunningServer, start_server
from rescind.wire.identity import TlsFiles
from rescind.wire.limits import Limits
from rescind.wire.transfer import (
    MOST_PIECE_BYTES,
    ReceivedPiece,
    SizedArtifact,
    id_from_wire,
)

_SERVICE = pb.DESCRIPTOR.services_by_name["Aggregator"]


@dataclass(frozen=True)
class SubmittedUpdate:
    """An organization's statement that an artifact is its update; `signature` is unchecked.

    Attributes:
        round_id: The round.
        artifact: What was uploaded.
        nonce: Number of the signed upload.
        signature: EIP-712 signature, 65 bytes.
        part: The part of the update that the artifact is.
    """

    round_id: int
    artifact: SizedArtifact
    nonce: int
    signature: bytes
    part: int = 0


@dataclass(frozen=True)
class SubmittedOffer:
    """A delta for a withdrawal or a replay; `report` and `signature` are unchecked.

    Attributes:
        offer_id: The withdrawal, or with the highest of 64 bits set the replay.
        round_id: The round whose delta is replaced; 0 for a counter-delta.
        artifact: The delta.
        report: The training report, canonical JSON.
        signature: EIP-712 signature, 65 bytes.
    """

    offer_id: int
    round_id: int
    artifact: SizedArtifact
    report: bytes
    signature: bytes


@dataclass(frozen=True)
class SubmittedFisher:
    """The Fisher of an organization's data; neither it nor `signature` is checked."""

    round_id: int
    artifact: SizedArtifact
    signature: bytes


@dataclass(frozen=True)
class ModelFiles:
    """The files of a model, by the aggregator's word; the holder checks them with the points on chain.

    Attributes:
        model_id: Number of the model; 0 for the base model and for the start of a replayed round.
        adapter_id: SHA-256 of the adapter, hexadecimal; empty for the base model.
        opening_id: SHA-256 of its openings; empty for the base model.
    """

    model_id: int = 0
    adapter_id: str = ""
    opening_id: str = ""


@dataclass(frozen=True)
class AggregatorDescription:
    """The consortium that an aggregator serves, and its newest model.

    Attributes:
        parameters_id: SHA-256 of the agreed parameters, hexadecimal.
        chain_id: The chain of the consortium.
        rounds_address: The Rounds contract of the consortium.
        model: The newest model whose files are published.
    """

    parameters_id: str
    chain_id: int
    rounds_address: str
    model: ModelFiles


class AggregatorHandler(Protocol):
    """The aggregator's reply to each authenticated call.

    `organization` is the EIP-55 address of the caller. A RescindError that a method raises travels
    to the caller.
    """

    max_artifact_bytes: int

    def admit(self, certificate: bytes) -> Admission:
        """Return the organization that owns a certificate (PEM), or raise NotAMember."""

    def describe(self) -> AggregatorDescription: ...
    def begin_upload(self, organization: str, artifact: SizedArtifact) -> int: ...
    def put_piece(self, organization: str, artifact_id: str, offset: int, data: Bytes) -> int: ...
    def copy_piece(
        self, organization: str, artifact_id: str, source_id: str, offset: int, length: int
    ) -> int: ...
    def submit(self, organization: str, update: SubmittedUpdate) -> None: ...
    def submit_offered(self, organization: str, offer: SubmittedOffer) -> None: ...
    def post_fisher(self, organization: str, fisher: SubmittedFisher) -> None: ...
    def fisher(self, organization: str, model_id: int) -> str: ...
    def model(self, organization: str, model_id: int) -> ModelFiles: ...
    def replay_start(self, organization: str, replay_id: int, round_id: int) -> ModelFiles: ...
    def round_sums(self, organization: str, model_id: int) -> Sequence[ModelFiles]: ...
    def replay_sums(
        self, organization: str, replay_id: int, round_id: int
    ) -> Sequence[ModelFiles]: ...
    def wanted(self, organization: str) -> Sequence[str]: ...
    def hand_over(self, organization: str, artifact: SizedArtifact) -> None: ...
    def piece(
        self, organization: str, artifact_id: str, offset: int, length: int
    ) -> tuple[bytes, int]: ...


def serve(
    handler: AggregatorHandler,
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
        tls: The aggregator's key and certificate, and the consortium's authority.
        limits: What callers may use.
        reflected: Whether to answer reflection, which a devnet is inspected with.

    Raises:
        WireError: The address cannot be bound.
    """
    return start_server(
        _SERVICE,
        Admitted(_Servicer(handler)),
        handler.admit,
        address,
        tls,
        limits=limits,
        reflected=reflected,
    )


class _Servicer:
    """One method for each call of the service; converts messages, and leaves the rest to the handler."""

    def __init__(self, handler: AggregatorHandler) -> None:
        self._handler = handler

    def Describe(self, caller: str, request: pb.DescribeRequest) -> pb.Description:  # noqa: ARG002
        description = self._handler.describe()
        return pb.Description(
            parameters_id=bytes.fromhex(description.parameters_id),
            chain_id=description.chain_id,
            rounds_address=description.rounds_address,
            model=_files(description.model),
        )

    def GetModel(self, caller: str, request: pb.ModelId) -> pb.ModelFiles:
        return _files(self._handler.model(caller, request.model_id))

    def BeginUpload(self, caller: str, request: pb.SizedArtifact) -> pb.Held:
        return pb.Held(bytes=self._handler.begin_upload(caller, self._artifact(request)))

    def PutPiece(self, caller: str, request: ReceivedPiece) -> pb.Held:
        data = request.data
        if not 0 < len(data) <= MOST_PIECE_BYTES:
            raise BadMessage(
                f"the piece has {len(data)} bytes, at least 1 and at most {MOST_PIECE_BYTES} are "
                "accepted"
            )
        artifact_id = id_from_wire(request.artifact_id)
        held = self._handler.put_piece(caller, artifact_id, request.offset, data)
        return pb.Held(bytes=held)

    def CopyPiece(self, caller: str, request: pb.CopiedPiece) -> pb.Held:
        length = request.length
        if not 0 < length <= MOST_PIECE_BYTES:
            raise BadMessage(
                f"a piece of {length} bytes is to be copied, at least 1 and at most "
                f"{MOST_PIECE_BYTES} are accepted"
            )
        artifact_id = id_from_wire(request.artifact_id)
        source_id = id_from_wire(request.source_id)
        held = self._handler.copy_piece(caller, artifact_id, source_id, request.offset, length)
        return pb.Held(bytes=held)

    def SubmitUpdate(self, caller: str, request: pb.SignedUpdate) -> pb.Receipt:
        artifact = self._artifact(request.artifact)
        update = SubmittedUpdate(
            request.round_id, artifact, request.nonce, request.signature, request.part
        )
        self._handler.submit(caller, update)
        return pb.Receipt(artifact_id=request.artifact.artifact_id)

    def SubmitOffered(self, caller: str, request: pb.SignedOffer) -> pb.Receipt:
        offer = SubmittedOffer(
            request.offer_id,
            request.round_id,
            self._artifact(request.artifact),
            request.report,
            request.signature,
        )
        self._handler.submit_offered(caller, offer)
        return pb.Receipt(artifact_id=request.artifact.artifact_id)

    def PostFisher(self, caller: str, request: pb.SignedFisher) -> pb.Receipt:
        artifact = self._artifact(request.artifact)
        fisher = SubmittedFisher(request.round_id, artifact, request.signature)
        self._handler.post_fisher(caller, fisher)
        return pb.Receipt(artifact_id=request.artifact.artifact_id)

    def GetFisher(self, caller: str, request: pb.ModelId) -> pb.ArtifactId:
        return _artifact_id(self._handler.fisher(caller, request.model_id))

    def GetReplayStart(self, caller: str, request: pb.ReplayRound) -> pb.ModelFiles:
        return _files(self._handler.replay_start(caller, request.replay_id, request.round_id))

    def GetRoundSums(self, caller: str, request: pb.ModelId) -> pb.ArtifactIds:
        return _all_files(self._handler.round_sums(caller, request.model_id))

    def GetReplaySums(self, caller: str, request: pb.ReplayRound) -> pb.ArtifactIds:
        sums = self._handler.replay_sums(caller, request.replay_id, request.round_id)
        return _all_files(sums)

    def GetPiece(self, caller: str, request: pb.PieceRequest) -> pb.ServedPiece:
        artifact_id, length = id_from_wire(request.artifact_id), request.length
        if not 0 < length <= MOST_PIECE_BYTES:
            raise BadMessage(
                f"a piece of {length} bytes is asked for, at least 1 and at most {MOST_PIECE_BYTES} "
                "are served"
            )
        data, size = self._handler.piece(caller, artifact_id, request.offset, length)
        return pb.ServedPiece(data=data, size=size)

    def GetWanted(self, caller: str, request: pb.WantedRequest) -> pb.ArtifactIds:  # noqa: ARG002
        return _artifacts(self._handler.wanted(caller))

    def HandOver(self, caller: str, request: pb.SizedArtifact) -> pb.Receipt:
        self._handler.hand_over(caller, self._artifact(request))
        return pb.Receipt(artifact_id=request.artifact_id)

    def _artifact(self, message: pb.SizedArtifact) -> SizedArtifact:
        return SizedArtifact.from_wire(message, max_bytes=self._handler.max_artifact_bytes)


def _artifact_id(artifact_id: str) -> pb.ArtifactId:
    return pb.ArtifactId(artifact_id=bytes.fromhex(artifact_id))


def _files(files: ModelFiles) -> pb.ModelFiles:
    return pb.ModelFiles(
        model_id=files.model_id,
        adapter_id=bytes.fromhex(files.adapter_id),
        opening_id=bytes.fromhex(files.opening_id),
    )


def _all_files(files: Sequence[ModelFiles]) -> pb.ArtifactIds:
    return _artifacts([each for file in files for each in (file.adapter_id, file.opening_id)])


def _artifacts(artifact_ids: Sequence[str]) -> pb.ArtifactIds:
    return pb.ArtifactIds(artifact_ids=[bytes.fromhex(each) for each in artifact_ids])
