"""Uploads and downloads of members. No member is given another organization's delta."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rescind.aggregator.facts import Nonces, Published, Submission
from rescind.aggregator.fishers import Fishers
from rescind.aggregator.handover import HandOver
from rescind.aggregator.incidents import STRANGER
from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.sums import RoundSums
from rescind.contracts import AnswerState, RoundState
from rescind.core import StoreMissing
from rescind.core.errors import RescindError, WireError
from rescind.daemon import certificate_owners
from rescind.wire import (
    AggregatorDescription,
    BadMessage,
    BadSignature,
    ChunkList,
    ModelFiles,
    NotPublished,
    ReusedNonce,
    SubmittedFisher,
    SubmittedOffer,
    SubmittedUpdate,
    TooManyUploads,
    WrongPhase,
    fingerprint,
    fisher_typed_data,
    join,
    recover_signer,
    split,
    update_typed_data,
)

_UPLOADS = 3
"""Artifacts that an organization may have in progress: an update, a delta for a withdrawal, and a
contribution that it hands over."""

_CACHED_CHUNKS = 64
"""Chunks of downloads held in memory; 4 MiB each at most, so 256 MiB."""


class Intake:
    """The aggregator's reply to each call of a member (`wire.AggregatorHandler`).

    Every refusal for a WireError is recorded as an incident. Calls arrive on several threads; one
    lock covers the uploads in progress and the cache of downloads.

    Args:
        session: The aggregator's session.
        models: The files of models.
        offers: Deltas for withdrawals and replays.
        sums: The published sums of rounds.
        fishers: Posted Fishers.
    """

    def __init__(
        self,
        session: AggregatorSession,
        models: Models,
        offers: Offers,
        sums: RoundSums,
        fishers: Fishers,
    ) -> None:
        self._session = session
        self._models, self._offers, self._sums, self._fishers = models, offers, sums, fishers
        self._handover = HandOver(session, models, offers)
        self.max_artifact_bytes = session.parameters.max_artifact_bytes
        self._lock = threading.Lock()
        self._announced: dict[str, dict[str, ChunkList]] = {}
        self._served: dict[str, bytes] = {}

    def organization_of(self, certificate: bytes) -> str | None:
        """Return the member that owns a certificate, or None; an unknown caller is an incident.

        A claim on chain counts only if the certificate's key signed it.
        """
        consortium = self._session.consortium
        for address in certificate_owners(consortium, certificate):
            if consortium.member(address).status.joined:
                return address
        self._session.record_incident(
            STRANGER, "not-a-member", f"certificate {fingerprint(certificate)} is not on chain"
        )
        return None

    def describe(self) -> AggregatorDescription:
        """Return the consortium that this aggregator serves, and its newest model."""
        deployment = self._session.consortium.deployment
        return AggregatorDescription(
            parameters_id=self._session.parameters.id,
            chain_id=deployment.chain_id,
            rounds_address=deployment.rounds,
            model=self._models.newest(),
        )

    def model(self, organization: str, model_id: int) -> ModelFiles:  # noqa: ARG002
        """Return the files of a model; see `Models.files`."""
        return self._models.files(model_id)

    def wanted(self, organization: str) -> Sequence[str]:
        """Return the organization's contributions that are missing; see `HandOver.wanted`."""
        return self._handover.wanted(organization)

    def hand_over(self, organization: str, chunk_list: ChunkList) -> None:
        """Check and keep a contribution that was missing; see `HandOver.take`."""
        with self._lock, self._recording(organization):
            try:
                self._handover.check(organization, chunk_list.artifact_id)
                data = self._assemble(chunk_list)
                self._handover.take(organization, chunk_list.artifact_id, data)
            finally:
                self._forget_upload(organization, chunk_list)

    def missing(self, organization: str, chunk_list: ChunkList) -> Sequence[str]:
        """Begin or resume an upload, and return the ids of the chunks to send.

        Raises:
            WrongPhase: No artifact of the organization is expected now.
            TooManyUploads: Too many uploads of the organization are in progress.
        """
        with self._lock:
            self._check_upload(organization, chunk_list.artifact_id)
            uploads = self._announced.setdefault(organization, {})
            if chunk_list.artifact_id not in uploads and len(uploads) >= _UPLOADS:
                error = TooManyUploads(
                    f"{len(uploads)} uploads of {organization} are in progress: finish one first"
                )
                raise self._recorded(organization, error)
            uploads[chunk_list.artifact_id] = chunk_list
            return self._session.chunks.missing(list(dict.fromkeys(chunk_list.chunk_ids)))

    def put_chunk(self, organization: str, chunk_id: str, data: bytes) -> None:
        """Keep a chunk of an upload in progress.

        Raises:
            WrongPhase: The chunk belongs to no upload of the organization.
        """
        with self._lock:
            uploads = self._announced.get(organization, {})
            if not any(chunk_id in chunk_list.chunk_ids for chunk_list in uploads.values()):
                raise WrongPhase(
                    f"chunk {chunk_id} belongs to no upload in progress: ask which chunks are "
                    "missing first"
                )
        self._session.chunks.put(data)

    def submit(self, organization: str, update: SubmittedUpdate) -> None:
        """Check and keep an update of the current round.

        Raises:
            WrongPhase: No update of the organization is expected, or for another round.
            BadSignature: The organization did not sign the submission.
            ReusedNonce: The nonce is not greater than all that were used.
            BadMessage: Chunks are missing.
            WrongHash: The chunks join to another artifact.
        """
        with self._lock, self._recording(organization):
            self._check_update(organization, update)
            nonces = self._check_nonce(organization, update)
            session, artifact_id = self._session, update.chunk_list.artifact_id
            session.store.put(self._assemble(update.chunk_list))
            nonces.use(update.nonce, update.round_id, artifact_id).save(session.journal)
            Submission(update.round_id, organization, artifact_id).save(session.journal)
            self._forget_upload(organization, update.chunk_list)

    def submit_offered(self, organization: str, offer: SubmittedOffer) -> None:
        """Check and keep an offered delta; see `Offers.check` and `Offers.take`."""
        with self._lock, self._recording(organization):
            try:
                expected = self._offers.check(organization, offer)
                self._offers.take(expected, offer, self._assemble(offer.chunk_list))
            finally:
                self._forget_upload(organization, offer.chunk_list)

    def post_fisher(self, organization: str, fisher: SubmittedFisher) -> None:
        """Check and keep the Fisher of an organization's data; see `Fishers.take`."""
        with self._lock, self._recording(organization):
            try:
                self._check_fisher(organization, fisher)
                data = self._assemble(fisher.chunk_list)
                self._fishers.take(organization, fisher.round_id, data)
            finally:
                self._forget_upload(organization, fisher.chunk_list)

    def fisher(self, organization: str, model_id: int) -> str:  # noqa: ARG002
        """Return the id of the mean Fisher of a model; see `Fishers.of_model`."""
        return self._fishers.of_model(model_id)

    def replay_start(self, organization: str, replay_id: int, round_id: int) -> ModelFiles:  # noqa: ARG002
        """Return the files of the start of a replayed round; see `Offers.start`."""
        return self._offers.start(replay_id, round_id)

    def round_sums(self, organization: str, model_id: int) -> Sequence[ModelFiles]:  # noqa: ARG002
        """Return the sums of a model's rounds; see `RoundSums.of_model`."""
        return self._sums.of_model(model_id)

    def replay_sums(
        self,
        organization: str,  # noqa: ARG002
        replay_id: int,
        round_id: int,
    ) -> Sequence[ModelFiles]:
        """Return the sums before a replayed round; see `Offers.sums`."""
        return self._offers.sums(replay_id, round_id)

    def chunk_list(self, organization: str, artifact_id: str) -> ChunkList:
        """Return the chunks of a published artifact.

        Raises:
            NotPublished: The artifact is not published.
        """
        if not Published(artifact_id).holds(self._session.journal):
            error = NotPublished(f"artifact {artifact_id} is not published to members")
            raise self._recorded(organization, error)
        chunk_list, pieces = split(self._session.store.get(artifact_id))
        with self._lock:
            self._served.update(pieces)
            while len(self._served) > _CACHED_CHUNKS:
                del self._served[next(iter(self._served))]
        return chunk_list

    def chunk(self, organization: str, chunk_id: str) -> bytes:  # noqa: ARG002
        """Return a chunk of a published artifact.

        Raises:
            NotPublished: The chunk belongs to no published artifact.
        """
        with self._lock:
            cached = self._served.get(chunk_id)
        if cached is not None:
            return cached
        # The cache is too small, or the daemon was restarted since it gave the chunk list out.
        for published in Published.all(self._session.journal):
            _, pieces = split(self._session.store.get(published.artifact_id))
            if chunk_id in pieces:
                return pieces[chunk_id]
        raise NotPublished(f"chunk {chunk_id} belongs to no artifact published to members")

    def forget_downloads(self) -> None:
        """Drop the pieces of downloads that are held in memory: some may be erased files'."""
        with self._lock:
            self._served.clear()

    def _check_update(self, organization: str, update: SubmittedUpdate) -> None:
        round_id = self._round_for_upload(organization)
        if update.round_id != round_id:
            raise WrongPhase(
                f"the update is for round {update.round_id}, the current round is {round_id}"
            )
        deployment = self._session.consortium.deployment
        document = update_typed_data(
            chain_id=deployment.chain_id,
            rounds_address=deployment.rounds,
            round_id=update.round_id,
            artifact_id=update.chunk_list.artifact_id,
            size=update.chunk_list.size,
            nonce=update.nonce,
        )
        signer = recover_signer(document, update.signature)
        if signer != organization:
            raise BadSignature(f"the update of {organization} is signed by {signer}")

    def _check_nonce(self, organization: str, update: SubmittedUpdate) -> Nonces:
        """Return the organization's nonces; the same submission may repeat its nonce."""
        nonces = Nonces.load(self._session.journal, organization)
        entry = (update.round_id, update.chunk_list.artifact_id)
        if nonces.used.get(update.nonce, entry) != entry:
            raise ReusedNonce(f"nonce {update.nonce} of {organization} was used for another update")
        if update.nonce not in nonces.used and any(used > update.nonce for used in nonces.used):
            raise ReusedNonce(
                f"nonce {update.nonce} of {organization} is less than {max(nonces.used)}, which was "
                "used before"
            )
        return nonces

    def _check_fisher(self, organization: str, fisher: SubmittedFisher) -> None:
        self._fishers.check_wanted()
        round_id = self._round_for_upload(organization)
        if fisher.round_id != round_id:
            raise WrongPhase(
                f"the Fisher is for round {fisher.round_id}, the current round is {round_id}"
            )
        deployment = self._session.consortium.deployment
        document = fisher_typed_data(
            chain_id=deployment.chain_id,
            rounds_address=deployment.rounds,
            round_id=round_id,
            artifact_id=fisher.chunk_list.artifact_id,
            size=fisher.chunk_list.size,
        )
        signer = recover_signer(document, fisher.signature)
        if signer != organization:
            raise BadSignature(f"the Fisher of {organization} is signed by {signer}")

    def _forget_upload(self, organization: str, chunk_list: ChunkList) -> None:
        for chunk_id in chunk_list.chunk_ids:
            self._session.chunks.delete(chunk_id)
        self._announced.get(organization, {}).pop(chunk_list.artifact_id, None)

    def _assemble(self, chunk_list: ChunkList) -> bytes:
        session = self._session
        if session.store.has(chunk_list.artifact_id):
            return session.store.get(chunk_list.artifact_id)
        try:
            pieces = {chunk_id: session.chunks.get(chunk_id) for chunk_id in chunk_list.chunk_ids}
        except StoreMissing as error:
            raise BadMessage(
                f"chunks of artifact {chunk_list.artifact_id} are missing: upload them before you "
                "submit it"
            ) from error
        return join(chunk_list, pieces)

    def _check_upload(self, organization: str, artifact_id: str) -> None:
        """Check that an artifact of the organization is expected now."""
        if self._offers.expected(organization, artifact_id) is not None:
            return
        if not self._handover.is_expected(organization, artifact_id):
            self._round_for_upload(organization)

    def _round_for_upload(self, organization: str) -> int:
        """Return the current round, if an update of the organization is expected in it."""
        consortium = self._session.consortium
        round_id = consortium.current_round_id()
        state = consortium.round(round_id).state if round_id else RoundState.NONE
        answer = consortium.answers(round_id).of(organization)
        takes_part = answer in (AnswerState.COMMITTED, AnswerState.REVEALED)
        if state not in (RoundState.COMMITTED, RoundState.REVEALED) or not takes_part:
            raise WrongPhase(
                f"no update of {organization} is expected now: round {round_id} is {state.value}, "
                f"its answer is {answer.value}"
            )
        return round_id

    @contextmanager
    def _recording(self, organization: str) -> Iterator[None]:
        """Record an error that ends the block as an incident."""
        try:
            yield
        except RescindError as error:
            self._recorded(organization, error)
            raise

    def _recorded(self, organization: str, error: RescindError) -> RescindError:
        """Return the error, recorded as an incident if the caller is to blame."""
        if isinstance(error, WireError):
            self._session.record_incident(organization, error.code, str(error))
        return error
