"""What one consortium's public record says."""

from __future__ import annotations

import math
from typing import Any

from web3 import Web3

from rescind.contracts.calls import Calls
from rescind.contracts.types import (
    Amendment,
    Anchor,
    Answer,
    AnswerState,
    Claim,
    Contribution,
    DeltaId,
    Member,
    MemberStatus,
    Model,
    ModelKind,
    Offer,
    Proposal,
    Rejection,
    RejectReason,
    Round,
    RoundState,
    StatedPrivacy,
    SumTerm,
    Withdrawal,
    WithdrawalState,
)
from rescind.core import Term

NO_ADAPTER = "00" * 32
"""The adapter id of model 0, the base model alone."""

UNBOUNDED = 2**64 - 1
"""The epsilon, in millionths, that stands for no bound."""

_PAGE = 256
_KINDS = list(ModelKind)


class Record(Calls):
    # What the consortium is

    def parameters_id(self) -> str:
        return bytes(self._settings()[0]).hex()

    def base_model_id(self) -> str:
        return bytes(self._settings()[1]).hex()

    def coupling(self) -> str:
        return "federated" if self._settings()[2] else "isolated"

    def layout(self) -> str:
        return "shared" if self._settings()[3] else "blocks"

    def max_rounds(self) -> int:
        return int(self._settings()[4])

    def challenge_seconds(self) -> int:
        """0: sums are added up on chain; otherwise how long a sum may be challenged."""
        return int(self._read("Lineage", "challengeSeconds"))

    def proof_deposit(self) -> int:
        return int(self._read("Lineage", "proofDeposit"))

    def wiring(self) -> dict[str, str]:
        """Which contract each of them names, to be compared with the deployment."""
        names = {
            "Governance": ("members", "withdrawals"),
            "Members": ("governance", "rounds", "lineage", "withdrawals", "rewards"),
            "Rounds": ("members", "lineage", "withdrawals", "rewards"),
            "Lineage": ("members", "rounds", "withdrawals", "referee"),
            "Withdrawals": ("members", "lineage", "governance"),
            "Rewards": ("rounds",),
            "Anchors": ("members",),
        }
        return {
            f"{contract.lower()}.{peer}": str(self._read(contract, peer))
            for contract, peers in names.items()
            for peer in peers
        }

    # Members and governance

    def aggregator(self) -> str:
        return str(self._read("Members", "aggregator"))

    def aggregator_fingerprint(self) -> str:
        return bytes(self._read("Members", "aggregatorFingerprint")).hex()

    def aggregator_bond(self) -> int:
        return int(self._read("Members", "aggregatorBondOf", self.aggregator()))

    def required_aggregator_bond(self) -> int:
        return int(self._read("Members", "terms")[1])

    def bond(self) -> int:
        """What a member must pay to join."""
        return int(self._read("Members", "terms")[0])

    def member(self, address: str) -> Member:
        return _member(self._read("Members", "member", Web3.to_checksum_address(address)))

    def members(self) -> list[Member]:
        return [self.member(address) for address in self._read("Members", "organizations")]

    def organization_of(self, fingerprint: str) -> str | None:
        found = str(self._read("Members", "organizationOf", bytes.fromhex(fingerprint)))
        return None if int(found, 16) == 0 else found

    def auditors(self) -> list[str]:
        return [str(address) for address in self._read("Members", "auditors")]

    def compensation(self, address: str) -> int:
        return int(self._read("Members", "compensation", address))

    def proposals(self) -> list[Proposal]:
        found = []
        for number in range(1, int(self._read("Governance", "count")) + 1):
            proposer, target, deadline, executed, data = self._read(
                "Governance", "proposal", number
            )
            votes = int(self._read("Governance", "votesFor", number))
            call = self.decode_call(str(target), bytes(data))
            found.append(
                Proposal(number, str(proposer), str(target), deadline, executed, votes, call)
            )
        return found

    # Rounds

    def current_round_id(self) -> int:
        return int(self._read("Rounds", "currentRound"))

    def round(self, round_id: int) -> Round:
        state, *rest = self._read("Rounds", "roundOf", round_id)
        return Round(round_id, list(RoundState)[state], *rest)

    def all_answered(self, round_id: int) -> bool:
        return bool(self._read("Rounds", "allAnswered", round_id))

    def all_revealed(self, round_id: int) -> bool:
        return bool(self._read("Rounds", "allRevealed", round_id))

    def answer(self, round_id: int, organization: str) -> Answer:
        state, committed, artifact, root = self._read("Rounds", "entry", round_id, organization)
        return Answer(
            list(AnswerState)[state],
            bytes(committed).hex(),
            bytes(artifact).hex(),
            bytes(root).hex(),
        )

    def answers(self, round_id: int) -> dict[str, Answer]:
        return {
            address: self.answer(round_id, address)
            for address in self._read("Members", "organizations")
        }

    def contributions(self, round_id: int) -> list[Contribution]:
        """Those that were summed; of a round that is not final yet, those that are named."""
        return [
            Contribution(str(who), weight, score, bytes(artifact).hex(), bytes(root).hex())
            for who, weight, score, artifact, root in self._read(
                "Lineage", "contributions", round_id
            )
        ]

    def rejections(self, round_id: int) -> list[Rejection]:
        return [
            Rejection(str(who), RejectReason(reason))
            for who, reason in self._read("Rounds", "rejections", round_id)
        ]

    # Models

    def latest_model_id(self) -> int:
        """The model that rounds build on; 0 is the base model alone."""
        return int(self._read("Lineage", "head"))

    def model_count(self) -> int:
        return int(self._read("Lineage", "modelCount"))

    def models_in_use(self) -> list[int]:
        return [int(number) for number in self._read("Lineage", "modelsInUse")]

    def model(self, model_id: int) -> Model:
        found = self._read("Lineage", "model", model_id)
        adapter, root, parent, last, amendments, block, kind, in_use, released = found
        return Model(
            model_id,
            bytes(adapter).hex(),
            bytes(root).hex(),
            parent,
            last,
            amendments,
            block,
            _KINDS[kind],
            in_use,
            released,
        )

    def aggregate_of(self, round_id: int) -> DeltaId:
        """The sum of a final round."""
        return _delta_id(self._read("Lineage", "aggregateOf", round_id))

    def content(self, model_id: int) -> list[Term]:
        """Every delta in a model with its weight there, by round (0: counter-deltas) and ascending
        address."""
        terms: list[Term] = []
        start = 0
        while True:
            parts, start = self._read("Lineage", "contentOf", model_id, start, _PAGE)
            terms += [
                Term(round_id, str(who), bytes(artifact).hex(), weight, bytes(root).hex())
                for round_id, who, weight, artifact, root in parts
            ]
            if not start:
                return terms

    def rounds_of(self, organization: str) -> list[int]:
        """Final rounds that the organization contributed to."""
        return [int(number) for number in self._read("Lineage", "roundsOf", organization)]

    def models_containing(self, organization: str) -> list[int]:
        found: list[int] = []
        start = 1
        while start:
            page, start = self._read("Lineage", "modelsContaining", organization, start, _PAGE)
            found += [int(number) for number in page]
        return found

    def is_clean(self, model_id: int, organization: str) -> bool:
        return bool(self._read("Lineage", "isClean", model_id, organization))

    def amendments(self) -> list[Amendment]:
        found = []
        for number in range(1, int(self._read("Lineage", "amendmentCount")) + 1):
            kind, excludes, who, first, withdrawal, model = self._read(
                "Lineage", "amendment", number
            )
            found.append(Amendment(_KINDS[kind], excludes, str(who), first, withdrawal, model))
        return found

    def claim(self) -> Claim | None:
        found = self._read("Lineage", "claim")
        kind, round_id, source, deadline, step, place, is_open, must_prove, claimant = found[:9]
        if not is_open:
            return None
        adapter, root = bytes(found[12]).hex(), bytes(found[13]).hex()
        return Claim(
            _KINDS[kind],
            round_id,
            source,
            deadline,
            step,
            place,
            must_prove,
            str(claimant),
            adapter,
            root,
            _optional(found[14]),
        )

    def claim_terms(self) -> list[list[SumTerm]]:
        """The terms of the open claim's equation, by step."""
        return [
            [
                SumTerm(bytes(artifact).hex(), bytes(root).hex(), coefficient)
                for artifact, root, coefficient in self._read("Lineage", "termsAt", step)
            ]
            for step in range(int(self._read("Lineage", "stepCount")))
        ]

    # Withdrawals, rewards, anchors

    def withdrawals(self) -> list[Withdrawal]:
        found = []
        for number in range(1, int(self._read("Withdrawals", "count")) + 1):
            who, state, method, expelled, requested, deadline, model, subject, evidence = (
                self._read("Withdrawals", "withdrawal", number)
            )
            found.append(
                Withdrawal(
                    number,
                    str(who),
                    list(WithdrawalState)[state],
                    _KINDS[method],
                    expelled,
                    requested,
                    deadline,
                    model,
                    _optional(subject),
                    _optional(evidence),
                )
            )
        return found

    def carried_out(self, withdrawal_id: int) -> bool:
        """Whether every model in use that the withdrawal concerns was replaced."""
        organization = self._read("Withdrawals", "withdrawal", withdrawal_id)[0]
        return bool(self._read("Lineage", "carriedOut", withdrawal_id, organization))

    def offers(self) -> list[Offer]:
        """Every delta that was registered for a withdrawal, in the order of the chain."""
        return [
            Offer(
                int(it["withdrawal"]),
                int(it["round"]),
                str(it["organization"]),
                bytes(it["artifactId"]).hex(),
                bytes(it["digestRoot"]).hex(),
            )
            for it in self._logged("Lineage", "DeltaOffered")
        ]

    def manifests(self, round_id: int, organization: str) -> list[str]:
        """What an organization committed to having trained on for its deltas of a round: that which it
        revealed, then those that it offered for withdrawals."""
        revealed = [
            it["manifest"] for it in self._of("Rounds", "UpdateRevealed", round_id, organization)
        ]
        given = [
            it["manifest"]
            for it in self._of("Withdrawals", "ManifestGiven", round_id, organization)
        ]
        return [bytes(it).hex() for it in (*revealed, *given) if any(it)]

    def _of(self, contract: str, event: str, round_id: int, organization: str) -> list[Any]:
        found = self._logged(contract, event)
        return [
            it for it in found if it["round"] == round_id and it["organization"] == organization
        ]

    def auditor_quorum(self) -> int:
        """How many auditors must attest a replay or a counter-training."""
        return int(self._read("Withdrawals", "terms")[2])

    def any_overdue(self) -> bool:
        return bool(self._read("Withdrawals", "anyOverdue"))

    def attestation_hash(
        self, withdrawal_id: int, source: int, adapter: DeltaId, evidence: str
    ) -> bytes:
        """What an auditor signs (EIP-712)."""
        pair = _delta_pair(adapter)
        return bytes(
            self._read(
                "Withdrawals",
                "attestationHash",
                withdrawal_id,
                source,
                pair,
                bytes.fromhex(evidence),
            )
        )

    def pending_reward(self, organization: str) -> int:
        return int(self._read("Rewards", "pending", organization))

    def credited(self, round_id: int, organization: str) -> int:
        return int(self._read("Rewards", "creditedIn", round_id, organization))

    def reward_available(self) -> int:
        """What the next finalized round will share out, in wei."""
        per_round = int(self._read("Rewards", "rewardPerRound"))
        return min(per_round, int(self._read("Rewards", "pool")))

    def anchor(self, organization: str) -> Anchor:
        size, block, root = self._read("Anchors", "latest", organization)
        return Anchor(size, block, bytes(root).hex())

    def privacy_spent(self, organization: str) -> StatedPrivacy | None:
        epsilon, delta, block = self._read("Anchors", "spentBy", organization)
        if not block:
            return None
        return StatedPrivacy(
            math.inf if epsilon == UNBOUNDED else epsilon / 1e6, delta / 1e12, block
        )

    def _settings(self) -> Any:
        return self._read("Rounds", "settings")


def _member(found: Any) -> Member:
    address, name, fingerprint, bond, exit_at, status = found
    return Member(
        str(address), name, bytes(fingerprint).hex(), bond, exit_at, list(MemberStatus)[status]
    )


def _delta_id(found: Any) -> DeltaId:
    artifact, root = found
    return DeltaId(bytes(artifact).hex(), bytes(root).hex())


def _delta_pair(delta: DeltaId) -> tuple[bytes, bytes]:
    return bytes.fromhex(delta.artifact_id), bytes.fromhex(delta.digest_root)


def _optional(value: bytes) -> str:
    return bytes(value).hex() if any(value) else ""
