"""What a check is, and those that everything which is verified against a chain begins with."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from web3.exceptions import BlockNotFound

from rescind.contracts import ChainUnavailable, Consortium, load_compiled
from rescind.core.errors import RescindError, VerificationError


@dataclass(frozen=True)
class Check:
    """`status`: passed, failed or skipped."""

    name: str
    status: str
    detail: str


class Skipped(Exception):
    """Why a check could not be made; it is reported, and is no failure."""


@dataclass(frozen=True)
class Verification:
    """`codes`: the exit code of each check's failure."""

    checks: tuple[Check, ...]
    codes: Mapping[str, int]

    @property
    def exit_code(self) -> int:
        """0, or the code of the first check that failed."""
        failed = (c.name for c in self.checks if c.status == "failed")
        return next((self.codes[name] for name in failed), 0)


def make(name: str, check: Callable[[], str]) -> Check:
    try:
        return Check(name, "passed", check())
    except Skipped as reason:
        return Check(name, "skipped", str(reason))
    except ChainUnavailable:
        raise
    except RescindError as error:
        return Check(name, "failed", str(error))


def same(what: str, claimed: object, found: object) -> None:
    if claimed != found:
        raise VerificationError(f"{what}: the file has {claimed}, it is {found}")


def deployment_block_hash(consortium: Consortium) -> str:
    """Raises VerificationError when the chain has no such block."""
    number = consortium.deployment.block
    try:
        return consortium.chain.block_hash(number)
    except BlockNotFound as error:
        raise VerificationError(f"the chain has no block {number}") from error


def check_chain(consortium: Consortium, block_hash: str) -> str:
    """It is the chain that is named."""
    deployment = consortium.deployment
    found = consortium.chain.check()
    same("chain id", deployment.chain_id, found)
    same(f"block {deployment.block}", block_hash, deployment_block_hash(consortium))
    return f"chain {found}, block {deployment.block} is {block_hash[:18]}..."


def check_contracts(consortium: Consortium) -> str:
    """The code at the named addresses is Rescind's, and the contracts name one another."""
    addresses = consortium.deployment.addresses()
    for name, address in addresses.items():
        if not load_compiled(name).is_code(consortium.chain.code(address)):
            raise VerificationError(f"the code at {address} is not Rescind's {name}")
    for wire, target in consortium.wiring().items():
        same(wire, addresses[wire.split(".")[1].capitalize()], target)
    return f"{len(addresses)} contracts, code as published, each naming the others"
