"""The gas of a transaction, estimated at the time of the block that it will be in.

go-ethereum estimates at the time of the latest block. A call that the contracts accept only after a
deadline is refused there until another block comes, and where blocks come only with transactions,
none ever would. So a call that is reverted is tried once more at the block "pending".
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from rescind.contracts.errors import ChainUnavailable, NodeRefused
from rescind.contracts.rpc import Answer


def estimate_gas(request: Callable[..., Answer], transaction: Mapping[str, Any]) -> int:
    """Return the gas that a transaction uses.

    Args:
        request: Sends a method and its parameters to a node.
        transaction: The transaction, as JSON-RPC takes it.

    Raises:
        NodeRefused: The contract reverts it, now and in the next block, or the node refuses it.
        ChainUnavailable: The node does not answer.
    """
    try:
        return request("eth_estimateGas", dict(transaction)).number()
    except NodeRefused as refused:
        if not refused.reverted:
            raise
        try:
            return request("eth_estimateGas", dict(transaction), "pending").number()
        except ChainUnavailable:
            # The words of the first answer are about the state that was read.
            raise refused from None
