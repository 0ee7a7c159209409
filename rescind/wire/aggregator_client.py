"""A node's end of the wire."""

from __future__ import annotations

from rescind.core import Digest
from rescind.wire.aggregator_service import Description
from rescind.wire.errors import AggregatorUnavailable, BadMessage
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.generated import rescind_pb2_grpc as rpc
from rescind.wire.grpc_client import Caller
from rescind.wire.identity import TlsFiles
from rescind.wire.transfer import (
    Manifest,
    check_chunk,
    id_from_wire,
    join,
    split,
)


class AggregatorClient(Caller):
    """Calls are tried again while the aggregator is away, for `patience` seconds in all."""

    who, unavailable = "the aggregator", AggregatorUnavailable

    def __init__(self, address: str, tls: TlsFiles, *, patience: float = 20.0) -> None:
        super().__init__(address, tls, patience)
        self._stub = rpc.AggregatorStub(self.channel)  # type: ignore[no-untyped-call]

    def describe(self) -> Description:
        found: pb.Description = self.call(self._stub.Describe, pb.DescribeRequest())
        return Description(
            id_from_wire(found.parameters_id),
            found.chain_id,
            found.rounds_address,
            found.latest_model_id,
            id_from_wire(found.adapter_id),
        )

    def upload(self, data: bytes) -> Manifest:
        """Send what the aggregator lacks of an artifact; safe to repeat."""
        manifest, chunks = split(data)
        lacking: pb.ChunkIds = self.call(self._stub.MissingChunks, manifest.to_wire())
        for chunk_id in lacking.chunk_ids:
            piece = chunks.get(chunk_id.hex())
            if piece is None:
                raise BadMessage(
                    f"the aggregator asks for chunk {chunk_id.hex()}, not in the upload"
                )
            self.call(self._stub.PutChunk, pb.Chunk(chunk_id=chunk_id, data=piece))
        return manifest

    def submit(self, round_id: int, manifest: Manifest, nonce: int, signature: bytes) -> None:
        """Say that an uploaded artifact is this organization's update; safe to repeat."""
        self.call(
            self._stub.SubmitUpdate,
            pb.SignedUpdate(
                round_id=round_id, manifest=manifest.to_wire(), nonce=nonce, signature=signature
            ),
        )

    def submit_offered(
        self,
        withdrawal_id: int,
        round_id: int,
        manifest: Manifest,
        report: bytes,
        signature: bytes,
    ) -> None:
        """Hand in an uploaded delta that a withdrawal needs, and what its training came to; safe to
        repeat."""
        self.call(
            self._stub.SubmitOffered,
            pb.SignedOffer(
                withdrawal_id=withdrawal_id,
                round_id=round_id,
                manifest=manifest.to_wire(),
                report=report,
                signature=signature,
            ),
        )

    def post_fisher(self, round_id: int, manifest: Manifest, signature: bytes) -> None:
        """Say that an uploaded artifact is the Fisher of one's data; safe to repeat."""
        message = pb.SignedFisher(
            round_id=round_id, manifest=manifest.to_wire(), signature=signature
        )
        self.call(self._stub.PostFisher, message)

    def fisher(self, model_id: int) -> str:
        """The id of the mean Fisher over the data of everybody in a model. Raises NotPublished while
        fewer than two organizations have posted theirs."""
        reply: pb.ArtifactId = self.call(self._stub.GetFisher, pb.ModelId(model_id=model_id))
        return id_from_wire(reply.artifact_id)

    def replay_start(self, withdrawal_id: int, round_id: int) -> str:
        """The id of the adapter that a round of a replay starts from. Raises NotPublished while deltas
        of earlier rounds are lacking."""
        message = pb.ReplayRound(withdrawal_id=withdrawal_id, round_id=round_id)
        reply: pb.ArtifactId = self.call(self._stub.GetReplayStart, message)
        return id_from_wire(reply.artifact_id)

    def round_sums(self, model_id: int) -> list[str]:
        """Ids of the sum of each round in a model, ascending; round 0, the counter-deltas, first."""
        reply: pb.ArtifactIds = self.call(self._stub.GetRoundSums, pb.ModelId(model_id=model_id))
        return [id_from_wire(one) for one in reply.artifact_ids]

    def replay_sums(self, withdrawal_id: int, round_id: int) -> list[str]:
        """The same of what a round of a replay comes after. Raises NotPublished while deltas of earlier
        rounds are lacking."""
        message = pb.ReplayRound(withdrawal_id=withdrawal_id, round_id=round_id)
        reply: pb.ArtifactIds = self.call(self._stub.GetReplaySums, message)
        return [id_from_wire(one) for one in reply.artifact_ids]

    def download(self, artifact_id: str, max_bytes: int) -> bytes:
        """The bytes whose SHA-256 is `artifact_id`, nothing else."""
        wanted = bytes.fromhex(artifact_id)
        reply = self.call(self._stub.GetManifest, pb.ArtifactId(artifact_id=wanted))
        manifest = Manifest.from_wire(reply, max_bytes=max_bytes)
        if manifest.artifact_id != artifact_id:
            raise BadMessage(f"asked for {artifact_id}, was offered {manifest.artifact_id}")
        chunks: dict[str, bytes] = {}
        for chunk_id in manifest.chunk_ids:
            message = pb.ChunkId(chunk_id=bytes.fromhex(chunk_id))
            chunk: pb.Chunk = self.call(self._stub.GetChunk, message)
            check_chunk(chunk_id, chunk.data)
            chunks[chunk_id] = chunk.data
        return join(manifest, chunks)

    def digest(self, root: str) -> Digest:
        """The digest with this Merkle root, nothing else."""
        message = pb.DigestRoot(root=bytes.fromhex(root))
        reply: pb.DigestBytes = self.call(self._stub.GetDigest, message)
        found = Digest.from_bytes(reply.data)
        if found.root != root:
            raise BadMessage(f"asked for digest {root}, was given {found.root}")
        return found
