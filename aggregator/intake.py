"""The aggregator's end of uploads and downloads. Nobody is given another organization's delta."""

from __future__ import annotations

import threading
from collections.abc import Sequence

from rescind.aggregator.fishers import Fishers
from rescind.aggregator.offers import Offers
from rescind.aggregator.proof import Digests
from rescind.aggregator.sums import RoundSums
from rescind.contracts import AnswerState, Consortium, RoundState
from rescind.core import ArtifactStore, StoreMissing
from rescind.core.errors import RescindError, WireError
from rescind.daemon import Journal
from rescind.wire import (
    AggregatorDescription,
    BadMessage,
    BadSignature,
    ChunkManifest,
    NotPublished,
    ReusedNonce,
    SubmittedFisher,
    SubmittedOffer,
    SubmittedUpdate,
    TooManyUploads,
    WrongPhase,
    fisher_typed_data,
    join,
    recover_signer,
    split,
    update_typed_data,
)

_UPLOADS = 2
"""Artifacts that one organization may have under way at a time."""


class Intake:
    """Implements protocol.AggregatorHandler. Refusals are recorded as incidents."""

    def __init__(
        self,
        consortium: Consortium,
        journal: Journal,
        store: ArtifactStore,
        chunks: ArtifactStore,
        digests: Digests,
        offers: Offers,
        sums: RoundSums,
        fishers: Fishers,
        max_artifact_bytes: int,
    ) -> None:
        self._consortium, self._journal, self._digests = consortium, journal, digests
        self._store, self._chunks, self._offers = store, chunks, offers
        self._sums, self._fishers = sums, fishers
        self.max_artifact_bytes = max_artifact_bytes
        self._lock = threading.Lock()
        self._announced: dict[str, dict[str, ChunkManifest]] = {}
        self._served: dict[str, tuple[str, bytes]] = {}

    def organization_of(self, fingerprint: str) -> str | None:
        found = self._consortium.organization_of(fingerprint)
        if found is None:
            self.incident("unknown", "not-a-member", f"certificate {fingerprint} is not on chain")
        return found

    def describe(self) -> AggregatorDescription:
        latest = self._consortium.latest_model_id()
        return AggregatorDescription(
            parameters_id=self._consortium.parameters_id(),
            chain_id=self._consortium.deployment.chain_id,
            rounds_address=self._consortium.deployment.rounds,
            latest_model_id=latest,
            adapter_id=self._consortium.model(latest).adapter_id,
        )

    def missing(self, organization: str, manifest: ChunkManifest) -> Sequence[str]:
        with self._lock:
            if self._offers.expected(organization, manifest.artifact_id) is None:
                self._round_for_upload(organization)
            mine = self._announced.setdefault(organization, {})
            if manifest.artifact_id not in mine and len(mine) >= _UPLOADS:
                error = TooManyUploads(
                    f"{len(mine)} uploads of {organization} are under way: finish one first"
                )
                raise self._noted(organization, error)
            mine[manifest.artifact_id] = manifest
            return self._chunks.missing(list(dict.fromkeys(manifest.chunk_ids)))

    def put_chunk(self, organization: str, chunk_id: str, data: bytes) -> None:
        with self._lock:
            announced = self._announced.get(organization, {})
            if not any(chunk_id in manifest.chunk_ids for manifest in announced.values()):
                raise WrongPhase(f"chunk {chunk_id} was not announced: ask which are missing first")
        self._chunks.put(data)

    def submit(self, organization: str, update: SubmittedUpdate) -> None:
        with self._lock:
            try:
                self._submit(organization, update)
            except RescindError as error:
                raise self._noted(organization, error) from error

    def submit_offered(self, organization: str, offer: SubmittedOffer) -> None:
        with self._lock:
            try:
                expected = self._offers.check(organization, offer)
                self._offers.take(expected, offer, self._assemble(offer.manifest))
            except RescindError as error:
                raise self._noted(organization, error) from error
            finally:
                self._tidy(organization, offer.manifest)

    def post_fisher(self, organization: str, fisher: SubmittedFisher) -> None:
        with self._lock:
            try:
                self._check_fisher(organization, fisher)
                data = self._assemble(fisher.manifest)
                self._fishers.take(organization, fisher.round_id, data)
            except RescindError as error:
                raise self._noted(organization, error) from error
            finally:
                self._tidy(organization, fisher.manifest)

    def fisher(self, organization: str, model_id: int) -> str:  # noqa: ARG002
        return self._fishers.of_model(model_id)

    def replay_start(self, organization: str, withdrawal_id: int, round_id: int) -> str:  # noqa: ARG002
        return self._offers.start(withdrawal_id, round_id)

    def round_sums(self, organization: str, model_id: int) -> Sequence[str]:  # noqa: ARG002
        return self._sums.of_model(model_id)

    def replay_sums(self, organization: str, withdrawal_id: int, round_id: int) -> Sequence[str]:  # noqa: ARG002
        return self._offers.sums(withdrawal_id, round_id)

    def manifest(self, organization: str, artifact_id: str) -> ChunkManifest:
        if not self._journal.get(f"published/{artifact_id}", False):
            error = NotPublished(f"artifact {artifact_id} is not published to members")
            raise self._noted(organization, error)
        manifest, pieces = split(self._store.get(artifact_id))
        with self._lock:
            for chunk_id, piece in pieces.items():
                self._served[chunk_id] = (artifact_id, piece)
            while len(self._served) > 64:
                del self._served[next(iter(self._served))]
        return manifest

    def chunk(self, organization: str, chunk_id: str) -> bytes:  # noqa: ARG002
        with self._lock:
            known = self._served.get(chunk_id)
        if known is not None:
            return known[1]
        for key in self._journal.all("published/"):
            _, pieces = split(self._store.get(key.removeprefix("published/")))
            if chunk_id in pieces:
                return pieces[chunk_id]
        raise NotPublished(f"chunk {chunk_id} is of no artifact published to members")

    def digest(self, organization: str, root: str) -> bytes:
        found = self._digests.by_root(root)
        if found is None:
            raise self._noted(organization, NotPublished(f"no digest with root {root} is known"))
        return found.to_bytes()

    def incident(self, organization: str, code: str, what: str) -> None:
        self._journal.add(
            "incident/",
            {
                "organization": organization,
                "code": code,
                "what": what,
                "round": self._consortium.current_round_id(),
                "time": self._consortium.chain.now(),
            },
        )

    def _submit(self, organization: str, update: SubmittedUpdate) -> None:
        round_id = self._round_for_upload(organization)
        artifact = update.manifest.artifact_id
        if update.round_id != round_id:
            raise WrongPhase(f"the update is for round {update.round_id}, this is round {round_id}")
        document = update_typed_data(
            chain_id=self._consortium.deployment.chain_id,
            rounds_address=self._consortium.deployment.rounds,
            round_id=update.round_id,
            artifact_id=artifact,
            size=update.manifest.size,
            nonce=update.nonce,
        )
        signer = recover_signer(document, update.signature)
        if signer != organization:
            raise BadSignature(f"the update of {organization} is signed by {signer}")
        said = [update.round_id, artifact]
        nonces = self._journal.get(f"nonces/{organization}", {})
        if nonces.get(str(update.nonce), said) != said:
            raise ReusedNonce(f"nonce {update.nonce} of {organization} was used for another update")
        if any(int(known) > update.nonce for known in nonces) and str(update.nonce) not in nonces:
            raise ReusedNonce(
                f"nonce {update.nonce} of {organization} is lower than an earlier one"
            )
        data = self._assemble(update.manifest)
        self._store.put(data)
        self._journal.set(f"nonces/{organization}", {**nonces, str(update.nonce): said})
        self._journal.set(f"submission/{round_id:06d}/{organization}/{artifact}", True)
        self._tidy(organization, update.manifest)

    def _check_fisher(self, organization: str, fisher: SubmittedFisher) -> None:
        self._fishers.check_wanted()
        round_id = self._round_for_upload(organization)
        if fisher.round_id != round_id:
            raise WrongPhase(f"the Fisher is for round {fisher.round_id}, this is round {round_id}")
        document = fisher_typed_data(
            chain_id=self._consortium.deployment.chain_id,
            rounds_address=self._consortium.deployment.rounds,
            round_id=round_id,
            artifact_id=fisher.manifest.artifact_id,
            size=fisher.manifest.size,
        )
        signer = recover_signer(document, fisher.signature)
        if signer != organization:
            raise BadSignature(f"the Fisher of {organization} is signed by {signer}")

    def _tidy(self, organization: str, manifest: ChunkManifest) -> None:
        for chunk_id in manifest.chunk_ids:
            self._chunks.delete(chunk_id)
        self._announced.get(organization, {}).pop(manifest.artifact_id, None)

    def _assemble(self, manifest: ChunkManifest) -> bytes:
        if self._store.has(manifest.artifact_id):
            return self._store.get(manifest.artifact_id)
        try:
            pieces = {one: self._chunks.get(one) for one in manifest.chunk_ids}
        except StoreMissing as error:
            raise BadMessage(
                "not all chunks were uploaded before the update was submitted"
            ) from error
        return join(manifest, pieces)

    def _round_for_upload(self, organization: str) -> int:
        round_id = self._consortium.current_round_id()
        state = self._consortium.round(round_id).state if round_id else RoundState.NONE
        answer = self._consortium.answer(round_id, organization).state
        taken = answer in (AnswerState.COMMITTED, AnswerState.REVEALED)
        if state not in (RoundState.COMMITTED, RoundState.REVEALED) or not taken:
            raise WrongPhase(
                f"no update of {organization} is expected now: round {round_id} is {state.value}, "
                f"its answer is {answer.value}"
            )
        return round_id

    def _noted(self, organization: str, error: RescindError) -> RescindError:
        if isinstance(error, WireError):
            self.incident(organization, error.code, str(error))
        return error
