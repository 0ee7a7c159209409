"""Uploads and downloads of members. No member is given another organization's delta."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from rescind.aggregator.facts import Nonces, Published, Submission, TidiedRound
from rescind.aggregator.fishers import Fishers
from rescind.aggregator.handover import HandOver
from rescind.aggregator.membership import Membership
from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.received import Received
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.sums import RoundSums
from rescind.aggregator.uploads import Uploads
from rescind.contracts import AnswerState, RoundState
from rescind.core import StoreMissing
from rescind.core.errors import RescindError, WireError
from rescind.core.mapped import Bytes
from rescind.wire import (
    Admission,
    AggregatorDescription,
    BadSignature,
    ModelFiles,
    NotPublished,
    ReusedNonce,
    SizedArtifact,
    SubmittedFisher,
    SubmittedOffer,
    SubmittedUpdate,
    TooManyUploads,
    WrongPhase,
    fisher_typed_data,
    recover_signer,
    update_typed_data,
)

_IN_PROGRESS = (RoundState.COMMITTED, RoundState.REVEALED)


class Intake:
    """The aggregator's reply to each call of a member (`wire.AggregatorHandler`).

    Every refusal for a WireError is recorded as an incident. Calls arrive on several threads. The
    submissions of one organization are handled one after the other; no organization waits for
    another.

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
        self._membership = Membership(session, self._handover.wanted)
        self.max_artifact_bytes = session.parameters.artifact_limits.upload
        quotas = session.config.aggregator.uploads.quotas(self.max_artifact_bytes)
        self._uploads = Uploads(session.folder / "uploads", quotas)
        self._received = Received(session, self._uploads)
        self._submitting: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)

    def admit(self, certificate: bytes) -> Admission:
        """Return who a caller is and what it may call; see `Membership.admit`."""
        return self._membership.admit(certificate)

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

    def hand_over(self, organization: str, artifact: SizedArtifact) -> None:
        """Check and keep a contribution that was missing; see `HandOver.take`."""
        artifact_id = artifact.artifact_id
        with self._submission(organization, artifact):
            self._handover.check(organization, artifact_id)
            if self._session.store.has(artifact_id):
                return
            self._received.submit(
                organization,
                artifact,
                "contribution",
                lambda: self._handover.take(organization, artifact_id),
            )

    def begin_upload(self, organization: str, artifact: SizedArtifact) -> int:
        """Begin or resume an upload, and return how many of its bytes are held.

        Raises:
            WrongPhase: No artifact of the organization is expected now.
            TooManyUploads: A quota is used up.
            StoreFull: The disk has no room for it.
        """
        purpose, slots = self._purpose(organization, artifact.artifact_id)
        if self._received.has(organization, artifact.artifact_id):
            return artifact.size
        try:
            return self._uploads.begin(organization, artifact, purpose, slots)
        except TooManyUploads as error:
            raise self._recorded(organization, error) from None

    def put_piece(self, organization: str, artifact_id: str, offset: int, data: Bytes) -> int:
        """Add a piece to an upload, and return how many bytes are held; see `Uploads.put`."""
        return self._uploads.put(organization, artifact_id, offset, data)

    def copy_piece(
        self, organization: str, artifact_id: str, source_id: str, offset: int, length: int
    ) -> int:
        """Add a piece of an earlier artifact of the sender; see `Received.read`, `Uploads.put`."""
        data = self._received.read(organization, source_id, offset, length)
        return self._uploads.put(organization, artifact_id, offset, data)

    def submit(self, organization: str, update: SubmittedUpdate) -> None:
        """Check and keep an update of the current round; it replaces an earlier one.

        Raises:
            WrongPhase: No update of the organization is expected, or for another round, or another
                artifact was revealed.
            BadSignature: The organization did not sign the submission.
            ReusedNonce: The nonce is not greater than all that were used.
            BadMessage: Bytes are missing.
            WrongHash: The uploaded bytes are another artifact.
        """
        with self._submission(organization, update.artifact):
            self._check_update(organization, update)
            nonces = self._check_nonce(organization, update)
            session, artifact_id = self._session, update.artifact.artifact_id
            self._received.keep(organization, update.artifact, _update_of(update.round_id))
            nonces.use(update.nonce, update.round_id, artifact_id).save(session.journal)
            Submission(update.round_id, organization, artifact_id, update.part).save(
                session.journal
            )
            self._replace_earlier(organization, update)

    def submit_offered(self, organization: str, offer: SubmittedOffer) -> None:
        """Check and keep an offered delta; see `Offers.check` and `Offers.take`."""
        with self._submission(organization, offer.artifact):
            expected = self._offers.check(organization, offer)
            self._received.submit(
                organization,
                offer.artifact,
                "contribution",
                lambda: self._offers.take(expected, offer),
            )

    def post_fisher(self, organization: str, fisher: SubmittedFisher) -> None:
        """Check and keep the Fisher of an organization's data; it replaces the round's earlier one."""
        artifact_id, use = fisher.artifact.artifact_id, f"fisher/{fisher.round_id}"
        replaced = ""

        def take() -> None:
            nonlocal replaced
            replaced = self._fishers.take(organization, fisher.round_id, artifact_id)

        with self._submission(organization, fisher.artifact):
            self._check_fisher(organization, fisher)
            self._received.submit(organization, fisher.artifact, use, take)
            if replaced:
                self._received.release(organization, replaced, use)

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

    def piece(
        self, organization: str, artifact_id: str, offset: int, length: int
    ) -> tuple[bytes, int]:
        """Return bytes of a published artifact, and its size. Only these bytes are read.

        Raises:
            NotPublished: The artifact is not published.
        """
        if not Published(artifact_id).holds(self._session.journal):
            error = NotPublished(f"artifact {artifact_id} is not published to members")
            raise self._recorded(organization, error)
        try:
            return self._session.store.read(artifact_id, offset, length)
        except StoreMissing as error:
            # It was erased between the two looks.
            raise NotPublished(f"artifact {artifact_id} is not published any more") from error

    def tidy(self) -> None:
        """Delete uploads whose round is over, and what was submitted in it and is not in a model.

        What was revealed and rejected is in none either: otherwise a member could fill the disk with
        false contributions.
        """
        consortium, journal = self._session.consortium, self._session.journal
        round_id = consortium.current_round_id()
        over = not round_id or consortium.round(round_id).state not in _IN_PROGRESS
        running = "" if over else _round_purpose(round_id)
        self._uploads.end_purposes(
            lambda each: each.startswith(_round_purpose()) and each != running
        )
        for number in range(1, round_id + 1):
            tidied = TidiedRound(number)
            if tidied.holds(journal) or not consortium.round(number).state.over:
                continue
            accepted = consortium.accepted(number)
            kept = {
                (each.organization, artifact_id)
                for each in consortium.contributions(number)
                if each.organization in accepted
                for artifact_id in each.parts.artifact_ids
            }
            for fact in Submission.of_round(journal, number):
                if (fact.organization, fact.artifact_id) not in kept:
                    self._take_back(fact)
            tidied.save(journal)

    def _replace_earlier(self, organization: str, update: SubmittedUpdate) -> None:
        """Delete what the organization submitted before in the round, unless it is revealed."""
        if self._answer(organization, update.round_id) is not AnswerState.COMMITTED:
            return
        for fact in Submission.of_round(self._session.journal, update.round_id):
            own = (fact.organization, fact.part) == (organization, update.part)
            if own and fact.artifact_id != update.artifact.artifact_id:
                self._take_back(fact)

    def _take_back(self, fact: Submission) -> None:
        journal = self._session.journal
        fact.delete(journal)
        others = Submission.of_round(journal, fact.round_id)
        # The same bytes may have been submitted as another part too.
        if (fact.organization, fact.artifact_id) not in {
            (each.organization, each.artifact_id) for each in others
        }:
            self._received.release(fact.organization, fact.artifact_id, _update_of(fact.round_id))

    def _check_update(self, organization: str, update: SubmittedUpdate) -> None:
        round_id = self._round_for_upload(organization)
        if update.round_id != round_id:
            raise WrongPhase(
                f"the update is for round {update.round_id}, the current round is {round_id}"
            )
        self._check_revealed(organization, round_id, update.artifact.artifact_id)
        parts = len(self._session.parameters.parts)
        if update.part >= parts:
            raise WrongPhase(
                f"the update is for part {update.part} of a contribution, which has {parts}, "
                "counted from 0"
            )
        deployment = self._session.consortium.deployment
        document = update_typed_data(
            chain_id=deployment.chain_id,
            rounds_address=deployment.rounds,
            round_id=update.round_id,
            artifact_id=update.artifact.artifact_id,
            size=update.artifact.size,
            nonce=update.nonce,
        )
        signer = recover_signer(document, update.signature)
        if signer != organization:
            raise BadSignature(f"the update of {organization} is signed by {signer}")

    def _check_nonce(self, organization: str, update: SubmittedUpdate) -> Nonces:
        """Return the organization's nonces; the same submission may repeat its nonce."""
        nonces = Nonces.load(self._session.journal, organization)
        entry = (update.round_id, update.artifact.artifact_id)
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
            artifact_id=fisher.artifact.artifact_id,
            size=fisher.artifact.size,
        )
        signer = recover_signer(document, fisher.signature)
        if signer != organization:
            raise BadSignature(f"the Fisher of {organization} is signed by {signer}")

    def _purpose(self, organization: str, artifact_id: str) -> tuple[str, int]:
        """Return what an upload of the organization is for, and how many it may have for that.

        Raises:
            WrongPhase: No artifact of the organization is expected now.
        """
        if self._offers.expected(organization, artifact_id) is not None:
            return "offer", 1
        if self._handover.is_expected(organization, artifact_id):
            return "contribution", 1
        round_id = self._round_for_upload(organization)
        parameters = self._session.parameters
        if not parameters.post_fisher:
            self._check_revealed(organization, round_id, artifact_id)
        return _round_purpose(round_id), len(parameters.parts) + parameters.post_fisher

    def _check_revealed(self, organization: str, round_id: int, artifact_id: str) -> None:
        """Check that the organization has not revealed another artifact in the round."""
        if self._answer(organization, round_id) is AnswerState.COMMITTED:
            return
        for each in self._session.consortium.contributions(round_id):
            if each.organization == organization and artifact_id not in each.parts.artifact_ids:
                raise WrongPhase(
                    f"{organization} revealed {each.parts.artifact_ids[0]} in round {round_id}, so "
                    f"artifact {artifact_id} is not expected"
                )

    def _answer(self, organization: str, round_id: int) -> AnswerState:
        return self._session.consortium.answers(round_id).of(organization)

    def _round_for_upload(self, organization: str) -> int:
        """Return the current round, if an update of the organization is expected in it."""
        consortium = self._session.consortium
        round_id = consortium.current_round_id()
        state = consortium.round(round_id).state if round_id else RoundState.NONE
        answer = self._answer(organization, round_id)
        takes_part = answer in (AnswerState.COMMITTED, AnswerState.REVEALED)
        if state not in _IN_PROGRESS or not takes_part:
            raise WrongPhase(
                f"no update of {organization} is expected now: round {round_id} is {state.value}, "
                f"its answer is {answer.value}"
            )
        return round_id

    @contextmanager
    def _submission(self, organization: str, artifact: SizedArtifact) -> Iterator[None]:
        """Handle a submission. A refused one frees its upload; the disk's errors do not.

        Only the organization's own calls wait for the lock, which is held while the chain is asked.
        """
        with self._submitting[organization], self._recording(organization):
            try:
                yield
            except WireError:
                self._uploads.drop(organization, artifact.artifact_id)
                raise

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


def _update_of(round_id: int) -> str:
    """Return the use of an artifact as an update of a round."""
    return f"update/{round_id}"


def _round_purpose(round_id: int | str = "") -> str:
    """Return the purpose of an upload for a round, or what all of them begin with."""
    return f"round/{round_id}"
