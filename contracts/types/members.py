"""Members, their certificates, votes and ledgers."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.contracts.states import MemberStatus


@dataclass(frozen=True)
class Member:
    """An organization. `number` is 0 also for one that has not joined: look at `status`."""

    address: str
    name: str
    fingerprint: str
    number: int
    bond: int
    exit_at: int
    status: MemberStatus


@dataclass(frozen=True)
class FingerprintClaim:
    """A claim to a TLS certificate.

    The contract does not check it. Accept it only if `proof` verifies with the certificate's key
    over `fingerprint_message`.
    """

    owner: str
    fingerprint: str
    proof: bytes


@dataclass(frozen=True)
class Proposal:
    """A proposed call with the votes of members that are active now."""

    id: int
    proposer: str
    target: str
    deadline: int
    executed: bool
    votes: int
    call: str


@dataclass(frozen=True)
class Anchor:
    """Size and root of an organization's private ledger; `block` is where they were anchored."""

    size: int
    block: int
    root: str


@dataclass(frozen=True)
class StatedPrivacy:
    """(epsilon, delta) that an organization says it has spent; `epsilon` is infinite for no bound."""

    epsilon: float
    delta: float
    block: int
