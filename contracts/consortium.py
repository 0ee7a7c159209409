"""The write side of the typed client: one consortium's public record and what an account can do."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence

from eth_abi.abi import encode
from eth_hash.auto import keccak

from rescind.contracts.folding import FoldPiece, SumPiece
from rescind.contracts.points import bitmap_of
from rescind.contracts.precompiles import check_precompiles
from rescind.contracts.reader import UNBOUNDED, ConsortiumReader
from rescind.contracts.states import RejectReason, WithdrawalMethod
from rescind.contracts.types import Parts, Receipt


def commitment(round_id: int, organization: str, parts: Parts, salt: bytes) -> bytes:
    """Return the hash by which an organization commits to a contribution.

    It is keccak256(abi.encode(round, organization, artifact ids, keccak256(points), manifest,
    salt)), as `Rounds.reveal` checks it.
    """
    types = ["uint64", "address", "bytes32[]", "bytes32", "bytes32", "bytes32"]
    artifact_ids = [bytes.fromhex(each) for each in parts.artifact_ids]
    points = keccak(b"".join(parts.points))
    manifest = bytes.fromhex(parts.manifest)
    values = [round_id, organization, artifact_ids, points, manifest, salt]
    return bytes(keccak(encode(types, values)))


class Consortium(ConsortiumReader):
    """Reads and writes of one account.

    A write returns once it is final. It raises ContractRefused if the contract would revert it.
    """

    # Members

    def admit(self, organization: str, name: str) -> Receipt:
        """Admit an organization. The founder only, before the first one joins; then by vote."""
        return self._write("Members", "admit", organization, name)

    def revoke_admission(self, organization: str) -> Receipt:
        """Take an admission back before the organization joined. As `admit`."""
        return self._write("Members", "revokeAdmission", organization)

    def join(self, fingerprint: str, proof: bytes) -> Receipt:
        """Become a member and pay the bond.

        Args:
            fingerprint: SHA-256 of your TLS certificate.
            proof: Signature by the certificate's key over `fingerprint_message`.

        Raises:
            WrongChain: The chain cannot add the points that a member registers.
        """
        check_precompiles(self.chain)
        bond = self.member_terms().bond
        return self._write("Members", "join", bytes.fromhex(fingerprint), proof, value=bond)

    def set_fingerprint(self, fingerprint: str, proof: bytes) -> Receipt:
        """Register another TLS certificate, as in `join`. Members and the aggregator."""
        return self._write("Members", "setFingerprint", bytes.fromhex(fingerprint), proof)

    def top_up(self, amount_wei: int) -> Receipt:
        """Raise your bond; a penalty that is due is taken first."""
        return self._write("Members", "topUp", value=amount_wei)

    def penalize(self, organization: str) -> Receipt:
        """Take the penalty from a member that did not reveal."""
        return self._write("Members", "penalize", organization)

    def resign(self) -> Receipt:
        """Take part no longer. Your contributions stay in the models."""
        return self._write("Members", "resign")

    def reclaim_bond(self) -> Receipt:
        """Take your bond back, the exit delay after you left."""
        return self._write("Members", "reclaimBond")

    def post_aggregator_bond(self, amount_wei: int) -> Receipt:
        """Add to the aggregator's bond."""
        return self._write("Members", "postAggregatorBond", value=amount_wei)

    def resign_aggregator(self) -> Receipt:
        """Give up being the aggregator."""
        return self._write("Members", "resignAggregator")

    def reclaim_aggregator_bond(self) -> Receipt:
        """Take back the bond of a former aggregator, after the exit delay."""
        return self._write("Members", "reclaimAggregatorBond")

    # Governance

    def propose_admission(self, organization: str, name: str) -> int:
        """Propose to admit an organization, and return the proposal's number."""
        return self._propose("Members", "admit", organization, name)

    def propose_revocation(self, organization: str) -> int:
        """Propose to take an admission back, and return the proposal's number."""
        return self._propose("Members", "revokeAdmission", organization)

    def propose_expulsion(self, organization: str) -> int:
        """Propose to expel a member, and return the proposal's number."""
        return self._propose("Withdrawals", "expel", organization)

    def propose_auditor(self, auditor: str) -> int:
        """Propose an auditor, and return the proposal's number."""
        return self._propose("Members", "nameAuditor", auditor)

    def propose_dismissal(self, auditor: str) -> int:
        """Propose to dismiss an auditor, and return the proposal's number."""
        return self._propose("Members", "dismissAuditor", auditor)

    def propose_aggregator(self, aggregator: str) -> int:
        """Propose another aggregator, and return the proposal's number."""
        return self._propose("Members", "setAggregator", aggregator)

    def vote(self, proposal_id: int) -> Receipt:
        """Vote for a proposal."""
        return self._write("Governance", "vote", proposal_id)

    def execute(self, proposal_id: int) -> Receipt:
        """Make the call of a proposal that has enough votes."""
        return self._write("Governance", "execute", proposal_id)

    # Rounds

    def open_round(self) -> Receipt:
        """Open the next round. Aggregator only."""
        return self._write("Rounds", "open")

    def commit(self, round_id: int, parts: Parts, salt: bytes) -> Receipt:
        """Commit to a contribution."""
        value = commitment(round_id, self._sender().address, parts, salt)
        return self._write("Rounds", "commit", round_id, value)

    def sit_out(self, round_id: int) -> Receipt:
        """Sit a round out, so that it need not wait for you."""
        return self._write("Rounds", "sitOut", round_id)

    def report_unavailable(self, round_id: int) -> Receipt:
        """State that you cannot get the parent model."""
        return self._write("Rounds", "reportUnavailable", round_id)

    def close_commits(self, round_id: int) -> Receipt:
        """End the commit phase once all members answered or its deadline passed."""
        return self._write("Rounds", "closeCommits", round_id)

    def reveal(self, round_id: int, parts: Parts, salt: bytes) -> Receipt:
        """Open a commitment."""
        return self._write("Rounds", "reveal", round_id, *_arguments(parts), salt)

    def close_reveals(self, round_id: int) -> Receipt:
        """End the reveal phase once all commitments are open or its deadline passed."""
        return self._write("Rounds", "closeReveals", round_id)

    def judge(
        self,
        round_id: int,
        scores: Mapping[str, int],
        reasons: Mapping[str, RejectReason] | None = None,
    ) -> Receipt:
        """Accept contributions and reject all others that were revealed. Aggregator only.

        Args:
            round_id: The revealed round.
            scores: Score of each organization that is accepted, 0 to 10,000.
            reasons: Reason for each one that is rejected.
        """
        numbers = {address: number for number, address in enumerate(self.organizations())}
        accepted = sorted(scores, key=lambda each: numbers[each])
        rejected = sorted(reasons or {}, key=lambda each: numbers[each])
        return self._write(
            "Rounds",
            "judge",
            round_id,
            bitmap_of(numbers[each] for each in accepted),
            b"".join(scores[each].to_bytes(2, "big") for each in accepted),
            bytes((reasons or {})[each].value for each in rejected),
        )

    def abandon(self, round_id: int) -> Receipt:
        """End a round that is late to be judged, or chained to a stale parent."""
        return self._write("Rounds", "abandon", round_id)

    def attest_round(self, round_id: int, evidence: str, signatures: Sequence[bytes]) -> Receipt:
        """Record what auditors attested of a final round.

        Args:
            round_id: The round. Earlier rounds come first.
            evidence: SHA-256 of what they attested.
            signatures: Signatures of `round_attestation_hash`, ascending by signer.
        """
        attested = bytes.fromhex(evidence)
        return self._write("Rounds", "attest", round_id, attested, list(signatures))

    # Models

    def sum_points(
        self, offer_id: int, round_id: int, carried: bytes, points: Sequence[bytes]
    ) -> Receipt:
        """Add the next points to the sum of a round, or of a replay's round.

        Args:
            offer_id: The replay, or 0 for the round itself.
            round_id: The round.
            carried: The sum so far, 128 bytes.
            points: The next points, ascending by member number.
        """
        return self._write("Models", "sum", offer_id, round_id, carried, b"".join(points))

    def fold_points(self, source: int, carried: bytes, points: Sequence[bytes]) -> Receipt:
        """Fold the next piece of a model's successor.

        Args:
            source: The model.
            carried: The sum so far, 128 bytes.
            points: The next points, in the order of `fold_terms`.
        """
        return self._write("Models", "fold", source, carried, b"".join(points))

    def send(self, piece: SumPiece | FoldPiece) -> Receipt:
        """Send a piece that `folding.next_piece` planned."""
        if isinstance(piece, SumPiece):
            return self.sum_points(piece.offer_id, piece.round_id, piece.carried, piece.points)
        return self.fold_points(piece.source, piece.carried, piece.points)

    def release(self, model_id: int) -> Receipt:
        """Keep the head in use when later rounds are final. Aggregator only."""
        return self._write("Models", "release", model_id)

    def retire(self, model_id: int) -> Receipt:
        """Take a released model out of use. Aggregator only."""
        return self._write("Models", "retire", model_id)

    def publish(self, model_id: int, adapter_id: str, opening_id: str) -> Receipt:
        """State which files are a model."""
        ids = (bytes.fromhex(adapter_id), bytes.fromhex(opening_id))
        return self._write("Models", "publish", model_id, *ids)

    # Withdrawals

    def request_withdrawal(
        self, method: WithdrawalMethod = WithdrawalMethod.REMOVAL, *, value: int | None = None
    ) -> Receipt:
        """Take back everything that you contributed.

        Args:
            method: Removal, counter-training or, where rounds are chained, replay.
            value: Deposit for a replay, in wei. Default: its price.
        """
        if value is None:
            value = self._price_of_everything() if method is WithdrawalMethod.REPLAY else 0
        return self._write("Withdrawals", "request", method.number, value=value)

    def _price_of_everything(self) -> int:
        rounds = self.rounds_of(self._sender().address)
        return self.replay_cost(min(rounds) + 1) if rounds else 0

    def request_subject_withdrawal(self, subject: str, method: WithdrawalMethod) -> Receipt:
        """Take back one data subject's part of what you contributed.

        Args:
            subject: A salted commitment, 32 bytes in hexadecimal, never the person.
            method: Replacement, replay or counter-training.
        """
        return self._write(
            "Withdrawals", "requestForSubject", bytes.fromhex(subject), method.number
        )

    def offer(self, withdrawal_id: int, round_id: int, parts: Parts) -> Receipt:
        """Offer a contribution in place of your own of a round; with round 0, a counter-delta."""
        return self._write("Withdrawals", "offer", withdrawal_id, round_id, *_arguments(parts))

    def ready(self, withdrawal_id: int, *, value: int | None = None) -> Receipt:
        """Let what you offered take effect.

        Args:
            withdrawal_id: The withdrawal.
            value: Deposit for a replay, in wei. Default: its price.
        """
        if value is None:
            withdrawal = self.withdrawal(withdrawal_id)
            chained = withdrawal.method is WithdrawalMethod.REPLAY and self.settings().chained
            value = self.replay_cost(withdrawal.from_round + 1) if chained else 0
        return self._write("Withdrawals", "ready", withdrawal_id, value=value)

    def convert(self, withdrawal_id: int) -> Receipt:
        """Turn your withdrawal into the removal of your organization."""
        return self._write("Withdrawals", "convert", withdrawal_id)

    def escalate(self, withdrawal_id: int) -> Receipt:
        """Turn a late withdrawal into the removal of its organization."""
        return self._write("Withdrawals", "escalate", withdrawal_id)

    def finish_replay(self, withdrawal_id: int) -> Receipt:
        """Go on to a withdrawal's attestation once its replay is done."""
        return self._write("Withdrawals", "replayed", withdrawal_id)

    def attest_withdrawal(
        self, withdrawal_id: int, model_id: int, evidence: str, signatures: Sequence[bytes]
    ) -> Receipt:
        """Record what auditors attested of a replay or a counter-training.

        Args:
            withdrawal_id: The withdrawal.
            model_id: A model that has its amendment.
            evidence: SHA-256 of what they attested.
            signatures: Signatures of `withdrawal_attestation_hash`, ascending by signer.
        """
        attested = bytes.fromhex(evidence)
        return self._write(
            "Withdrawals", "attest", withdrawal_id, model_id, attested, list(signatures)
        )

    def close_withdrawal(self, withdrawal_id: int) -> Receipt:
        """Close a withdrawal once every model in use is folded, and attested where it must be."""
        return self._write("Withdrawals", "close", withdrawal_id)

    # Replays

    def start_replay(self) -> Receipt:
        """Begin a replay with all withdrawals that wait for one."""
        return self._write("Replays", "start")

    def offer_replayed(self, round_id: int, parts: Parts) -> Receipt:
        """Offer a contribution that you trained again."""
        return self._write("Replays", "offer", round_id, *_arguments(parts))

    def advance_replay(self) -> Receipt:
        """End a round of the replay once all expected members offered or its deadline passed."""
        return self._write("Replays", "advance")

    def claim_replay(self, replay_id: int, rounds: Sequence[int]) -> Receipt:
        """Take out what you earned by training rounds again."""
        return self._write("Replays", "claim", replay_id, list(rounds))

    def refund_replay(self) -> Receipt:
        """Take back deposits for replays, as far as they were not used."""
        return self._write("Replays", "refund")

    # Rewards and anchors

    def fund(self, amount_wei: int) -> Receipt:
        """Add to the reward pool."""
        return self._write("Rewards", "fund", value=amount_wei)

    def claim_rewards(self, rounds: Sequence[int]) -> Receipt:
        """Take out your shares of final rounds; see `claimable_rounds`."""
        return self._write("Rewards", "claim", list(rounds))

    def sweep(self) -> Receipt:
        """Take what is left in the pool after the last member left. Founder only."""
        return self._write("Rewards", "sweep")

    def write_anchor(self, size: int, root: str) -> Receipt:
        """Anchor size and root of your private ledger."""
        return self._write("Anchors", "anchor", size, bytes.fromhex(root))

    def state_privacy(self, epsilon: float, delta: float) -> Receipt:
        """State what you have spent in all rounds together; both are rounded up."""
        micro = UNBOUNDED if math.isinf(epsilon) else min(UNBOUNDED, math.ceil(epsilon * 1e6))
        return self._write("Anchors", "stateSpent", micro, math.ceil(delta * 1e12))

    def _propose(self, contract: str, function: str, *arguments: object) -> int:
        target, data = self.encode_call(contract, function, *arguments)
        self._write("Governance", "propose", target, data)
        return int(self._read("Governance", "count"))


def _arguments(parts: Parts) -> tuple[list[bytes], bytes, bytes]:
    """Return parts as the contracts take them."""
    artifact_ids = [bytes.fromhex(each) for each in parts.artifact_ids]
    return artifact_ids, b"".join(parts.points), bytes.fromhex(parts.manifest)
