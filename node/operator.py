"""The operator's transactions for an organization: proposals, votes, bond, leaving, certificate.

They run beside the node's daemon. Each checks first, so that the error says what to do.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from rescind.contracts import (
    ContractRefused,
    Member,
    MemberStatus,
    ModelKind,
    Receipt,
    WithdrawalState,
)
from rescind.core.errors import ConfigError
from rescind.daemon import load_account, open_consortium
from rescind.node.config import NodeConfig
from rescind.wire import fingerprint

_HINTS = {
    "UnknownProposal": "rescind govern list shows the proposals",
    "NotEnoughVotes": "more active members must vote for it first",
    "Expired": "propose it again",
}
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
        self.consortium = open_consortium(config.chain, account)

    @property
    def member(self) -> Member:
        """The organization as the chain has it."""
        return self.consortium.member(self.address)

    # Proposals: each returns the proposal's id; the proposer's vote is counted already

    def propose_admission(self, organization: str, name: str, certificate: str) -> int:
        """Propose to admit an organization under a name, with a certificate's fingerprint."""
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status is not MemberStatus.NONE:
            raise ConfigError(
                f"{organization} is {status.value}. An organization can be admitted only once."
            )
        if not name.strip():
            raise ConfigError("The name is empty. Give the organization a name.")
        self._must_be_free(certificate)
        self.consortium.propose_admission(organization, name, certificate)
        return self._newest()

    def propose_expulsion(self, organization: str) -> int:
        """Propose to expel a member, which withdraws its contributions."""
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status not in _PARTAKING:
            raise ConfigError(
                f"{organization} is {status.value}. Only an active member, or one that left, "
                "can be expelled."
            )
        self.consortium.propose_expulsion(organization)
        return self._newest()

    def propose_auditor(self, auditor: str) -> int:
        """Propose an address as an auditor."""
        self._must_be_active()
        if auditor in self.consortium.auditors():
            raise ConfigError(f"{auditor} is already an auditor")
        self.consortium.propose_auditor(auditor)
        return self._newest()

    def propose_dismissal(self, auditor: str) -> int:
        """Propose to dismiss an auditor."""
        self._must_be_active()
        auditors = self.consortium.auditors()
        if auditor not in auditors:
            names = ", ".join(auditors) or "none"
            raise ConfigError(f"{auditor} is not an auditor. Auditors: {names}.")
        self.consortium.propose_dismissal(auditor)
        return self._newest()

    def propose_aggregator(self, aggregator: str, certificate: str) -> int:
        """Propose another aggregator, with its certificate's fingerprint."""
        self._must_be_active()
        self._must_be_fingerprint(certificate)
        self.consortium.propose_aggregator(aggregator, certificate)
        return self._newest()

    def propose_fall_back(self, withdrawal_id: int) -> int:
        """Propose that an open withdrawal by another method becomes a removal."""
        self._must_be_active()
        by_id = {withdrawal.id: withdrawal for withdrawal in self.consortium.withdrawals()}
        if withdrawal_id not in by_id:
            raise ConfigError(
                f"there is no withdrawal {withdrawal_id}. List them with rescind withdraw status."
            )
        withdrawal = by_id[withdrawal_id]
        closed = withdrawal.state is WithdrawalState.CLOSED
        if closed or withdrawal.method is ModelKind.REMOVAL:
            raise ConfigError(
                f"Withdrawal {withdrawal_id} is a {withdrawal.method.value} in state "
                f"{withdrawal.state.value}. Only an open withdrawal by another method can fall "
                "back to removal."
            )
        self.consortium.propose_fall_back(withdrawal_id)
        return self._newest()

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
        missing = self.consortium.bond() - member.bond
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
        own = fingerprint(self.config.identity.tls.read()[1])
        member = self.member
        if member.status is MemberStatus.NONE:
            raise ConfigError(
                f"{self.address} is not a member, so it has no certificate on chain to replace."
            )
        transaction = None
        if member.fingerprint != own:
            self._must_be_free(own)
            transaction = self.consortium.rotate_fingerprint(own).tx_hash
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

    def _must_be_fingerprint(self, certificate: str) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", certificate):
            raise ConfigError(
                f"{certificate!r} is not a fingerprint. Give 64 lower-case hexadecimal digits."
            )

    def _must_be_free(self, certificate: str) -> None:
        self._must_be_fingerprint(certificate)
        holder = self.consortium.organization_of(certificate)
        if holder is not None:
            raise ConfigError(
                f"fingerprint {certificate} belongs to {holder}. Use another certificate."
            )

    def _decide(self, proposal_id: int, act: Callable[[int], Receipt]) -> str:
        if proposal_id < 1:
            raise ConfigError(f"{proposal_id} is not a proposal's number. Numbers begin at 1.")
        try:
            return act(proposal_id).tx_hash
        except ContractRefused as error:
            hint = _HINTS.get(error.reason)
            raise ContractRefused(
                f"{error}; {hint}" if hint else str(error), error.reason
            ) from error

    def _newest(self) -> int:
        # Only own proposals: another member may have made one in the meantime.
        proposals = self.consortium.proposals()
        return [p.id for p in proposals if p.proposer == self.address][-1]
