"""A node's client of the aggregator."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from rescind.core import ArtifactStore
from rescind.core.mapped import Bytes
from rescind.core.tensor_header import LENGTH_BYTES, header_size
from rescind.wire.aggregator_service import AggregatorDescription, ModelFiles
from rescind.wire.copying import send
from rescind.wire.downloading import Downloads, HeldBytes, Part, check_complete, next_held
from rescind.wire.errors import AggregatorUnavailable, BadMessage
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import CALL_SECONDS, GrpcClient
from rescind.wire.identity import TlsFiles
from rescind.wire.transfer import (
    LEAST_PIECE_BYTES,
    Pace,
    SizedArtifact,
    check_size,
    id_from_wire,
)

_CHECKED_BYTES = 2**21
"""Bytes a second that the aggregator hashes and digests at least, with others' artifacts before it."""

_SUM_CALLS = 20
"""A call that sums contributions may take so many times as long as another one: the aggregator reads
all of them the first time, and keeps each sum."""


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
        sent_bytes: Bytes of all messages with pieces so far.
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
        self.sent_bytes = 0

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

    def upload(
        self, data: Bytes, like: Bytes | None = None, *, artifact_id: str | None = None
    ) -> SizedArtifact:
        """Send the bytes of an artifact that the aggregator does not hold; safe to repeat.

        Bytes of a mapped file are read in piece by piece. An upload that is cut short, also by a
        restart on either side, goes on where it ended.

        Args:
            data: The artifact.
            like: An artifact that was sent before. Bytes that both have at their beginning and at
                their end are not sent again, if the aggregator still keeps it. If it keeps other
                bytes, the submission is refused with WrongHash: upload again without `like`.
            artifact_id: The id under which the artifact is kept; by default its bytes are hashed
                first. If they are others, the submission is refused with WrongHash.

        Returns:
            The artifact, to be named in a submission.

        Raises:
            BadMessage: The artifact is too large.
            WrongPhase: The aggregator does not expect it now.
            TooManyUploads: The aggregator has no room for it now.
            TransferGivenUp: The time `until` has come.
        """
        artifact = SizedArtifact(artifact_id, len(data)) if artifact_id else SizedArtifact.of(data)
        send(self, artifact, data, like, seconds=self._seconds, patience=self._patience)
        return artifact

    def begin_upload(self, artifact: SizedArtifact) -> int:
        """Begin or resume an upload, and return how many bytes the aggregator holds."""
        held: pb.Held = self.call("BeginUpload", artifact.to_wire())
        return held.bytes

    def send_piece(self, message: bytes, seconds: float) -> Any:
        """Send a serialized Piece, and return the future of the reply."""
        assert self._stub is not None  # connects
        assert self._channel is not None
        self.sent_bytes += len(message)
        # The message is serialized already, so that the piece is not copied again.
        put: Any = self._channel.unary_unary(
            "/rescind.v1.Aggregator/PutPiece",
            request_serializer=bytes,
            response_deserializer=pb.Held.FromString,
        )
        return put.future(message, timeout=self.seconds_left(seconds))

    def copy_piece(self, message: pb.CopiedPiece) -> int:
        """Have the aggregator copy a piece, and return how many bytes of the upload it holds."""
        self.before_piece()
        held: pb.Held = self.call("CopyPiece", message)
        return held.bytes

    def before_piece(self) -> None:
        """Call `on_piece`, which may raise to end a transfer."""
        if self.on_piece is not None:
            self.on_piece()

    def submit(
        self,
        round_id: int,
        artifact: SizedArtifact,
        nonce: int,
        signature: bytes,
        part: int = 0,
    ) -> None:
        """Submit an uploaded artifact as this organization's update; safe to repeat.

        Args:
            round_id: The round that the update is for.
            artifact: What `upload` returned.
            nonce: The nonce in the signed document.
            signature: Signature of `update_typed_data`.
            part: The part of the update that the artifact is.
        """
        self.call(
            "SubmitUpdate",
            pb.SignedUpdate(
                round_id=round_id,
                artifact=artifact.to_wire(),
                nonce=nonce,
                signature=signature,
                part=part,
            ),
            seconds=self._check_seconds(artifact),
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
            seconds=self._check_seconds(artifact),
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
        self.call("PostFisher", message, seconds=self._check_seconds(artifact))

    def fisher(self, model_id: int) -> str:
        """Return the id of the mean Fisher over the data of all organizations in a model.

        Raises:
            NotPublished: Fewer than two organizations have posted theirs.
        """
        reply: pb.ArtifactId = self._sum_call("GetFisher", pb.ModelId(model_id=model_id))
        return id_from_wire(reply.artifact_id)

    def replay_start(self, replay_id: int, round_id: int) -> ModelFiles:
        """Return the files that a round of a replay starts from; empty ids for the base model.

        Raises:
            NotPublished: Deltas of earlier rounds are missing.
        """
        message = pb.ReplayRound(replay_id=replay_id, round_id=round_id)
        reply: pb.ModelFiles = self._sum_call("GetReplayStart", message)
        return _files(reply)

    def round_sums(self, model_id: int) -> list[ModelFiles]:
        """Return the sum of each round in a model, with its opening.

        Returns:
            Files by ascending round; round 0, the counter-deltas, comes first.
        """
        reply: pb.ArtifactIds = self._sum_call("GetRoundSums", pb.ModelId(model_id=model_id))
        return _all_files(reply)

    def replay_sums(self, replay_id: int, round_id: int) -> list[ModelFiles]:
        """Return the sum of each round before a round of a replay, with its opening.

        Returns:
            Files by ascending round; round 0, the counter-deltas, comes first.

        Raises:
            NotPublished: Deltas of earlier rounds are missing.
        """
        message = pb.ReplayRound(replay_id=replay_id, round_id=round_id)
        reply: pb.ArtifactIds = self._sum_call("GetReplaySums", message)
        return _all_files(reply)

    def download(self, artifact_id: str, max_bytes: int) -> bytes:
        """Return the bytes of a published artifact, checked against its id: for what is small.

        Args:
            artifact_id: SHA-256 of the artifact, hexadecimal.
            max_bytes: The largest size to accept.

        Raises:
            NotPublished: The artifact is not for members.
            BadMessage: The artifact is too large.
            WrongHash: The bytes do not hash to the id.
        """
        part = self._downloads.part(artifact_id)
        self._fill(artifact_id, part, max_bytes)
        check_complete(artifact_id, part)
        return part.take()

    def download_into(
        self,
        store: ArtifactStore,
        artifact_id: str,
        max_bytes: int,
        held: Sequence[HeldBytes] = (),
        size: int | None = None,
    ) -> None:
        """Download a published artifact into a store. It is not in memory.

        Args:
            store: Where it goes, once it hashes to its id.
            artifact_id: SHA-256 of the artifact, hexadecimal.
            max_bytes: The largest size to accept.
            held: Bytes of it that are here already and are not fetched. If they are wrong, so is
                the hash: download it again without them.
            size: Bytes of the artifact, where its header said so.

        Raises:
            WireError: As `download`.
            StoreError: The disk is full, or cannot be written.
        """
        part = self._downloads.part(artifact_id)
        self._fill(artifact_id, part, max_bytes, held, size)
        check_complete(artifact_id, part)
        part.move(store, artifact_id)

    def download_head(self, artifact_id: str, max_bytes: int) -> bytes:
        """Return the header of a published artifact of tensors; a download goes on behind it.

        Args:
            artifact_id: SHA-256 of the artifact, hexadecimal.
            max_bytes: The longest header to accept.

        Raises:
            WireError: As `download`.
            ArtifactMalformed: The header is longer, or the bytes are not an artifact's.
        """
        part = self._downloads.part(artifact_id)
        self._fill(artifact_id, part, 2**63, size=LENGTH_BYTES)
        length = header_size(part.first(LENGTH_BYTES), max_bytes)
        self._fill(artifact_id, part, 2**63, size=length)
        return part.first(length)

    def _fill(
        self,
        artifact_id: str,
        part: Part,
        max_bytes: int,
        held: Sequence[HeldBytes] = (),
        size: int | None = None,
    ) -> None:
        """Add bytes to a part until it has a size, by default that of the artifact."""
        pace, end = Pace(self._seconds), size
        while end is None or part.size < end:
            self.before_piece()
            data, missing = next_held(held, part.size, max_bytes if end is None else end)
            if data:
                part.append(data)
                continue
            length = min(pace.size, max(missing, 1))
            reply = self._piece(artifact_id, part.size, length, pace)
            if reply is None:
                continue
            check_size(reply.size, max_bytes)
            end = min(reply.size, size or reply.size)
            if not reply.data and part.size < end:
                raise BadMessage(
                    f"the aggregator sends no byte of artifact {artifact_id} at {part.size}"
                )
            part.append(reply.data[:length])

    def _piece(self, artifact_id: str, offset: int, length: int, pace: Pace) -> Any:
        """Return the reply with a piece; None if a smaller one is to be tried."""
        message = pb.PieceRequest(
            artifact_id=bytes.fromhex(artifact_id), offset=offset, length=length
        )
        began = time.monotonic()
        try:
            reply = self.call("GetPiece", message, seconds=pace.deadline(length))
        except self.unavailable:
            # On a link that became slow, a smaller piece may come through the next time.
            if pace.size == LEAST_PIECE_BYTES:
                raise
            pace.failed()
            return None
        pace.took(len(reply.data), time.monotonic() - began)
        return reply

    def wanted(self) -> Sequence[str]:
        """Return the ids of your contributions that the aggregator needs and does not have.

        A new aggregator asks for all that the models in use contain. Answer with `hand_over`.
        """
        reply: pb.ArtifactIds = self.call("GetWanted", pb.WantedRequest())
        return [id_from_wire(artifact_id) for artifact_id in reply.artifact_ids]

    def hand_over(self, data: Bytes, *, artifact_id: str | None = None) -> None:
        """Give the aggregator a contribution that `wanted` named; safe to repeat.

        Args:
            data: The contribution.
            artifact_id: As in `upload`.

        Raises:
            DeltaRefused: Its commitment is not the one that you registered on chain.
            WrongPhase: The aggregator does not want this artifact.
        """
        artifact = self.upload(data, artifact_id=artifact_id)
        self.call("HandOver", artifact.to_wire(), seconds=self._check_seconds(artifact))

    def _check_seconds(self, artifact: SizedArtifact) -> float:
        """Return the deadline of a submission, for which the aggregator reads the whole artifact."""
        return self._seconds + artifact.size / _CHECKED_BYTES

    def _sum_call(self, name: str, message: Any) -> Any:
        """Call a method for which the aggregator may sum contributions; see `call`."""
        return self.call(name, message, seconds=_SUM_CALLS * self._seconds)


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
