"""Reads of the agreement, the members and their votes."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.contracts.calls import Calls
from rescind.contracts.checksum import checksum_address
from rescind.contracts.decoding import build
from rescind.contracts.points import numbers_in
from rescind.contracts.states import MemberStatus
from rescind.contracts.types import (
    FingerprintClaim,
    Member,
    MemberTerms,
    Proposal,
    Settings,
    WithdrawalTerms,
)

_PAGE = 256
_NO_ADDRESS = "0x" + "00" * 20


class MembersReader(Calls):
    """Reads of agreements, members and auditors."""

    # Agreement

    def settings(self) -> Settings:
        """Return the agreement that rounds follow."""
        return build(Settings, self._read("Rounds", "settings"))

    def member_terms(self) -> MemberTerms:
        """Return the terms of membership."""
        return build(MemberTerms, self._read("Members", "terms"))

    def withdrawal_terms(self) -> WithdrawalTerms:
        """Return the terms of withdrawals."""
        return build(WithdrawalTerms, self._read("Withdrawals", "terms"))

    def replay_price(self) -> int:
        """Return what a withdrawal pays for each round that is trained again, in wei."""
        return int(self._read("Replays", "pricePerRound"))

    def replay_seconds(self) -> int:
        """Return the time to train one round again."""
        return int(self._read("Replays", "roundSeconds"))

    def wiring(self) -> dict[str, str]:
        """Return the address that each contract has for each other, such as "rounds.models"."""
        names = {
            "Members": ("governance", "rounds", "withdrawals", "rewards"),
            "Rounds": ("members", "models", "replays", "rewards"),
            "Models": ("members", "rounds", "withdrawals", "replays"),
            "Withdrawals": ("members", "rounds", "models", "replays", "governance"),
            "Replays": ("members", "rounds", "models", "withdrawals"),
            "Governance": ("members", "withdrawals"),
            "Rewards": ("members", "rounds"),
            "Anchors": ("members",),
        }
        return {
            f"{contract.lower()}.{peer}": str(self._read(contract, peer))
            for contract, peers in names.items()
            for peer in peers
        }

    # Members

    def founder(self) -> str:
        """Return the address that deployed the consortium."""
        return str(self._read("Members", "founder"))

    def aggregator(self) -> str:
        """Return the aggregator's address; empty while there is none."""
        address = str(self._read("Members", "aggregator"))
        return "" if address == _NO_ADDRESS else address

    def aggregators(self) -> set[str]:
        """Return the addresses of the aggregator and of all before it that paid a bond."""
        # The first one was named in a constructor, before the events that are read.
        paid = self._logged("Members", "AggregatorBondPosted")
        return {self.aggregator(), *(str(event["aggregator"]) for event in paid)}

    def aggregator_ready(self) -> bool:
        """Return whether there is an aggregator and its bond is whole."""
        return bool(self._read("Members", "aggregatorReady"))

    def aggregator_bond(self, owner: str | None = None) -> int:
        """Return the bond of the aggregator, or of a former one, in wei."""
        address = self.aggregator() if owner is None else owner
        return int(self._read("Members", "aggregatorBondOf", address)) if address else 0

    def member(self, address: str) -> Member:
        """Return an organization; its status is `NONE` if it is unknown."""
        address = checksum_address(address)
        return build(
            Member,
            self._read("Members", "member", address),
            address=address,
            name=str(self._read("Members", "nameOf", address)),
            fingerprint=self.fingerprint(address),
        )

    def members(self) -> list[Member]:
        """Return the organizations that joined, by member number."""
        return [self.member(address) for address in self.organizations()]

    def admitted(self) -> list[Member]:
        """Return the organizations that may join and have not."""
        admitted = [event["organization"] for event in self._logged("Members", "Admitted")]
        members = [self.member(address) for address in dict.fromkeys(admitted)]
        return [member for member in members if member.status is MemberStatus.ADMITTED]

    def organizations(self) -> list[str]:
        """Return the addresses of the organizations that joined, by member number."""
        addresses: list[str] = []
        while True:
            page = self._read("Members", "organizations", len(addresses), _PAGE)
            addresses += [str(address) for address in page]
            if len(page) < _PAGE:
                return addresses

    def active_members(self) -> list[str]:
        """Return the addresses of the active members."""
        return list(self._addresses(self._read("Members", "activeMembers")))

    def eligible_members(self) -> list[str]:
        """Return the addresses of the members that may contribute now."""
        return list(self._addresses(self._read("Members", "eligibleMembers")))

    def may_contribute(self, organization: str) -> bool:
        """Return whether a member is active, its bond whole and no penalty due."""
        return bool(self._read("Members", "mayContribute", organization))

    def auditors(self) -> list[str]:
        """Return the addresses whose attestations count."""
        return [str(address) for address in self._read("Members", "auditors")]

    def fingerprint(self, owner: str) -> str:
        """Return the certificate that a member or the aggregator registered last, or ""."""
        value = bytes(self._read("Members", "fingerprintOf", owner))
        return value.hex() if any(value) else ""

    def fingerprint_claims(self, fingerprint: str, grace: int = 0) -> list[FingerprintClaim]:
        """Return the present claims to a certificate, each to be checked with its key.

        Args:
            fingerprint: SHA-256 of the certificate, 64 hexadecimal digits.
            grace: Seconds for which the claim before an owner's present one counts as well.
        """
        wanted = int(fingerprint, 16)
        claims = {
            str(event["owner"]): FingerprintClaim(
                str(event["owner"]), fingerprint, bytes(event["proof"])
            )
            for event in self._logged("Members", "FingerprintSet", fingerprint=wanted)
        }
        return [
            claim
            for owner, claim in claims.items()
            if self.fingerprint(owner) == claim.fingerprint
            or (grace and self._replaced_within(claim, grace))
        ]

    def _replaced_within(self, claim: FingerprintClaim, grace: int) -> bool:
        """Return whether a claim is the one before its owner's last, which is only so old."""
        event = self._interfaces["Members"].events["FingerprintSet"]
        topics = event.topics_of({"owner": claim.owner})
        logs = self._logs(["Members"], topics, self.deployment.block)
        if len(logs) < 2 or logs[-2].topics[2].hex() != claim.fingerprint:
            return False
        return self.chain.now() - self.chain.time_of(logs[-1].block) <= grace

    # Governance

    def proposals(self) -> list[Proposal]:
        """Return every proposal, oldest first."""
        count = int(self._read("Governance", "count"))
        return [self._proposal(number) for number in range(1, count + 1)]

    def _proposal(self, number: int) -> Proposal:
        struct = self._read("Governance", "proposal", number)
        return build(
            Proposal,
            struct,
            id=number,
            votes=int(self._read("Governance", "votesFor", number)),
            call=self.decode_call(str(struct["target"]), bytes(struct["data"])),
        )

    def has_voted(self, proposal_id: int, organization: str) -> bool:
        """Return whether an organization voted for a proposal."""
        return bool(self._read("Governance", "hasVoted", proposal_id, organization))

    def vote_threshold(self) -> int:
        """Return the share of the active members that votes must exceed, in basis points."""
        return int(self._read("Governance", "threshold"))

    def _addresses(
        self, bitmap: Sequence[int], organizations: Sequence[str] | None = None
    ) -> tuple[str, ...]:
        numbers = numbers_in(bitmap)
        if not numbers:
            return ()
        known = self.organizations() if organizations is None else organizations
        return tuple(known[number] for number in numbers)
