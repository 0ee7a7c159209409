"""The read side of the typed client: one consortium's public record."""

from __future__ import annotations

import math

from web3 import Web3

from rescind.contracts.calls import Calls
from rescind.contracts.decoding import build
from rescind.contracts.types import (
    Amendment,
    Anchor,
    Answer,
    Claim,
    Contribution,
    DeltaId,
    Member,
    Model,
    Offer,
    Proposal,
    Rejection,
    Round,
    StatedPrivacy,
    SumTerm,
    Withdrawal,
)
from rescind.core import Term

NO_ADAPTER = "00" * 32
"""The adapter id of model 0, the base model alone."""

UNBOUNDED = 2**64 - 1
"""The epsilon, in millionths, that stands for no bound."""

_PAGE = 256


class ConsortiumReader(Calls):
    """Reads of the public record; nothing here needs an account."""

    # What the consortium is

    def parameters_id(self) -> str:
        return bytes(self._read("Rounds", "settings")["parametersId"]).hex()

    def base_model_id(self) -> str:
        return bytes(self._read("Rounds", "settings")["baseModelId"]).hex()

    def coupling(self) -> str:
        return "federated" if self._read("Rounds", "settings")["federated"] else "isolated"

    def layout(self) -> str:
        return "shared" if self._read("Rounds", "settings")["sharedLayout"] else "blocks"

    def max_rounds(self) -> int:
        return int(self._read("Rounds", "settings")["maxRounds"])

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
        return int(self._read("Members", "terms")["aggregatorBond"])

    def bond(self) -> int:
        """What a member must pay to join."""
        return int(self._read("Members", "terms")["bond"])

    def member(self, address: str) -> Member:
        struct = self._read("Members", "member", Web3.to_checksum_address(address))
        return build(Member, struct, {"address": "organization"})

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
        return [
            self._proposal(number)
            for number in range(1, int(self._read("Governance", "count")) + 1)
        ]

    def _proposal(self, number: int) -> Proposal:
        struct = self._read("Governance", "proposal", number)
        return build(
            Proposal,
            struct,
            id=number,
            votes=int(self._read("Governance", "votesFor", number)),
            call=self.decode_call(str(struct["target"]), bytes(struct["data"])),
        )

    def vote_threshold(self) -> int:
        """Return the share of the active members that votes must exceed, in basis points."""
        return int(self._read("Governance", "threshold"))

    # Rounds

    def current_round_id(self) -> int:
        return int(self._read("Rounds", "currentRound"))

    def round(self, round_id: int) -> Round:
        struct = self._read("Rounds", "roundOf", round_id)
        return build(Round, struct, {"model_id": "model"}, id=round_id)

    def all_answered(self, round_id: int) -> bool:
        return bool(self._read("Rounds", "allAnswered", round_id))

    def all_revealed(self, round_id: int) -> bool:
        return bool(self._read("Rounds", "allRevealed", round_id))

    def answer(self, round_id: int, organization: str) -> Answer:
        struct = self._read("Rounds", "entry", round_id, organization)
        return build(Answer, struct, {"state": "answer"})

    def answers(self, round_id: int) -> dict[str, Answer]:
        return {
            address: self.answer(round_id, address)
            for address in self._read("Members", "organizations")
        }

    def contributions(self, round_id: int) -> list[Contribution]:
        """Those that were summed; of a round that is not final yet, those that are named."""
        structs = self._read("Lineage", "contributions", round_id)
        return [build(Contribution, struct) for struct in structs]

    def rejections(self, round_id: int) -> list[Rejection]:
        structs = self._read("Rounds", "rejections", round_id)
        return [build(Rejection, struct) for struct in structs]

    # Models

    def latest_model_id(self) -> int:
        """The model that rounds build on; 0 is the base model alone."""
        return int(self._read("Lineage", "head"))

    def model_count(self) -> int:
        return int(self._read("Lineage", "modelCount"))

    def models_in_use(self) -> list[int]:
        return [int(number) for number in self._read("Lineage", "modelsInUse")]

    def model(self, model_id: int) -> Model:
        names = {"round_id": "lastRound", "block": "registeredAt"}
        return build(Model, self._read("Lineage", "model", model_id), names, id=model_id)

    def aggregate_of(self, round_id: int) -> DeltaId:
        """The sum of a final round."""
        return build(DeltaId, self._read("Lineage", "aggregateOf", round_id))

    def content(self, model_id: int) -> list[Term]:
        """Every delta in a model with its weight there, by round (0: counter-deltas) and ascending
        address."""
        terms: list[Term] = []
        start = 0
        while True:
            page = self._read("Lineage", "contentOf", model_id, start, _PAGE)
            terms += [build(Term, part, {"round_id": "round"}) for part in page["parts"]]
            start = page["next"]
            if not start:
                return terms

    def rounds_of(self, organization: str) -> list[int]:
        """Final rounds that the organization contributed to."""
        return [int(number) for number in self._read("Lineage", "roundsOf", organization)]

    def models_containing(self, organization: str) -> list[int]:
        models: list[int] = []
        start = 1
        while start:
            page = self._read("Lineage", "modelsContaining", organization, start, _PAGE)
            models += [int(number) for number in page["ids"]]
            start = page["next"]
        return models

    def is_clean(self, model_id: int, organization: str) -> bool:
        return bool(self._read("Lineage", "isClean", model_id, organization))

    def amendments(self) -> list[Amendment]:
        names = {"from_round": "from", "withdrawal_id": "withdrawal"}
        return [
            build(Amendment, self._read("Lineage", "amendment", number), names)
            for number in range(1, int(self._read("Lineage", "amendmentCount")) + 1)
        ]

    def claim(self) -> Claim | None:
        """Return the open claim, or None."""
        struct = self._read("Lineage", "claim")
        if not struct["open"]:
            return None
        return build(Claim, struct, {"round_id": "round"}, empty_if_zero=("carried",))

    def claim_terms(self) -> list[list[SumTerm]]:
        """The terms of the open claim's equation, by step."""
        return [
            [build(SumTerm, term) for term in self._read("Lineage", "termsAt", step)]
            for step in range(int(self._read("Lineage", "stepCount")))
        ]

    # Withdrawals, rewards, anchors

    def withdrawals(self) -> list[Withdrawal]:
        return [
            build(
                Withdrawal,
                self._read("Withdrawals", "withdrawal", number),
                id=number,
                empty_if_zero=("subject", "evidence"),
            )
            for number in range(1, int(self._read("Withdrawals", "count")) + 1)
        ]

    def carried_out(self, withdrawal_id: int) -> bool:
        """Whether every model in use that the withdrawal concerns was replaced."""
        organization = self._read("Withdrawals", "withdrawal", withdrawal_id)["organization"]
        return bool(self._read("Lineage", "carriedOut", withdrawal_id, organization))

    def offers(self) -> list[Offer]:
        """Every delta that was registered for a withdrawal, in the order of the chain."""
        names = {"withdrawal_id": "withdrawal", "round_id": "round"}
        return [build(Offer, event, names) for event in self._logged("Lineage", "DeltaOffered")]

    def manifests(self, round_id: int, organization: str) -> list[str]:
        """Return an organization's commitments to its training data for its deltas of a round.

        The commitment that it revealed comes first, then those of its offers for withdrawals.
        """
        logged = (("Rounds", "UpdateRevealed"), ("Withdrawals", "ManifestGiven"))
        manifests = [
            bytes(event["manifest"])
            for contract, name in logged
            for event in self._logged(contract, name)
            if (event["round"], event["organization"]) == (round_id, organization)
        ]
        return [manifest.hex() for manifest in manifests if any(manifest)]

    def auditor_quorum(self) -> int:
        """How many auditors must attest a replay or a counter-training."""
        return int(self._read("Withdrawals", "terms")["auditorQuorum"])

    def any_overdue(self) -> bool:
        return bool(self._read("Withdrawals", "anyOverdue"))

    def attestation_hash(
        self, withdrawal_id: int, source: int, adapter: DeltaId, evidence: str
    ) -> bytes:
        """What an auditor signs (EIP-712)."""
        arguments = (withdrawal_id, source, adapter.as_tuple(), bytes.fromhex(evidence))
        return bytes(self._read("Withdrawals", "attestationHash", *arguments))

    def pending_reward(self, organization: str) -> int:
        return int(self._read("Rewards", "pending", organization))

    def credited(self, round_id: int, organization: str) -> int:
        return int(self._read("Rewards", "creditedIn", round_id, organization))

    def reward_available(self) -> int:
        """What the next finalized round will share out, in wei."""
        per_round = int(self._read("Rewards", "rewardPerRound"))
        return min(per_round, int(self._read("Rewards", "pool")))

    def anchor(self, organization: str) -> Anchor:
        return build(Anchor, self._read("Anchors", "latest", organization), {"block": "anchoredAt"})

    def privacy_spent(self, organization: str) -> StatedPrivacy | None:
        struct = self._read("Anchors", "spentBy", organization)
        if not struct["statedAt"]:
            return None
        epsilon = struct["epsilonMicro"]
        return StatedPrivacy(
            math.inf if epsilon == UNBOUNDED else epsilon / 1e6,
            struct["deltaPico"] / 1e12,
            struct["statedAt"],
        )
