"""Gas estimates of nodes that use the time of the latest block, not of the next block."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import pytest

from rescind.contracts import Chain
from rescind.contracts.errors import NodeRefused
from rescind.contracts.estimating import estimate_gas

EARLY = {"code": 3, "message": "execution reverted", "data": "0x" + "11" * 36}
OTHER = {"code": 3, "message": "execution reverted", "data": "0x" + "22" * 36}


@dataclass
class Node:
    """A node by its answers at the latest block and at the pending one."""

    latest: Any
    pending: Any
    asked: list[Sequence[Any]] = field(default_factory=list)

    def send(self, method: str, parameters: Sequence[Any]) -> Any:
        self.asked.append(parameters)
        answer = self.pending if "pending" in parameters else self.latest
        kind = "result" if isinstance(answer, str) else "error"
        return {"jsonrpc": "2.0", "id": 1, kind: answer}

    def estimate(self) -> int:
        chain = Chain("http://localhost", transport=self)
        return estimate_gas(chain.rpc.request, {"to": "0x" + "0a" * 20, "data": "0x"})


def test_a_call_that_is_a_block_early_is_estimated_in_the_next_block() -> None:
    assert Node(EARLY, "0x5208").estimate() == 21_000


def test_a_call_that_is_accepted_is_asked_for_once() -> None:
    node = Node("0x5208", "0x1")
    assert node.estimate() == 21_000
    assert len(node.asked) == 1


@pytest.mark.parametrize("pending", [OTHER, {"code": -32602, "message": "pending"}])
def test_a_call_that_is_refused_in_both_blocks_keeps_the_first_reason(pending: Any) -> None:
    with pytest.raises(NodeRefused) as error:
        Node(EARLY, pending).estimate()
    assert error.value.data == bytes.fromhex("11" * 36)


def test_an_error_of_the_node_itself_is_not_asked_for_again() -> None:
    node = Node({"code": -32000, "message": "gas required exceeds allowance"}, "0x1")
    with pytest.raises(NodeRefused):
        node.estimate()
    assert all("pending" not in parameters for parameters in node.asked)
