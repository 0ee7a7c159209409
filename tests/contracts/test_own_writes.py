"""A process never reads a state from before its own transactions, or it would send them again."""

from types import SimpleNamespace

import pytest

from rescind.contracts import Account, Chain, Receipt
from tests.support.scripted_chain import ScriptedChain


@pytest.fixture
def script() -> ScriptedChain:
    chain = ScriptedChain()
    chain.mine([], [], [], [])
    return chain


def write(monkeypatch: pytest.MonkeyPatch, chain: Chain, block: int) -> None:
    """Let the client send something that is mined in a block."""
    receipt = Receipt("0x" + "11" * 32, block, 21_000, "")
    sender = SimpleNamespace(send=lambda *_, **__: receipt)
    monkeypatch.setattr("rescind.contracts.chain.Sender", lambda *_: sender)
    chain.send(Account.from_key("0x" + "22" * 32), {})


@pytest.mark.parametrize("confirmations", [0, 1])
def test_a_back_end_that_is_behind_is_asked_again(
    monkeypatch: pytest.MonkeyPatch, script: ScriptedChain, confirmations: int
) -> None:
    chain = script.chain(confirmations)
    own = script.head - confirmations
    write(monkeypatch, chain, own)
    script.lags = (2, 2, 2, 2, 0, 0)
    with chain.at_one_block() as block:
        assert block == own


def test_a_reorganization_that_drops_the_transaction_is_accepted_after_a_while(
    monkeypatch: pytest.MonkeyPatch, script: ScriptedChain
) -> None:
    chain = script.chain()
    write(monkeypatch, chain, script.head)
    script.reorganize(2)
    with chain.at_one_block() as block:
        assert block == script.head
    asked = len(script.asked)
    with chain.at_one_block():
        assert len(script.asked) == asked + 1
