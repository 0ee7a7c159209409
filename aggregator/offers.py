"""Deltas for open withdrawals and replays: checks of what is submitted, and starts of replays."""

from __future__ import annotations

from rescind.aggregator.checks import judge
from rescind.aggregator.models import Models
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.sums import RoundSums
from rescind.aggregator.withdrawal_facts import Deposit, Depositor, ReplayStart
from rescind.contracts import (
    REPLAY_OFFERS,
    Contribution,
    Entry,
    WithdrawalState,
)
from rescind.core import SHARED
from rescind.wire import (
    BadSignature,
    DeltaRefused,
    ModelFiles,
    NotPublished,
    SubmittedOffer,
    WrongPhase,
    offer_typed_data,
    recover_signer,
)
from rescind.withdrawals import (
    EvidenceUnreadable,
    missing_figures,
    read_report,
    remaining_content,
    replay_content,
)

_CLOSED = (WithdrawalState.NONE, WithdrawalState.CLOSED)
NO_START = "00" * 32
"""The start that a report names where training began with the base model."""


class Offers:
    """The deltas that organizations have offered on chain for open withdrawals and the replay.

    Args:
        session: The aggregator's session.
        models: The files of models.
        sums: The published sums of rounds.
    """

    def __init__(self, session: AggregatorSession, models: Models, sums: RoundSums) -> None:
        self._session, self._models, self._sums = session, models, sums

    def open_offers(self, organization: str) -> list[Contribution]:
        """Return what the organization offered for open withdrawals and the running replay."""
        consortium = self._session.consortium
        open_ids = {each.id for each in consortium.withdrawals() if each.state not in _CLOSED}
        replay = consortium.current_replay() if open_ids else None
        if replay is not None:
            open_ids.add(replay.id)
        if not open_ids:
            return []
        return [
            offer
            for offer in consortium.offers()
            if offer.organization == organization and offer.offer_id in open_ids
        ]

    def expected(self, organization: str, artifact_id: str) -> Contribution | None:
        """Return the organization's last open offer of an artifact, or None."""
        offers = self.open_offers(organization)
        return next((o for o in reversed(offers) if artifact_id in o.parts.artifact_ids), None)

    def deposit(self, offer: Contribution) -> Deposit | None:
        """Return what was submitted for an offer, or None if nothing was yet."""
        return Deposit.load(self._session.journal, offer)

    def check(self, organization: str, submitted: SubmittedOffer) -> Contribution:
        """Check a submission, except for the bytes of the delta.

        Args:
            organization: EIP-55 address of the caller.
            submitted: What the caller submitted.

        Returns:
            The offer on chain that the submission is for.

        Raises:
            WrongPhase: The delta is not offered on chain for an open withdrawal or replay.
            BadSignature: The organization did not sign the submission.
            DeltaRefused: Another organization submitted the delta first, or the report is not
                complete.
        """
        artifact_id = submitted.artifact.artifact_id
        offer = self.expected(organization, artifact_id)
        numbers = (submitted.offer_id, submitted.round_id)
        if offer is None or (offer.offer_id, offer.round_id) != numbers:
            raise WrongPhase(
                f"artifact {artifact_id} is not offered by {organization} for round "
                f"{submitted.round_id} of {_name(submitted.offer_id)}, or that is closed: offer it "
                "on chain first"
            )
        self._check_signature(organization, submitted)
        self._check_depositor(organization, artifact_id)
        if offer.parts.part_with(artifact_id) == 0:
            self._check_report(offer, submitted.report)
            self._check_further_parts(offer)
        return offer

    def take(self, offer: Contribution, submitted: SubmittedOffer) -> None:
        """Check a delta in the store like those of a round, and record that it was deposited.

        If the delta was submitted before, the first report stands.

        Args:
            offer: What `check` returned.
            submitted: The submission.

        Raises:
            DeltaRefused: The delta fails the checks, or another organization submitted it first.
        """
        session, artifact_id = self._session, submitted.artifact.artifact_id
        part = offer.parts.part_with(artifact_id) or 0
        with session.judging:
            verdict = judge(
                offer.organization,
                artifact_id,
                session.store,
                session.digests,
                session.parameters,
                submitted=True,
                point_hash=offer.parts.point_hashes[part],
                round_id=offer.round_id,
                part=part,
                member=offer.member_number,
            )
            if not verdict.accepted:
                raise DeltaRefused(verdict.what)
            self._check_depositor(offer.organization, artifact_id)
            Depositor(artifact_id, offer.organization).save(session.journal)
        # The delta comes last, so an offer with a deposit has all its parts.
        if part == 0 and self.deposit(offer) is None:
            report, signature = read_report(submitted.report), "0x" + submitted.signature.hex()
            Deposit(submitted.artifact.size, report, signature).save(session.journal, offer)

    def start(self, replay_id: int, round_id: int) -> ModelFiles:
        """Publish the files that a round of a replay, or of a withdrawal, starts from.

        A round of a withdrawal starts from its recorded parent. Only where that was erased after
        another withdrawal, it starts from what is left of it.

        Args:
            replay_id: The replay, or the withdrawal that is being prepared.
            round_id: The round.

        Returns:
            The files; with empty ids if the round starts from the base model.

        Raises:
            WrongPhase: The replay is not running, or has no such round.
            NotPublished: Rounds before it are not closed, or deltas of them are missing.
        """
        files = self._models.sum_of(self._start_content(replay_id, round_id))
        start = ReplayStart(replay_id, round_id, files.adapter_id or NO_START)
        start.save(self._session.journal)
        return files

    def sums(self, replay_id: int, round_id: int) -> list[ModelFiles]:
        """Publish the sum of each round before a round of a replay.

        Returns:
            Files by ascending round; round 0, the counter-deltas, comes first.

        Raises:
            WrongPhase: As `start`, or no member needs the sums of rounds.
            NotPublished: As `start`.
        """
        return self._sums.of(self._start_content(replay_id, round_id))

    def _start_content(self, replay_id: int, round_id: int) -> list[Entry]:
        consortium = self._session.consortium
        if replay_id < REPLAY_OFFERS:
            return self._remaining_start(replay_id, round_id)
        replay = consortium.current_replay()
        if replay is None or replay.id != replay_id or not replay.running:
            raise WrongPhase(f"{_name(replay_id)} is not running, so it has no start to give out")
        if not replay.from_round <= round_id <= replay.to_round:
            raise WrongPhase(
                f"round {round_id} is not in {_name(replay_id)}, which trains rounds "
                f"{replay.from_round} to {replay.to_round}"
            )
        if round_id > replay.round_id:
            raise NotPublished(
                f"{_name(replay_id)} trains round {replay.round_id}: wait until the rounds before "
                f"{round_id} are closed"
            )
        return replay_content(consortium, replay, round_id)

    def _remaining_start(self, withdrawal_id: int, round_id: int) -> list[Entry]:
        """Return the start of a round whose recorded parent was erased after another withdrawal."""
        consortium = self._session.consortium
        known = 1 <= withdrawal_id <= len(consortium.withdrawals())
        state = consortium.withdrawal(withdrawal_id).state if known else WithdrawalState.NONE
        if state is not WithdrawalState.PREPARING:
            raise WrongPhase(
                f"{_name(withdrawal_id)} is {state.value}: only one that is being prepared has "
                "rounds to train again"
            )
        if not 1 <= round_id <= consortium.current_round_id():
            raise WrongPhase(f"there is no round {round_id} to train again")
        shared = self._session.parameters.part_of(SHARED).number
        return remaining_content(consortium, round_id, shared)

    def _check_depositor(self, organization: str, artifact_id: str) -> None:
        depositor = Depositor.load(self._session.journal, artifact_id)
        if depositor is not None and depositor.organization != organization:
            raise DeltaRefused(
                f"artifact {artifact_id} was already submitted by {depositor.organization}: "
                "submit a delta that you trained yourself"
            )

    def _check_further_parts(self, offer: Contribution) -> None:
        missing = [
            each for each in offer.parts.artifact_ids[1:] if not self._session.store.has(each)
        ]
        if missing:
            raise DeltaRefused(
                f"a further part of the offer, artifact {missing[0]}, is not here yet: submit it "
                "before the delta"
            )

    def _check_signature(self, organization: str, submitted: SubmittedOffer) -> None:
        deployment = self._session.consortium.deployment
        document = offer_typed_data(
            chain_id=deployment.chain_id,
            rounds_address=deployment.rounds,
            offer_id=submitted.offer_id,
            round_id=submitted.round_id,
            artifact_id=submitted.artifact.artifact_id,
            size=submitted.artifact.size,
            report=submitted.report,
        )
        signer = recover_signer(document, submitted.signature)
        if signer != organization:
            raise BadSignature(f"the offer of {organization} is signed by {signer}")

    def _check_report(self, offer: Contribution, data: bytes) -> None:
        try:
            report = read_report(data)
        except EvidenceUnreadable as error:
            raise DeltaRefused(str(error)) from error
        replayed = offer.offer_id >= REPLAY_OFFERS
        method = "replay" if replayed else self._method(offer.offer_id)
        missing = missing_figures(method, report)
        if missing:
            raise DeltaRefused(f"the training report is missing {', '.join(missing)}")
        if replayed:
            start = ReplayStart(offer.offer_id, offer.round_id, str(report["start"]))
            if not start.holds(self._session.journal):
                raise DeltaRefused(
                    f"the report says that training started from {report['start']}, which was not "
                    f"given out as the start of round {offer.round_id} of {_name(offer.offer_id)}"
                )

    def _method(self, withdrawal_id: int) -> str:
        return self._session.consortium.withdrawal(withdrawal_id).method.value


def _name(offer_id: int) -> str:
    """Return what people call the source of an offer."""
    replays = offer_id >= REPLAY_OFFERS
    return f"replay {offer_id - REPLAY_OFFERS}" if replays else f"withdrawal {offer_id}"
