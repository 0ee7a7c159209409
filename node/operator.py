"""What an operator does on chain for an organization, beside its running node: proposals and votes,
bond, leaving, certificate. Each checks first, so that a refusal says what to do."""

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
_PARTAKING = (MemberStatus.ACTIVE, MemberStatus.LEFT)


class Operator:
    """An organization's own hand on the record; opened from its node.toml."""

    def __init__(self, config: NodeConfig) -> None:
        self.config = config
        account = load_account(config.identity)
        self.address = account.address
        self.consortium = open_consortium(config.chain, account)

    @property
    def member(self) -> Member:
        return self.consortium.member(self.address)

    # Proposals: each returns the proposal's id, one's own vote already given

    def propose_admission(self, organization: str, name: str, certificate: str) -> int:
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status is not MemberStatus.NONE:
            raise ConfigError(
                f"{organization} is {status.value}: an organization is admitted once only"
            )
        if not name.strip():
            raise ConfigError("the name is empty")
        self._must_be_free(certificate)
        self.consortium.propose_admission(organization, name, certificate)
        return self._newest()

    def propose_expulsion(self, organization: str) -> int:
        self._must_be_active()
        status = self.consortium.member(organization).status
        if status not in _PARTAKING:
            raise ConfigError(
                f"{organization} is {status.value}: only an active member, or one that left, "
                "can be expelled"
            )
        self.consortium.propose_expulsion(organization)
        return self._newest()

    def propose_auditor(self, auditor: str) -> int:
        self._must_be_active()
        if auditor in self.consortium.auditors():
            raise ConfigError(f"{auditor} is an auditor already")
        self.consortium.propose_auditor(auditor)
        return self._newest()

    def propose_dismissal(self, auditor: str) -> int:
        self._must_be_active()
        known = self.consortium.auditors()
        if auditor not in known:
            named = ", ".join(known) or "none"
            raise ConfigError(f"{auditor} is not an auditor; auditors: {named}")
        self.consortium.propose_dismissal(auditor)
        return self._newest()

    def propose_aggregator(self, aggregator: str, certificate: str) -> int:
        self._must_be_active()
        self._must_be_fingerprint(certificate)
        self.consortium.propose_aggregator(aggregator, certificate)
        return self._newest()

    def propose_fall_back(self, withdrawal_id: int) -> int:
        self._must_be_active()
        known = {it.id: it for it in self.consortium.withdrawals()}
        if withdrawal_id not in known:
            raise ConfigError(f"there is no withdrawal {withdrawal_id}: rescind withdraw status")
        it = known[withdrawal_id]
        if it.state is WithdrawalState.CLOSED or it.method is ModelKind.REMOVAL:
            raise ConfigError(
                f"withdrawal {withdrawal_id} is a {it.method.value} and {it.state.value}: only one "
                "by another method that is still open can fall back to removal"
            )
        self.consortium.propose_fall_back(withdrawal_id)
        return self._newest()

    def vote(self, proposal_id: int) -> str:
        """The transaction."""
        self._must_be_active()
        return self._decide(proposal_id, self.consortium.vote)

    def execute(self, proposal_id: int) -> str:
        """The transaction. Anyone may, once votes suffice."""
        return self._decide(proposal_id, self.consortium.execute)

    # One's own membership

    def top_up(self) -> dict[str, object]:
        """Pay what the bond lacks after a penalty; nothing when it is whole."""
        member = self._must_be_active()
        lacking = self.consortium.bond() - member.bond
        transaction = self.consortium.top_up(lacking).tx_hash if lacking > 0 else None
        return {
            "paid_wei": max(0, lacking),
            "bond_wei": self.member.bond,
            "transaction": transaction,
        }

    def resign(self) -> dict[str, object]:
        """Take part no more; one's deltas stay in the models until a withdrawal is requested."""
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
        """Put the fingerprint of the configured certificate on chain, unless it is there."""
        mine = fingerprint(self.config.identity.tls.read()[1])
        member = self.member
        if member.status is MemberStatus.NONE:
            raise ConfigError(f"{self.address} is not a member: it has no certificate on chain")
        transaction = None
        if member.fingerprint != mine:
            self._must_be_free(mine)
            transaction = self.consortium.rotate_fingerprint(mine).tx_hash
        return {"fingerprint": mine, "replaced": member.fingerprint, "transaction": transaction}

    def _must_be_active(self) -> Member:
        member = self.member
        if member.status is MemberStatus.NONE:
            raise ConfigError(f"{self.address} is not a member: have it admitted first")
        if member.status is MemberStatus.ADMITTED:
            raise ConfigError(
                f"{self.address} is admitted but has not joined: start its node, which pays the bond"
            )
        if member.status is not MemberStatus.ACTIVE:
            raise ContractRefused(
                f"{self.address} is {member.status.value}: only active members can do this",
                "NotActive",
            )
        return member

    def _must_be_fingerprint(self, certificate: str) -> None:
        if not re.fullmatch(r"[0-9a-f]{64}", certificate):
            raise ConfigError(f"{certificate!r} is not a fingerprint: 64 hexadecimal digits")

    def _must_be_free(self, certificate: str) -> None:
        self._must_be_fingerprint(certificate)
        holder = self.consortium.organization_of(certificate)
        if holder is not None:
            raise ConfigError(f"fingerprint {certificate} is {holder}'s: each has its own")

    def _decide(self, proposal_id: int, act: Callable[[int], Receipt]) -> str:
        if proposal_id < 1:
            raise ConfigError(f"{proposal_id} is not the number of a proposal: they begin at 1")
        try:
            return act(proposal_id).tx_hash
        except ContractRefused as error:
            hint = _HINTS.get(error.reason)
            raise ContractRefused(
                f"{error}; {hint}" if hint else str(error), error.reason
            ) from error

    def _newest(self) -> int:
        """Of one's own proposals: another member's may have come in meanwhile."""
        mine = [it.id for it in self.consortium.proposals() if it.proposer == self.address]
        return mine[-1]
