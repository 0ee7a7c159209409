"""Members, money, votes and time."""

from __future__ import annotations

from collections.abc import Sequence

from rescind.contracts import MemberStatus
from tests.contracts.reference.records import TERMS, Organization, Proposal
from tests.contracts.reference.refusal import require


class Members:
    def __init__(self, aggregator: str, organizations: Sequence[str], now: int) -> None:
        self.aggregator = aggregator
        self.organizations = {who: Organization() for who in organizations}
        self.now = now
        self.aggregator_bond = TERMS.aggregator_bond_wei
        self.pool = TERMS.pool_wei
        self.compensation = dict.fromkeys(organizations, 0)
        self.proposals: dict[int, Proposal] = {}

    def status(self, who: str) -> MemberStatus:
        found = self.organizations.get(who)
        return found.status if found else MemberStatus.NONE

    def active(self, who: str) -> bool:
        return self.status(who) is MemberStatus.ACTIVE

    def may_contribute(self, who: str) -> bool:
        return self.active(who) and self.organizations[who].bond >= TERMS.bond_wei

    def members_balance(self) -> int:
        bonds = sum(it.bond for it in self.organizations.values())
        return bonds + self.aggregator_bond + sum(self.compensation.values())

    def rewards_balance(self) -> int:
        return self.pool + sum(it.reward for it in self.organizations.values())

    def resign(self, who: str) -> None:
        require(self.active(who), "WrongStatus")
        self.organizations[who].status = MemberStatus.LEFT
        self.organizations[who].exit_at = self.now + TERMS.exit_seconds

    def top_up(self, who: str, amount: int) -> None:
        require(self.active(who), "WrongStatus")
        missing = TERMS.bond_wei - self.organizations[who].bond
        require(0 < amount <= missing, "WrongBond")
        self.organizations[who].bond += amount

    def reclaim_bond(self, who: str) -> None:
        gone = self.status(who) in (MemberStatus.LEFT, MemberStatus.WITHDRAWN)
        require(gone and self.organizations[who].bond > 0, "WrongStatus")
        require(self.now >= self.organizations[who].exit_at, "TooEarly")
        self.organizations[who].bond = 0

    def claim_reward(self, who: str) -> None:
        require(who in self.organizations and self.organizations[who].reward > 0, "NothingToClaim")
        self.organizations[who].reward = 0

    def claim_compensation(self, who: str) -> None:
        require(self.compensation.get(who, 0) > 0, "NothingToClaim")
        self.compensation[who] = 0

    def post_aggregator_bond(self, who: str, amount: int) -> None:
        require(who == self.aggregator, "NotAllowed")
        require(amount > 0, "WrongBond")
        self.aggregator_bond += amount

    def propose_expulsion(self, who: str, organization: str) -> None:
        self._propose(who, "expel", organization)

    def propose_fall_back(self, who: str, withdrawal_id: int) -> None:
        self._propose(who, "fall_back", withdrawal_id)

    def vote(self, who: str, number: int) -> None:
        it = self._open_proposal(number)
        require(self.active(who), "NotActive")
        require(who not in it.voters, "AlreadyVoted")
        it.voters.add(who)

    def votes_for(self, number: int) -> int:
        return sum(self.active(who) for who in self.proposals[number].voters)

    def execute(self, who: str, number: int) -> None:
        it = self._open_proposal(number)
        electorate = sum(self.active(organization) for organization in self.organizations)
        require(2 * self.votes_for(number) > electorate, "NotEnoughVotes")
        getattr(self, it.action)(it.argument)
        it.executed = True

    def _propose(self, who: str, action: str, argument: str | int) -> None:
        require(self.active(who), "NotActive")
        deadline = self.now + TERMS.proposal_seconds
        self.proposals[len(self.proposals) + 1] = Proposal(action, argument, deadline, {who})

    def _open_proposal(self, number: int) -> Proposal:
        require(number in self.proposals, "UnknownProposal")
        require(not self.proposals[number].executed, "AlreadyExecuted")
        require(self.now <= self.proposals[number].deadline, "Expired")
        return self.proposals[number]
