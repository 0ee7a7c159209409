"""Scripted chains that the outbox's tests send on."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.support.scripted_pool import (
    FakeAccount,
    ScriptedChain,
    ScriptedNode,
)


class Killed(BaseException):
    """The process ends here, whatever would clean up."""


def mining(node: ScriptedNode, every: float = 1.0) -> Callable[[float], None]:
    """Return what a pause does: a block is mined for each `every` seconds."""
    passed = 0.0

    def pause(seconds: float) -> None:
        nonlocal passed
        passed += seconds
        while passed >= every:
            passed -= every
            node.mine()

    return pause


def chain_of(
    node: ScriptedNode, confirmations: int = 0, on_pause: Callable[[float], None] | None = None
) -> ScriptedChain:
    chain = ScriptedChain(node, confirmations)
    chain.clock.on_pause = on_pause or mining(node)
    return chain


def killed_after_broadcast(node: ScriptedNode, account: FakeAccount, call: dict[str, Any]) -> None:
    """Send a call, and die before it is mined."""

    def die(_: float) -> None:
        raise Killed

    with pytest.raises(Killed):
        chain_of(node, on_pause=die).sender(account).send(call)


def genesis(node: ScriptedNode) -> str:
    block = node.get_block_by_number("0x0", False)
    assert block is not None
    return str(block["hash"])
