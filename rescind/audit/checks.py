"""Checks and their results, and the checks of the chain that every verification begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from rescind.contracts import (
    ChainUnavailable,
    ConsortiumReader,
    ContractsMissing,
    Deployment,
    IndexRefused,
    IndexUnusable,
)
from rescind.core.errors import RescindError, VerificationError


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: Name of the check.
        status: "passed", "measured" where auditors' tools measured it, "stated" where it is the word
            of others, "failed", "skipped" if what it needs is not at hand, or "none" if there is
            nothing to check.
        detail: What was found, why it failed, or what is not at hand.
        left_out: What a check that passed could not look at, though nothing rests on it.
    """

    name: str
    status: str
    detail: str
    left_out: tuple[str, ...] = ()


class Skipped(Exception):
    """Raised by a check that cannot be made, with what it needs. It is not a failure."""


class Partly(Exception):
    """Raised by a check that passed for all that the withdrawal left, and left out what it took out.

    Args:
        found: What was found.
        left_out: What is not at hand, because the withdrawal took it out.
    """

    def __init__(self, found: str, *left_out: str) -> None:
        super().__init__(found)
        self.left_out = left_out


class Stated(Exception):
    """Raised by a check that rests on the word of others, with what they say."""


class Measured(Exception):
    """Raised by a check of what auditors measured, with their findings."""


class NothingToCheck(Exception):
    """Raised by a check that does not concern this file, with the reason."""


@dataclass(frozen=True)
class Owner:
    """How far the parameters of one owner were checked.

    Attributes:
        owner: An organization's address, "shared" or "statistics".
        name: The organization's name, or the owner.
        standing: "opened by the holder", "attested" or "not checked".
        detail: What that rests on.
    """

    owner: str
    name: str
    standing: str
    detail: str


@dataclass(frozen=True)
class Verification:
    """The results of all checks.

    Attributes:
        checks: The results, in the order in which the checks were made.
        codes: The exit code of each check's failure, by name.
        contracts: Addresses of the contracts that the file names, by contract.
        owners: How far each owner's parameters were checked.
    """

    checks: tuple[Check, ...]
    codes: Mapping[str, int]
    contracts: Mapping[str, str] = field(default_factory=dict)
    owners: tuple[Owner, ...] = ()

    @property
    def exit_code(self) -> int:
        """0, or the code of the first check that failed."""
        failed = (c.name for c in self.checks if c.status == "failed")
        return next((self.codes[name] for name in failed), 0)

    @property
    def unchecked(self) -> tuple[str, ...]:
        """The gaps of the verification.

        They are the names of skipped checks, what other checks left out, and owners that no one
        vouches for.
        """
        owners = [each.name for each in self.owners if each.standing == NOT_CHECKED]
        return (
            *(check.name for check in self.checks if check.status == "skipped"),
            *dict.fromkeys(each for check in self.checks for each in check.left_out),
            *(f"the parameters of {name}" for name in owners),
        )

    @property
    def verdict(self) -> str:
        """The result in words: "REFUSED", or "accepted" with what was not checked."""
        if self.exit_code:
            return "REFUSED"
        if not self.unchecked:
            return "accepted"
        return f"accepted as far as it was checked; not checked: {', '.join(self.unchecked)}"


OPENED, ATTESTED, NOT_CHECKED = "opened by the holder", "attested", "not checked"


def make(name: str, check: Callable[[], str]) -> Check:
    """Run a check and return its result.

    Raises:
        ChainUnavailable: The chain does not answer, which says nothing about what is checked.
        IndexRefused: The index of events is another file, which says nothing either.
        IndexUnusable: It cannot be used.
    """
    try:
        return Check(name, "passed", check())
    except Partly as reason:
        detail = f"{reason}; skipped: {', '.join(reason.left_out)}"
        return Check(name, "passed", detail, reason.left_out)
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except Stated as reason:
        return Check(name, "stated", str(reason))
    except Measured as reason:
        return Check(name, "measured", str(reason))
    except NothingToCheck as reason:
        return Check(name, "none", str(reason))
    except (ChainUnavailable, IndexRefused, IndexUnusable):
        raise
    except RescindError as error:
        return Check(name, "failed", str(error))


def same(what: str, claimed: object, actual: object) -> None:
    """Compare a statement of the file with the truth.

    Raises:
        VerificationError: They differ.
    """
    if claimed != actual:
        raise VerificationError(f"{what}: the file has {claimed}, but it is {actual}")


def to_hex(value: object) -> str:
    """Return bytes from an event's arguments as hexadecimal text; anything else as text."""
    return value.hex() if isinstance(value, bytes) else str(value)


def deployment_block_hash(reader: ConsortiumReader) -> str:
    """Return the hash of the block in which the last contract was deployed.

    Raises:
        VerificationError: The chain has no such block.
    """
    number = reader.deployment.block
    try:
        return reader.chain.block_hash(number)
    except ContractsMissing as error:
        raise VerificationError(f"the chain has no block {number}") from error


def check_pinned(deployment: Deployment, pinned: Path | None) -> str:
    """Check that a file names the contracts of the consortium that its reader means.

    Without it a certificate of another consortium, whose members have the same names, is accepted.

    Args:
        deployment: The contracts that the file names.
        pinned: The reader's own contracts.json.
    """
    if pinned is None:
        raise Skipped(
            "that this is the consortium you mean: pass --contracts FILE, your own contracts.json"
        )
    own = Deployment.load(pinned)
    same("chain id", deployment.chain_id, own.chain_id)
    for name, address in deployment.addresses().items():
        same(f"address of {name}", address, own.addresses()[name])
    return f"the contracts are those of {pinned}"


def check_chain(reader: ConsortiumReader, block_hash: str) -> str:
    """Check that the chain is the one that the file names."""
    deployment = reader.deployment
    chain_id = reader.chain.check()
    same("chain id", deployment.chain_id, chain_id)
    same(f"block {deployment.block}", block_hash, deployment_block_hash(reader))
    return f"chain {chain_id}, block {deployment.block} is {block_hash[:18]}..."


def check_contracts(reader: ConsortiumReader) -> str:
    """Check that Rescind's contracts are at the addresses, created as published.

    The creation code and its arguments are compared too: published runtime code can be created by
    other code, which leaves votes or models in its storage.
    """
    reader.check()
    addresses = reader.deployment.addresses()
    for wire, target in reader.wiring().items():
        same(wire, addresses[wire.split(".")[1].capitalize()], target)
    return f"{len(addresses)} contracts, created by the published code, each naming the others"
