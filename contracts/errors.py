"""Errors of the chain and its contracts."""

from __future__ import annotations

from rescind.core.errors import ChainError


class ChainUnavailable(ChainError):
    code = "chain-unavailable"


class WrongChain(ChainError):
    code = "wrong-chain"


class ContractsMissing(ChainError):
    code = "contracts-missing"


class ContractRefused(ChainError):
    """A transaction that the contract would revert; `reason` is its custom error's name."""

    code = "contract-refused"

    def __init__(self, message: str, reason: str = "") -> None:
        super().__init__(message)
        self.reason = reason


class KeystoreError(ChainError):
    code = "keystore"
