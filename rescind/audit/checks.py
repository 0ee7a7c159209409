"""Checks and their results, and the two checks of the chain that every verification begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from web3.exceptions import BlockNotFound

from rescind.contracts import ChainUnavailable, Consortium, load_compiled
from rescind.core.errors import RescindError, VerificationError


@dataclass(frozen=True)
class Check:
    """The result of one check.

    Attributes:
        name: Name of the check.
        status: "passed", "failed" or "skipped".
        detail: What was found, why it failed, or why it was skipped.
    """

    name: str
    status: str
    detail: str


class Skipped(Exception):
    """Raised by a check that cannot be made, with the reason. It is not a failure."""


@dataclass(frozen=True)
class Verification:
    """The results of all checks.

    Attributes:
        checks: The results, in the order in which the checks were made.
        codes: The exit code of each check's failure, by name.
    """

    checks: tuple[Check, ...]
    codes: Mapping[str, int]

    @property
    def exit_code(self) -> int:
        """0, or the code of the first check that failed."""
        failed = (c.name for c in self.checks if c.status == "failed")
        return next((self.codes[name] for name in failed), 0)


def make(name: str, check: Callable[[], str]) -> Check:
    """Run a check and return its result.

    Raises:
        ChainUnavailable: The chain does not answer, which says nothing about what is checked.
    """
    try:
        return Check(name, "passed", check())
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except ChainUnavailable:
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


def deployment_block_hash(consortium: Consortium) -> str:
    """Return the hash of the block in which the last contract was deployed.

    Raises:
        VerificationError: The chain has no such block.
    """
    number = consortium.deployment.block
    try:
        return consortium.chain.block_hash(number)
    except BlockNotFound as error:
        raise VerificationError(f"the chain has no block {number}") from error


def check_chain(consortium: Consortium, block_hash: str) -> str:
    """Check that the chain is the one that the file names."""
    deployment = consortium.deployment
    chain_id = consortium.chain.check()
    same("chain id", deployment.chain_id, chain_id)
    same(f"block {deployment.block}", block_hash, deployment_block_hash(consortium))
    return f"chain {chain_id}, block {deployment.block} is {block_hash[:18]}..."


def check_contracts(consortium: Consortium) -> str:
    """Check that Rescind's code is at the addresses, and that the contracts name one another."""
    addresses = consortium.deployment.addresses()
    for name, address in addresses.items():
        if not load_compiled(name).is_code(consortium.chain.code(address)):
            raise VerificationError(
                f"the code at {address} is not that of Rescind's contract {name}"
            )
    for wire, target in consortium.wiring().items():
        same(wire, addresses[wire.split(".")[1].capitalize()], target)
    return f"{len(addresses)} contracts, code as published, each naming the others"
