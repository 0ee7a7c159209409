"""The deltas that open withdrawals need: taken from whoever registered them on chain, and judged."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from rescind.aggregator.checks import judge
from rescind.aggregator.proof import Digests
from rescind.aggregator.sums import RoundSums
from rescind.contracts import (
    NO_ADAPTER,
    Consortium,
    ModelKind,
    Offer,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Term,
    adapter_totals,
    decode,
    encode,
)
from rescind.daemon import Journal
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


@dataclass(frozen=True)
class Deposit:
    """A delta that was handed in. `size` in bytes; `report`, `signature`: its organization's."""

    size: int
    report: dict[str, Any]
    signature: str


class Offers:
    def __init__(
        self,
        consortium: Consortium,
        journal: Journal,
        store: ArtifactStore,
        digests: Digests,
        parameters: ConsortiumParameters,
    ) -> None:
        self._consortium, self._journal, self._store = consortium, journal, store
        self._digests, self._parameters = digests, parameters
        self._sums = RoundSums(consortium, parameters, journal, store)

    def expected(self, organization: str, artifact_id: str) -> Offer | None:
        """What the chain says that this organization registered for an open withdrawal."""
        still_open = {w.id for w in self._consortium.withdrawals() if w.state in _OPEN}
        if not still_open:
            return None
        for it in self._consortium.offers():
            mine = (it.organization, it.artifact_id) == (organization, artifact_id)
            if mine and it.withdrawal_id in still_open:
                return it
        return None

    def deposit(self, it: Offer) -> Deposit | None:
        found = self._journal.get(_key(it))
        return (
            None if found is None else Deposit(found["size"], found["report"], found["signature"])
        )

    def check(self, organization: str, given: SubmittedOffer) -> Offer:
        """Raises WrongPhase, BadSignature or DeltaRefused before the bytes themselves are looked at."""
        artifact = given.manifest.artifact_id
        it = self.expected(organization, artifact)
        if it is None or (it.withdrawal_id, it.round_id) != (given.withdrawal_id, given.round_id):
            raise WrongPhase(
                f"no open withdrawal {given.withdrawal_id} has artifact {artifact} registered by "
                f"{organization} for round {given.round_id}: offer it on chain first"
            )
        document = offer_typed_data(
            chain_id=self._consortium.deployment.chain_id,
            rounds_address=self._consortium.deployment.rounds,
            withdrawal_id=given.withdrawal_id,
            round_id=given.round_id,
            artifact_id=artifact,
            size=given.manifest.size,
            report=given.report,
        )
        signer = recover_signer(document, given.signature)
        if signer != organization:
            raise BadSignature(f"the offer of {organization} is signed by {signer}")
        first = self._journal.get(f"deposited-by/{artifact}", organization)
        if first != organization:
            raise DeltaRefused(f"artifact {artifact} was handed in by {first}: train one's own")
        self._check_report(it, given.report)
        return it

    def take(self, it: Offer, given: SubmittedOffer, data: bytes) -> None:
        """Judge the delta as that of a round is judged, and keep it. The first report stands."""
        known = self._store.has(it.artifact_id)
        self._store.put(data)
        verdict = judge(
            it.organization,
            it.artifact_id,
            self._store,
            self._digests,
            self._parameters,
            submitted=True,
            digest_root=it.digest_root,
            round_id=it.round_id,
        )
        if verdict.delta is None:
            if not known:
                self._store.delete(it.artifact_id)
            raise DeltaRefused(verdict.what)
        self._journal.set(f"deposited-by/{it.artifact_id}", it.organization)
        if self._journal.get(_key(it)) is None:
            fact = {
                "size": given.manifest.size,
                "report": read_report(given.report),
                "signature": "0x" + given.signature.hex(),
            }
            self._journal.set(_key(it), fact)

    def start(self, withdrawal_id: int, round_id: int) -> str:
        """Publish the adapter that a round of a replay starts from. Raises WrongPhase, or NotPublished
        while what it is made of is not complete."""
        terms = self._start_terms(withdrawal_id, round_id)
        if not terms:
            return NO_ADAPTER
        artifact = self._store.put(encode(adapter_totals(terms, self._load)))
        self._journal.set(f"start/{withdrawal_id:06d}/{round_id:06d}/{artifact}", True)
        self._journal.set(f"published/{artifact}", True)
        return artifact

    def sums(self, withdrawal_id: int, round_id: int) -> list[str]:
        """Publish the sum of each round that a round of a replay comes after. Raises as `start`."""
        return self._sums.of(self._start_terms(withdrawal_id, round_id))

    def _start_terms(self, withdrawal_id: int, round_id: int) -> list[Term]:
        it = self._replay(withdrawal_id)
        if not 1 <= round_id <= self._consortium.current_round_id():
            raise WrongPhase(f"there is no round {round_id}")
        amended = amended_model(self._consortium, it, self._consortium.latest_model_id())
        parent = self._consortium.content(self._consortium.round(round_id).parent_model)
        terms = replay_start(amended, parent, round_id)
        if terms is None:
            raise NotPublished(
                f"replay {withdrawal_id}: deltas before round {round_id} are lacking"
            )
        for offer in amended.offered:
            if offer.round_id < round_id and self.deposit(offer) is None:
                raise NotPublished(
                    f"replay {withdrawal_id}: {offer.organization} has yet to hand in its delta of "
                    f"round {offer.round_id}"
                )
        return terms

    def _replay(self, withdrawal_id: int) -> Withdrawal:
        found = self._consortium.withdrawals()[withdrawal_id - 1 : withdrawal_id]
        right = found and found[0].method is ModelKind.REPLAY and found[0].state in _OPEN
        if withdrawal_id < 1 or not right or self._consortium.layout() != "shared":
            raise WrongPhase(
                f"withdrawal {withdrawal_id} is no open replay of a shared adapter: there is no "
                "start to be given"
            )
        return found[0]

    def _check_report(self, it: Offer, data: bytes) -> None:
        try:
            report = read_report(data)
        except EvidenceUnreadable as error:
            raise DeltaRefused(str(error)) from error
        withdrawal = self._consortium.withdrawals()[it.withdrawal_id - 1]
        missing = missing_figures(withdrawal.method.value, report)
        if missing:
            raise DeltaRefused(f"the report does not say {', '.join(missing)}")
        if withdrawal.method is ModelKind.REPLAY and self._consortium.layout() == "shared":
            given = f"start/{it.withdrawal_id:06d}/{it.round_id:06d}/{report['start']}"
            if report["start"] != NO_ADAPTER and not self._journal.get(given, False):
                raise DeltaRefused(
                    f"round {it.round_id} of replay {it.withdrawal_id} does not start from "
                    f"{report['start']}"
                )

    def _load(self, artifact_id: str) -> Any:
        return decode(self._store.get(artifact_id))


def _key(it: Offer) -> str:
    place = f"{it.withdrawal_id:06d}/{it.round_id:06d}"
    return f"deposit/{place}/{it.organization}/{it.artifact_id}"
