"""The outbox when a pool refuses, and when a chain or a provider stands still."""

from __future__ import annotations

from typing import Any

import pytest

from rescind.contracts import (
    ChainUnavailable,
    FundsMissing,
    SendingPaused,
    TransactionRefused,
)
from tests.contracts.outbox.chains import chain_of, genesis, mining
from tests.support.scripted_pool import (
    ALICE,
    FakeAccount,
    ScriptedNode,
    payment,
)


@pytest.mark.parametrize(
    "words",
    ["txpool is full", "nonce too high", "already known", "something else", "nonce too low"],
)
def test_a_refusal_that_may_pass_is_waited_for(
    node: ScriptedNode, account: FakeAccount, words: str
) -> None:
    node.refusals = [words]
    chain_of(node).sender(account).send(payment(1))
    assert len(node.mined()) == 1


def test_missing_funds_are_told_in_ether_with_the_address(
    node: ScriptedNode, account: FakeAccount
) -> None:
    node.funds = 10**17
    with pytest.raises(FundsMissing, match=rf"{ALICE} has 0\.1 ether, but .* 2\.0\d+ ether"):
        chain_of(node).sender(account).send(payment(1, value=2 * 10**18))
    assert not node.broadcasts


@pytest.mark.parametrize("words", ["exceeds block gas limit", "oversized data"])
def test_what_no_pool_takes_is_told_and_frees_its_nonce(
    node: ScriptedNode, account: FakeAccount, words: str
) -> None:
    node.refusals = [words]
    sender = chain_of(node).sender(account)
    with pytest.raises(TransactionRefused, match=words):
        sender.send(payment(1))
    sender.send(payment(2))
    assert node.mined() == [payment(2)["data"]]


def test_more_than_128_kib_is_refused_before_it_is_sent(
    node: ScriptedNode, account: FakeAccount
) -> None:
    large = {**payment(1), "data": "0x" + "ab" * 70_000}
    with pytest.raises(TransactionRefused, match="at most 131,072"):
        chain_of(node).sender(account).send(large)
    assert not node.broadcasts
    assert account.outbox.next_nonce("7/" + genesis(node), ALICE) == 0


def test_blocks_may_be_minutes_apart(node: ScriptedNode, account: FakeAccount) -> None:
    chain = chain_of(node, confirmations=12, on_pause=mining(node, every=300.0))
    chain.sender(account).send(payment(1))
    assert chain.clock.now - 1_000_000 > 3_600


def test_a_chain_that_stands_still_ends_the_wait_and_the_next_run_goes_on(
    node: ScriptedNode, account: FakeAccount
) -> None:
    chain = chain_of(node, on_pause=lambda _: None)
    with pytest.raises(SendingPaused, match="stays in the outbox") as paused:
        chain.sender(account).send(payment(1))
    assert isinstance(paused.value, ChainUnavailable)
    chain_of(node).sender(account.restarted()).send(payment(1))
    assert len(node.mined()) == 1


def test_a_daemon_that_is_asked_to_stop_does_not_go_on_waiting(
    node: ScriptedNode, account: FakeAccount
) -> None:
    chain = chain_of(node, on_pause=lambda _: chain.sending.stop.set())
    with pytest.raises(SendingPaused, match="asked to stop"):
        chain.sender(account).send(payment(1))
    assert chain.clock.now < 1_000_001


def test_a_short_outage_is_waited_for(
    node: ScriptedNode, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = chain_of(node)
    real = node.request

    def request(method: str, *parameters: Any) -> Any:
        if 1_000_000 < chain.clock.now < 1_000_020:
            raise ChainUnavailable("no answer")
        return real(method, *parameters)

    monkeypatch.setattr(node, "request", request)
    chain.sender(account).send(payment(1))
    assert len(node.mined()) == 1
