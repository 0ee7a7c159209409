"""One consortium's public record, typed: everything the contracts say and do."""

from __future__ import annotations

import math
from collections.abc import Sequence

from eth_abi.abi import encode
from web3 import Web3

from rescind.contracts.reader import UNBOUNDED, ConsortiumReader
from rescind.contracts.types import (
    Contribution,
    DeltaId,
    ModelKind,
    Receipt,
    Rejection,
)

NO_MANIFEST = "00" * 32
"""Of a delta whose data its organization does not commit to."""

DIGESTS_PER_TRANSACTION = 20
"""How many 16 KiB digests go into one transaction: under EIP-7825's 2^24 gas at EIP-7623's floor."""


def commitment(
    round_id: int, organization: str, delta: DeltaId, salt: bytes, manifest: str = NO_MANIFEST
) -> bytes:
    """keccak256(abi.encode(round, organization, artifact id, digest root, manifest, salt)), as Rounds.reveal
    checks it."""
    return bytes(
        Web3.keccak(
            encode(
                ["uint64", "address", "bytes32", "bytes32", "bytes32", "bytes32"],
                [round_id, organization, *delta.as_tuple(), bytes.fromhex(manifest), salt],
            )
        )
    )


class Consortium(ConsortiumReader):
    """A write returns once it is final, or raises ContractRefused."""

    # Members

    def admit(self, organization: str, name: str, fingerprint: str) -> Receipt:
        """Only the founder, before the first member joins; then by proposal."""
        return self._write("Members", "admit", organization, name, bytes.fromhex(fingerprint))

    def join(self) -> Receipt:
        return self._write("Members", "join", value=self.bond())

    def top_up(self, amount_wei: int) -> Receipt:
        return self._write("Members", "topUp", value=amount_wei)

    def resign(self) -> Receipt:
        return self._write("Members", "resign")

    def rotate_fingerprint(self, fingerprint: str) -> Receipt:
        return self._write("Members", "rotateFingerprint", bytes.fromhex(fingerprint))

    def reclaim_bond(self) -> Receipt:
        return self._write("Members", "reclaimBond")

    def post_aggregator_bond(self, amount_wei: int) -> Receipt:
        return self._write("Members", "postAggregatorBond", value=amount_wei)

    def claim_compensation(self) -> Receipt:
        return self._write("Members", "claimCompensation")

    # Governance

    def propose_admission(self, organization: str, name: str, fingerprint: str) -> int:
        """The proposal's id."""
        return self._propose("Members", "admit", organization, name, bytes.fromhex(fingerprint))

    def propose_expulsion(self, organization: str) -> int:
        return self._propose("Withdrawals", "expel", organization)

    def propose_auditor(self, auditor: str) -> int:
        return self._propose("Members", "nameAuditor", auditor)

    def propose_dismissal(self, auditor: str) -> int:
        return self._propose("Members", "dismissAuditor", auditor)

    def propose_aggregator(self, aggregator: str, fingerprint: str) -> int:
        return self._propose("Members", "setAggregator", aggregator, bytes.fromhex(fingerprint))

    def propose_fall_back(self, withdrawal_id: int) -> int:
        return self._propose("Withdrawals", "fallBack", withdrawal_id)

    def vote(self, proposal_id: int) -> Receipt:
        return self._write("Governance", "vote", proposal_id)

    def execute(self, proposal_id: int) -> Receipt:
        return self._write("Governance", "execute", proposal_id)

    # Rounds

    def open_round(self) -> Receipt:
        return self._write("Rounds", "openRound")

    def commit(
        self, round_id: int, delta: DeltaId, salt: bytes, manifest: str = NO_MANIFEST
    ) -> Receipt:
        """`manifest`: 32 bytes, hexadecimal, that commit to the data that was trained on."""
        value = commitment(round_id, self._me().address, delta, salt, manifest)
        return self._write("Rounds", "commit", round_id, value)

    def sit_out(self, round_id: int) -> Receipt:
        return self._write("Rounds", "sitOut", round_id)

    def close_commits(self, round_id: int) -> Receipt:
        return self._write("Rounds", "closeCommits", round_id)

    def reveal(
        self, round_id: int, delta: DeltaId, salt: bytes, manifest: str = NO_MANIFEST
    ) -> Receipt:
        pair = (*delta.as_tuple(), bytes.fromhex(manifest))
        return self._write("Rounds", "reveal", round_id, *pair, salt)

    def close_reveals(self, round_id: int) -> Receipt:
        return self._write("Rounds", "closeReveals", round_id)

    def aggregate(
        self,
        round_id: int,
        accepted: Sequence[Contribution],
        rejected: Sequence[Rejection],
        aggregate: DeltaId,
        adapter: DeltaId,
    ) -> Receipt:
        """Name a round's sum; `prove` then makes the round final."""
        return self._write(
            "Rounds",
            "aggregate",
            round_id,
            [
                (
                    c.organization,
                    c.weight,
                    c.score,
                    bytes.fromhex(c.artifact_id),
                    bytes.fromhex(c.digest_root),
                )
                for c in accepted
            ],
            [(r.organization, r.reason.value) for r in rejected],
            aggregate.as_tuple(),
            adapter.as_tuple(),
        )

    def abandon(self, round_id: int) -> Receipt:
        return self._write("Rounds", "abandon", round_id)

    # Lineage

    def prove(self, carried: bytes, digests: Sequence[bytes], source: bytes) -> Receipt:
        """Add digests to the open claim's sum; with the source's digest the claim is concluded."""
        return self._write("Lineage", "prove", carried, list(digests), source)

    def settle(self) -> Receipt:
        return self._write("Lineage", "settle")

    def challenge(
        self, word_index: int, words: Sequence[bytes], siblings: Sequence[Sequence[bytes]]
    ) -> Receipt:
        paths = [list(path) for path in siblings]
        return self._write("Lineage", "challenge", word_index, list(words), paths)

    def demand_proof(self) -> Receipt:
        return self._write("Lineage", "demandProof", value=self.proof_deposit())

    def drop_unproven(self) -> Receipt:
        return self._write("Lineage", "dropUnproven")

    def release(self, model_id: int) -> Receipt:
        return self._write("Lineage", "release", model_id)

    def retire(self, model_id: int) -> Receipt:
        return self._write("Lineage", "retire", model_id)

    # Withdrawals

    def request_withdrawal(self, method: ModelKind = ModelKind.REMOVAL) -> Receipt:
        return self._write("Withdrawals", "request", method.number)

    def request_subject_withdrawal(self, subject: str, method: ModelKind) -> Receipt:
        """`subject`: a salted commitment, never the person."""
        commitment_ = bytes.fromhex(subject)
        return self._write("Withdrawals", "requestForSubject", commitment_, method.number)

    def offer(
        self, withdrawal_id: int, round_id: int, delta: DeltaId, manifest: str = NO_MANIFEST
    ) -> Receipt:
        pair = (delta.as_tuple(), bytes.fromhex(manifest))
        return self._write("Withdrawals", "offer", withdrawal_id, round_id, *pair)

    def ready(self, withdrawal_id: int) -> Receipt:
        return self._write("Withdrawals", "ready", withdrawal_id)

    def escalate(self, withdrawal_id: int) -> Receipt:
        return self._write("Withdrawals", "escalate", withdrawal_id)

    def carry_out(
        self,
        withdrawal_id: int,
        source: int,
        adapter: DeltaId,
        evidence: str = "",
        signatures: Sequence[bytes] = (),
    ) -> Receipt:
        """Claim the model that takes the place of `source`; `prove` then registers it."""
        return self._write(
            "Withdrawals",
            "carryOut",
            withdrawal_id,
            source,
            adapter.as_tuple(),
            bytes.fromhex(evidence) if evidence else bytes(32),
            list(signatures),
        )

    def close_withdrawal(self, withdrawal_id: int) -> Receipt:
        return self._write("Withdrawals", "close", withdrawal_id)

    def slash(self, withdrawal_id: int) -> Receipt:
        return self._write("Withdrawals", "slash", withdrawal_id)

    # Rewards and anchors

    def fund(self, amount_wei: int) -> Receipt:
        return self._write("Rewards", "fund", value=amount_wei)

    def claim_reward(self) -> Receipt:
        return self._write("Rewards", "claim")

    def write_anchor(self, size: int, root: str) -> Receipt:
        return self._write("Anchors", "anchor", size, bytes.fromhex(root))

    def state_privacy(self, epsilon: float, delta: float) -> Receipt:
        """What one has spent in all rounds together, both rounded up."""
        micro = UNBOUNDED if math.isinf(epsilon) else min(UNBOUNDED, math.ceil(epsilon * 1e6))
        return self._write("Anchors", "stateSpent", micro, math.ceil(delta * 1e12))

    def _propose(self, contract: str, function: str, *arguments: object) -> int:
        target, data = self.encode_call(contract, function, *arguments)
        self._write("Governance", "propose", target, data)
        return int(self._read("Governance", "count"))
