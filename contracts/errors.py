"""Errors of the chain and its contracts."""

from __future__ import annotations

from rescind.contracts.endpoint_faults import REVERTED, UNKNOWN
from rescind.contracts.fault import Fault
from rescind.core.errors import ChainError


class ChainUnavailable(ChainError):
    """The RPC endpoint does not answer, or not in time. Try again later."""

    code = "chain-unavailable"


class NodeRefused(ChainUnavailable):
    """A node answered a request with an error.

    Those who ask usually say something more helpful; where none does, the message says what to do.

    Attributes:
        message: The node's words.
        data: Bytes with which a contract reverted: the selector of its error, and arguments.
        rpc_code: The JSON-RPC error code; None if there is none.
        fault: The row of the table of failures.
    """

    def __init__(
        self,
        message: str,
        data: bytes = b"",
        *,
        rpc_code: int | None = None,
        fault: Fault = UNKNOWN,
        source: str = "",
    ) -> None:
        start = f"{source}: " if source else ""
        advised = message if fault is REVERTED else f"{start}{message.rstrip('.')}. {fault.advice}"
        super().__init__(advised)
        self.message, self.data, self.rpc_code, self.fault = message, data, rpc_code, fault

    @property
    def reverted(self) -> bool:
        """A contract reverted the call."""
        return self.fault is REVERTED


class EndpointsDisagree(ChainUnavailable):
    """Endpoints that must agree give different answers about the same block."""


class WrongChain(ChainError):
    """The RPC endpoint is on another chain, or on one without EIP-2537."""

    code = "wrong-chain"


class SendingPaused(ChainUnavailable):
    """A transaction is not final yet. It stays in the outbox, and the same call resumes it."""

    code = "sending-paused"


class TransactionRefused(ChainError):
    """No transaction pool takes a transaction, or its operator cancelled it."""

    code = "transaction-refused"


class FundsMissing(ChainError):
    """An account cannot pay for a transaction."""

    code = "funds-missing"


class NonceTaken(ChainError):
    """Another transaction of the key came in between those of a plan."""

    code = "nonce-taken"


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
