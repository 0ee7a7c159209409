"""A node's client of the aggregator."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from rescind.wire.aggregator_service import AggregatorDescription, ModelFiles
from rescind.wire.errors import AggregatorUnavailable, BadMessage
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import CALL_SECONDS, GrpcClient
from rescind.wire.identity import TlsFiles
from rescind.wire.transfer import (
    ChunkList,
    check_chunk,
    id_from_wire,
    join,
    split,
)


class AggregatorClient(GrpcClient):
    """A connection to the aggregator that retries calls while it is away.

    Any method raises AggregatorUnavailable if the aggregator stays away, and the WireError with
    which the aggregator refused the call.

    Args:
        address: HOST:PORT of the aggregator.
        tls: The node's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried.
        check: Raises a WireError unless a certificate (PEM) is the aggregator's; see GrpcClient.
        seconds: Deadline of one call.
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
    ) -> None:
        super().__init__(address, tls, patience, check, seconds)

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

    def upload(self, data: bytes) -> ChunkList:
        """Send the chunks of an artifact that the aggregator does not have; safe to repeat.

        Returns:
            The chunk list, to be named in a submission.

        Raises:
            BadMessage: The artifact is too large, or the aggregator asks for a foreign chunk.
        """
        chunk_list, chunks = split(data)
        missing: pb.ChunkIds = self.call("MissingChunks", chunk_list.to_wire())
        for chunk_id in missing.chunk_ids:
            piece = chunks.get(chunk_id.hex())
            if piece is None:
                raise BadMessage(
                    f"the aggregator asks for chunk {chunk_id.hex()}, which is not in the upload"
                )
            self.call("PutChunk", pb.Chunk(chunk_id=chunk_id, data=piece))
        return chunk_list

    def submit(self, round_id: int, chunk_list: ChunkList, nonce: int, signature: bytes) -> None:
        """Submit an uploaded artifact as this organization's update; safe to repeat.

        Args:
            round_id: The round that the update is for.
            chunk_list: What `upload` returned.
            nonce: The nonce in the signed document.
            signature: Signature of `update_typed_data`.
        """
        self.call(
            "SubmitUpdate",
            pb.SignedUpdate(
                round_id=round_id, manifest=chunk_list.to_wire(), nonce=nonce, signature=signature
            ),
        )

    def submit_offered(
        self,
        offer_id: int,
        round_id: int,
        chunk_list: ChunkList,
        report: bytes,
        signature: bytes,
    ) -> None:
        """Submit an uploaded delta for a withdrawal or a replay; safe to repeat.

        Args:
            offer_id: The withdrawal, or with the highest of 64 bits set the replay.
            round_id: The round whose delta is replaced; 0 for a counter-delta.
            chunk_list: What `upload` returned.
            report: The training report, canonical JSON of at most 64 KiB.
            signature: Signature of `offer_typed_data`.
        """
        self.call(
            "SubmitOffered",
            pb.SignedOffer(
                offer_id=offer_id,
                round_id=round_id,
                manifest=chunk_list.to_wire(),
                report=report,
                signature=signature,
            ),
        )

    def post_fisher(self, round_id: int, chunk_list: ChunkList, signature: bytes) -> None:
        """Submit an uploaded artifact as the Fisher of this organization's data; safe to repeat.

        Args:
            round_id: The round with whose update the Fisher is posted.
            chunk_list: What `upload` returned.
            signature: Signature of `fisher_typed_data`.
        """
        message = pb.SignedFisher(
            round_id=round_id, manifest=chunk_list.to_wire(), signature=signature
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
            BadMessage: The aggregator offers another artifact, or one that is too large.
            WrongHash: The bytes do not hash to the id.
        """
        message = pb.ArtifactId(artifact_id=bytes.fromhex(artifact_id))
        reply = self.call("GetManifest", message)
        chunk_list = ChunkList.from_wire(reply, max_bytes=max_bytes)
        if chunk_list.artifact_id != artifact_id:
            raise BadMessage(
                f"asked for artifact {artifact_id}, the aggregator offers {chunk_list.artifact_id}"
            )
        chunks = {chunk_id: self._chunk(chunk_id) for chunk_id in chunk_list.chunk_ids}
        return join(chunk_list, chunks)

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

    def _chunk(self, chunk_id: str) -> bytes:
        message = pb.ChunkId(chunk_id=bytes.fromhex(chunk_id))
        chunk: pb.Chunk = self.call("GetChunk", message)
        check_chunk(chunk_id, chunk.data)
        return chunk.data


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
