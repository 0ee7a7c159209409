"""A node's client of the aggregator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rescind.wire.aggregator_service import AggregatorDescription, ModelFiles
from rescind.wire.downloading import Downloads, complete
from rescind.wire.errors import AggregatorUnavailable, BadMessage
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import CALL_SECONDS, GrpcClient
from rescind.wire.identity import TlsFiles
from rescind.wire.transfer import LEAST_PIECE_BYTES, Pace, SizedArtifact, check_size, id_from_wire
from rescind.wire.uploading import Upload


class AggregatorClient(GrpcClient):
    """A connection to the aggregator that retries calls while it is away.

    Any method raises AggregatorUnavailable if the aggregator stays away, and the WireError with
    which the aggregator refused the call.

    Args:
        address: HOST:PORT of the aggregator.
        tls: The node's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried.
        check: Raises a WireError unless a certificate (PEM) is the aggregator's; see GrpcClient.
        seconds: Deadline of one call; a piece has at least that long.
        downloads: Folder that keeps unfinished downloads over a restart.

    Attributes:
        on_piece: Called before each piece; may raise to end a transfer, which can go on later.
    """

    peer, unavailable = "the aggregator", AggregatorUnavailable
    stub_type = rpc.AggregatorStub

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        *,
        patience: float = 20.0,
        check: Callable[[bytes], None] | None = None,
        seconds: float = CALL_SECONDS,
        downloads: Path | None = None,
    ) -> None:
        super().__init__(address, tls, patience, check, seconds)
        self._downloads = Downloads(downloads)
        self.on_piece: Callable[[], None] | None = None

    def describe(self) -> AggregatorDescription:
        """Return the consortium that the aggregator serves, and its latest model."""
        reply: pb.Description = self.call("Describe", pb.DescribeRequest())
        return AggregatorDescription(
            id_from_wire(reply.parameters_id),
            reply.chain_id,
            reply.rounds_address,
            _files(reply.model),
        )

    def model(self, model_id: int) -> ModelFiles:
        """Return the files of a model, by the aggregator's word.

        Raises:
            NotPublished: They are not built yet.
        """
        reply: pb.ModelFiles = self.call("GetModel", pb.ModelId(model_id=model_id))
        return _files(reply)

    def upload(self, data: bytes) -> SizedArtifact:
        """Send the bytes of an artifact that the aggregator does not hold; safe to repeat.

        An upload that is cut short, also by a restart on either side, goes on where it ended.

        Returns:
            The artifact, to be named in a submission.

        Raises:
            BadMessage: The artifact is too large.
            WrongPhase: The aggregator does not expect it now.
            TooManyUploads: The aggregator has no room for it now.
            TransferGivenUp: The time `until` has come.
        """
        artifact = SizedArtifact.of(data)
        Upload(self, artifact, data, seconds=self._seconds, patience=self._patience).run()
        return artifact

    def begin_upload(self, artifact: SizedArtifact) -> int:
        """Begin or resume an upload, and return how many bytes the aggregator holds."""
        held: pb.Held = self.call("BeginUpload", artifact.to_wire())
        return held.bytes

    def send_piece(self, message: bytes, seconds: float) -> Any:
        """Send a serialized Piece, and return the future of the reply."""
        stub = self._stub  # connects
        assert stub is not None
        assert self._channel is not None
        # The message is serialized already, so that the piece is not copied again.
        put: Any = self._channel.unary_unary(
            "/rescind.v1.Aggregator/PutPiece",
            request_serializer=bytes,
            response_deserializer=pb.Held.FromString,
        )
        return put.future(message, timeout=self.seconds_left(seconds))

    def before_piece(self) -> None:
        """Call `on_piece`, which may raise to end a transfer."""
        if self.on_piece is not None:
            self.on_piece()

    def submit(self, round_id: int, artifact: SizedArtifact, nonce: int, signature: bytes) -> None:
        """Submit an uploaded artifact as this organization's update; safe to repeat.

        Args:
            round_id: The round that the update is for.
            artifact: What `upload` returned.
            nonce: The nonce in the signed document.
            signature: Signature of `update_typed_data`.
        """
        self.call(
            "SubmitUpdate",
            pb.SignedUpdate(
                round_id=round_id, artifact=artifact.to_wire(), nonce=nonce, signature=signature
            ),
        )

    def submit_offered(
        self,
        offer_id: int,
        round_id: int,
        artifact: SizedArtifact,
        report: bytes,
        signature: bytes,
    ) -> None:
        """Submit an uploaded delta for a withdrawal or a replay; safe to repeat.

        Args:
            offer_id: The withdrawal, or with the highest of 64 bits set the replay.
            round_id: The round whose delta is replaced; 0 for a counter-delta.
            artifact: What `upload` returned.
            report: The training report, canonical JSON of at most 64 KiB.
            signature: Signature of `offer_typed_data`.
        """
        self.call(
            "SubmitOffered",
            pb.SignedOffer(
                offer_id=offer_id,
                round_id=round_id,
                artifact=artifact.to_wire(),
                report=report,
                signature=signature,
            ),
        )

    def post_fisher(self, round_id: int, artifact: SizedArtifact, signature: bytes) -> None:
        """Submit an uploaded artifact as the Fisher of this organization's data; safe to repeat.

        Args:
            round_id: The round with whose update the Fisher is posted.
            artifact: What `upload` returned.
            signature: Signature of `fisher_typed_data`.
        """
        message = pb.SignedFisher(
            round_id=round_id, artifact=artifact.to_wire(), signature=signature
        )
        self.call("PostFisher", message)

    def fisher(self, model_id: int) -> str:
        """Return the id of the mean Fisher over the data of all organizations in a model.

        Raises:
            NotPublished: Fewer than two organizations have posted theirs.
        """
        reply: pb.ArtifactId = self.call("GetFisher", pb.ModelId(model_id=model_id))
        return id_from_wire(reply.artifact_id)

    def replay_start(self, replay_id: int, round_id: int) -> ModelFiles:
        """Return the files that a round of a replay starts from; empty ids for the base model.

        Raises:
            NotPublished: Deltas of earlier rounds are missing.
        """
        message = pb.ReplayRound(replay_id=replay_id, round_id=round_id)
        reply: pb.ModelFiles = self.call("GetReplayStart", message)
        return _files(reply)

    def round_sums(self, model_id: int) -> list[ModelFiles]:
        """Return the sum of each round in a model, with its opening.

        Returns:
            Files by ascending round; round 0, the counter-deltas, comes first.
        """
        reply: pb.ArtifactIds = self.call("GetRoundSums", pb.ModelId(model_id=model_id))
        return _all_files(reply)

    def replay_sums(self, replay_id: int, round_id: int) -> list[ModelFiles]:
        """Return the sum of each round before a round of a replay, with its opening.

        Returns:
            Files by ascending round; round 0, the counter-deltas, comes first.

        Raises:
            NotPublished: Deltas of earlier rounds are missing.
        """
        message = pb.ReplayRound(replay_id=replay_id, round_id=round_id)
        reply: pb.ArtifactIds = self.call("GetReplaySums", message)
        return _all_files(reply)

    def download(self, artifact_id: str, max_bytes: int) -> bytes:
        """Return the bytes of a published artifact, checked against its id.

        Args:
            artifact_id: SHA-256 of the artifact, hexadecimal.
            max_bytes: The largest size to accept.

        Raises:
            NotPublished: The artifact is not for members.
            BadMessage: The artifact is too large.
            WrongHash: The bytes do not hash to the id.
        """
        part, pace, name = self._downloads.part(artifact_id), Pace(self._seconds), artifact_id
        size = max_bytes
        while part.size < size or not part.size:
            self.before_piece()
            message = pb.PieceRequest(
                artifact_id=bytes.fromhex(name), offset=part.size, length=pace.size
            )
            began = time.monotonic()
            try:
                reply = self.call("GetPiece", message, seconds=pace.deadline(pace.size))
            except self.unavailable:
                # On a link that became slow, a smaller piece may come through the next time.
                if pace.size == LEAST_PIECE_BYTES:
                    raise
                pace.failed()
                continue
            pace.took(len(reply.data), time.monotonic() - began)
            size = reply.size
            check_size(size, max_bytes)
            if not reply.data and part.size < size:
                raise BadMessage(f"the aggregator sends no byte of artifact {name} at {part.size}")
            part.append(reply.data)
        return complete(name, part)

    def wanted(self) -> Sequence[str]:
        """Return the ids of your contributions that the aggregator needs and does not have.

        A new aggregator asks for all that the models in use contain. Answer with `hand_over`.
        """
        reply: pb.ArtifactIds = self.call("GetWanted", pb.WantedRequest())
        return [id_from_wire(artifact_id) for artifact_id in reply.artifact_ids]

    def hand_over(self, data: bytes) -> None:
        """Give the aggregator a contribution that `wanted` named; safe to repeat.

        Raises:
            DeltaRefused: Its commitment is not the one that you registered on chain.
            WrongPhase: The aggregator does not want this artifact.
        """
        self.call("HandOver", self.upload(data).to_wire())


def _files(message: pb.ModelFiles) -> ModelFiles:
    adapter_id, opening_id = (
        id_from_wire(each) if each else "" for each in (message.adapter_id, message.opening_id)
    )
    return ModelFiles(message.model_id, adapter_id, opening_id)


def _all_files(message: pb.ArtifactIds) -> list[ModelFiles]:
    ids = [id_from_wire(artifact_id) for artifact_id in message.artifact_ids]
    if len(ids) % 2:
        raise BadMessage(f"the aggregator names {len(ids)} files, but each sum needs an opening")
    return [ModelFiles(0, *pair) for pair in zip(ids[::2], ids[1::2], strict=True)]
