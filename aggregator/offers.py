"""Deltas that open withdrawals need: checks of what organizations submit, and starts of replays."""

from __future__ import annotations

from rescind.aggregator.checks import judge
from rescind.aggregator.facts import Deposit, Depositor, ReplayStart
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.sums import RoundSums
from rescind.contracts import (
    NO_ADAPTER,
    ModelKind,
    Offer,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import Term, adapter_totals, encode
from rescind.wire import (
    BadSignature,
    DeltaRefused,
    NotPublished,
    SubmittedOffer,
    WrongPhase,
    offer_typed_data,
    recover_signer,
)
from rescind.withdrawals import (
    EvidenceUnreadable,
    amended_model,
    missing_figures,
    read_report,
    replay_start,
)

_OPEN = (WithdrawalState.PREPARING, WithdrawalState.REQUESTED)


class Offers:
    """The deltas that organizations have offered on chain for open withdrawals.

    Args:
        session: The aggregator's session.
        sums: The published sums of rounds.
    """

    def __init__(self, session: AggregatorSession, sums: RoundSums) -> None:
        self._session, self._sums = session, sums

    def expected(self, organization: str, artifact_id: str) -> Offer | None:
        """Return the organization's offer of an artifact for an open withdrawal, or None."""
        consortium = self._session.consortium
        open_ids = {w.id for w in consortium.withdrawals() if w.state in _OPEN}
        if not open_ids:
            return None
        for offer in consortium.offers():
            is_theirs = (offer.organization, offer.artifact_id) == (organization, artifact_id)
            if is_theirs and offer.withdrawal_id in open_ids:
                return offer
        return None

    def deposit(self, offer: Offer) -> Deposit | None:
        """Return what was submitted for an offer, or None if nothing was yet."""
        return Deposit.load(self._session.journal, offer)

    def check(self, organization: str, submitted: SubmittedOffer) -> Offer:
        """Check a submission, except for the bytes of the delta.

        Args:
            organization: EIP-55 address of the caller.
            submitted: What the caller submitted.

        Returns:
            The offer on chain that the submission is for.

        Raises:
            WrongPhase: The delta is not offered on chain for an open withdrawal.
            BadSignature: The organization did not sign the submission.
            DeltaRefused: Another organization submitted the delta first, or the report is not
                complete.
        """
        artifact_id = submitted.chunk_list.artifact_id
        offer = self.expected(organization, artifact_id)
        numbers = (submitted.withdrawal_id, submitted.round_id)
        if offer is None or (offer.withdrawal_id, offer.round_id) != numbers:
            raise WrongPhase(
                f"artifact {artifact_id} is not offered by {organization} for round "
                f"{submitted.round_id} of an open withdrawal {submitted.withdrawal_id}: "
                "offer it on chain first"
            )
        self._check_signature(organization, submitted)
        depositor = Depositor.load(self._session.journal, artifact_id)
        if depositor is not None and depositor.organization != organization:
            raise DeltaRefused(
                f"artifact {artifact_id} was already submitted by {depositor.organization}: "
                "submit a delta that you trained yourself"
            )
        self._check_report(offer, submitted.report)
        return offer

    def take(self, offer: Offer, submitted: SubmittedOffer, data: bytes) -> None:
        """Check the bytes of a delta like those of a round, and keep it.

        If the delta was submitted before, the first report stands.

        Args:
            offer: What `check` returned.
            submitted: The submission.
            data: The bytes of the delta.

        Raises:
            DeltaRefused: The delta fails the checks.
        """
        session = self._session
        was_stored = session.store.has(offer.artifact_id)
        session.store.put(data)
        verdict = judge(
            offer.organization,
            offer.artifact_id,
            session.store,
            session.digests,
            session.parameters,
            submitted=True,
            digest_root=offer.digest_root,
            round_id=offer.round_id,
        )
        if verdict.delta is None:
            if not was_stored:
                session.store.delete(offer.artifact_id)
            raise DeltaRefused(verdict.what)
        Depositor(offer.artifact_id, offer.organization).save(session.journal)
        if self.deposit(offer) is None:
            report, signature = read_report(submitted.report), "0x" + submitted.signature.hex()
            Deposit(submitted.chunk_list.size, report, signature).save(session.journal, offer)

    def start(self, withdrawal_id: int, round_id: int) -> str:
        """Publish the adapter that a round of a replay starts from.

        Returns:
            Its artifact id; NO_ADAPTER if the round starts from the base model.

        Raises:
            WrongPhase: The withdrawal is not an open replay of a shared adapter, or there is no
                such round.
            NotPublished: Deltas of earlier rounds are missing.
        """
        terms = self._start_terms(withdrawal_id, round_id)
        if not terms:
            return NO_ADAPTER
        session = self._session
        artifact_id = session.publish(encode(adapter_totals(terms, session.store.load)))
        ReplayStart(withdrawal_id, round_id, artifact_id).save(session.journal)
        return artifact_id

    def sums(self, withdrawal_id: int, round_id: int) -> list[str]:
        """Publish the sum of each round before a round of a replay.

        Returns:
            Artifact ids by ascending round; round 0, the counter-deltas, comes first.

        Raises:
            WrongPhase: As `start`, or no member needs the sums of rounds.
            NotPublished: Deltas of earlier rounds are missing.
        """
        return self._sums.of(self._start_terms(withdrawal_id, round_id))

    def _start_terms(self, withdrawal_id: int, round_id: int) -> list[Term]:
        consortium = self._session.consortium
        replay = self._open_replay(withdrawal_id)
        if not 1 <= round_id <= consortium.current_round_id():
            raise WrongPhase(
                f"there is no round {round_id}: the latest is {consortium.current_round_id()}"
            )
        amended = amended_model(consortium, replay, consortium.latest_model_id())
        parent = consortium.content(consortium.round(round_id).parent_model)
        terms = replay_start(amended, parent, round_id)
        if terms is None:
            raise NotPublished(
                f"replay {withdrawal_id}: deltas of rounds before {round_id} are missing; wait for "
                "the organizations to offer them"
            )
        for offer in amended.offered:
            if offer.round_id < round_id and self.deposit(offer) is None:
                raise NotPublished(
                    f"replay {withdrawal_id}: {offer.organization} has not submitted its delta of "
                    f"round {offer.round_id} yet"
                )
        return terms

    def _open_replay(self, withdrawal_id: int) -> Withdrawal:
        consortium = self._session.consortium
        withdrawals = consortium.withdrawals()
        if 1 <= withdrawal_id <= len(withdrawals) and consortium.layout() == "shared":
            withdrawal = withdrawals[withdrawal_id - 1]
            if withdrawal.method is ModelKind.REPLAY and withdrawal.state in _OPEN:
                return withdrawal
        raise WrongPhase(
            f"withdrawal {withdrawal_id} is not an open replay of a shared adapter, so it has no "
            "start to give out"
        )

    def _check_signature(self, organization: str, submitted: SubmittedOffer) -> None:
        deployment = self._session.consortium.deployment
        document = offer_typed_data(
            chain_id=deployment.chain_id,
            rounds_address=deployment.rounds,
            withdrawal_id=submitted.withdrawal_id,
            round_id=submitted.round_id,
            artifact_id=submitted.chunk_list.artifact_id,
            size=submitted.chunk_list.size,
            report=submitted.report,
        )
        signer = recover_signer(document, submitted.signature)
        if signer != organization:
            raise BadSignature(f"the offer of {organization} is signed by {signer}")

    def _check_report(self, offer: Offer, data: bytes) -> None:
        try:
            report = read_report(data)
        except EvidenceUnreadable as error:
            raise DeltaRefused(str(error)) from error
        consortium = self._session.consortium
        withdrawal = consortium.withdrawals()[offer.withdrawal_id - 1]
        missing = missing_figures(withdrawal.method.value, report)
        if missing:
            raise DeltaRefused(f"the training report is missing {', '.join(missing)}")
        if withdrawal.method is ModelKind.REPLAY and consortium.layout() == "shared":
            start = ReplayStart(offer.withdrawal_id, offer.round_id, str(report["start"]))
            if report["start"] != NO_ADAPTER and not start.holds(self._session.journal):
                raise DeltaRefused(
                    f"the report says that training started from {report['start']}, which was not "
                    f"given out as the start of round {offer.round_id} of replay "
                    f"{offer.withdrawal_id}"
                )
