"""The operator's transactions for an organization: proposals, votes, bond, leaving, certificate.

They run beside the node's daemon. Each checks first, so that the error says what to do.
"""

from __future__ import annotations

from collections.abc import Callable

from rescind.contracts import (
    ContractRefused,
    Member,
    MemberStatus,
    Receipt,
)
from rescind.core.errors import ConfigError
from rescind.daemon import certificate_claim, load_account, open_consortium
from rescind.node.config import NodeConfig

# Members whose deltas are in the models, or may come to be.
_PARTAKING = (MemberStatus.ACTIVE, MemberStatus.LEFT)


class Operator:
    """The transactions that an operator sends with the organization's account.

    Every method raises ConfigError or ContractRefused if the chain would not accept the
    transaction.

    Args:
        config: The node's TOML file.
    """

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        account = load_account(config.identity)
        self.address = account.address
        self.consortium = open_consortium(config.chain, account, state=config.node.state_dir)

    @property
    def member(self) -> Member:
        """The organization as the chain has it."""
        return self.consortium.member(self.address)

    # Proposals: each returns the proposal's id; the proposer's vote is counted already

    def propose_admission(self, organization: str, name: str) -> int:
        """Propose to admit an organization under a name."""
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status is not MemberStatus.NONE:
            raise ConfigError(
                f"{organization} is {status.value}. An organization can be admitted only once."
            )
        if not name.strip():
            raise ConfigError("The name is empty. Give the organization a name.")
        return self.consortium.propose_admission(organization, name)

    def propose_revocation(self, organization: str) -> int:
        """Propose to take an admission back before the organization joins."""
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status is not MemberStatus.ADMITTED:
            raise ConfigError(
                f"{organization} is {status.value}. Only an admission that was not used yet can be "
                "taken back."
            )
        return self.consortium.propose_revocation(organization)

    def propose_expulsion(self, organization: str) -> int:
        """Propose to expel a member, which withdraws its contributions."""
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status not in _PARTAKING:
            raise ConfigError(
                f"{organization} is {status.value}. Only an active member, or one that left, "
                "can be expelled."
            )
        return self.consortium.propose_expulsion(organization)

    def propose_auditor(self, auditor: str) -> int:
        """Propose an address as an auditor."""
        self._must_be_active()
        if auditor in self.consortium.auditors():
            raise ConfigError(f"{auditor} is already an auditor")
        return self.consortium.propose_auditor(auditor)

    def propose_dismissal(self, auditor: str) -> int:
        """Propose to dismiss an auditor."""
        self._must_be_active()
        auditors = self.consortium.auditors()
        if auditor not in auditors:
            names = ", ".join(auditors) or "none"
            raise ConfigError(f"{auditor} is not an auditor. Auditors: {names}.")
        return self.consortium.propose_dismissal(auditor)

    def propose_aggregator(self, aggregator: str) -> int:
        """Propose another aggregator, which is not a member."""
        self._must_be_active()
        if self.consortium.member(aggregator).status.joined:
            raise ConfigError(f"{aggregator} is a member, and a member cannot be the aggregator.")
        return self.consortium.propose_aggregator(aggregator)

    def vote(self, proposal_id: int) -> str:
        """Vote for a proposal, and return the transaction's hash."""
        self._must_be_active()
        return self._decide(proposal_id, self.consortium.vote)

    def execute(self, proposal_id: int) -> str:
        """Execute a proposal with enough votes, and return the transaction's hash.

        The contracts let any account do so.
        """
        return self._decide(proposal_id, self.consortium.execute)

    # Membership

    def top_up(self) -> dict[str, object]:
        """Pay the part of the bond that a penalty took; pay nothing if the bond is complete."""
        member = self._must_be_active()
        missing = self.consortium.member_terms().bond - member.bond
        transaction = self.consortium.top_up(missing).tx_hash if missing > 0 else None
        return {
            "paid_wei": max(0, missing),
            "bond_wei": self.member.bond,
            "transaction": transaction,
        }

    def resign(self) -> dict[str, object]:
        """Leave the consortium. Registered deltas stay in the models until they are withdrawn."""
        self._must_be_active()
        transaction = self.consortium.resign().tx_hash
        member = self.member
        return {
            "status": member.status.value,
            "bond_wei": member.bond,
            "reclaimable_at": member.exit_at,
            "transaction": transaction,
        }

    def rotate_certificate(self) -> dict[str, object]:
        """Put the configured certificate's fingerprint on chain, unless it is there already."""
        deployment, tls = self.consortium.deployment, self.config.identity.tls
        own, proof = certificate_claim(deployment, self.address, tls)
        member = self.member
        if not member.status.joined:
            raise ConfigError(
                f"{self.address} is not a member, so it has no certificate on chain to replace."
            )
        transaction = None
        if member.fingerprint != own:
            transaction = self.consortium.set_fingerprint(own, proof).tx_hash
        return {"fingerprint": own, "replaced": member.fingerprint, "transaction": transaction}

    def _must_be_active(self) -> Member:
        member = self.member
        if member.status is MemberStatus.NONE:
            raise ConfigError(
                f"{self.address} is not a member. Ask an active member to propose its admission."
            )
        if member.status is MemberStatus.ADMITTED:
            raise ConfigError(
                f"{self.address} is admitted but has not joined. Start its node, which pays the "
                "bond."
            )
        if member.status is not MemberStatus.ACTIVE:
            raise ContractRefused(
                f"{self.address} is {member.status.value}: only active members can do this",
                "NotActive",
            )
        return member

    def _decide(self, proposal_id: int, act: Callable[[int], Receipt]) -> str:
        if proposal_id < 1:
            raise ConfigError(f"{proposal_id} is not a proposal's number. Numbers begin at 1.")
        return act(proposal_id).tx_hash
