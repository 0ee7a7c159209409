"""Errors of the chain and its contracts."""

from __future__ import annotations

from rescind.core.errors import ChainError


class ChainUnavailable(ChainError):
    """The RPC endpoint does not answer, or not in time. Try again later."""

    code = "chain-unavailable"


class WrongChain(ChainError):
    """The RPC endpoint is on another chain, or on one without EIP-2537."""

    code = "wrong-chain"


class ContractsMissing(ChainError):
    """The published contracts, created as published, are not where the contracts file says."""

    code = "contracts-missing"


class ContractRefused(ChainError):
    """A contract refuses a call or a transaction.

    Attributes:
        reason: The name of the contract's custom error; empty if it gave none.
    """

    code = "contract-refused"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class KeystoreError(ChainError):
    """A keystore file cannot be read, opened or written."""

    code = "keystore"
