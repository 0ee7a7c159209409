"""Which nonce the outbox gives a transaction, whatever others and providers do."""

from __future__ import annotations

import pytest

from tests.contracts.outbox.chains import chain_of, genesis, killed_after_broadcast, mining
from tests.support.scripted_pool import (
    ALICE,
    GWEI,
    FakeAccount,
    ScriptedNode,
    payment,
)


@pytest.mark.parametrize("shift", [-1, -3])
def test_a_count_that_is_too_low_does_not_reuse_a_nonce(
    node: ScriptedNode, account: FakeAccount, shift: int
) -> None:
    sender = chain_of(node).sender(account)
    for number in range(4):
        sender.send(payment(number))
    node.shift = shift
    sender.send(payment(9))
    assert len(node.mined()) == 5


def test_a_count_that_was_too_high_leaves_a_gap_that_is_filled(
    node: ScriptedNode, account: FakeAccount
) -> None:
    chain = chain_of(node)
    node.shift = 2
    blocks = mining(node)

    def pause(seconds: float) -> None:
        node.shift = 0
        blocks(seconds)

    chain.clock.on_pause = pause
    chain.sender(account).send(payment(1))
    assert node.count(ALICE) == 3
    assert len(node.mined()) == 1


def test_a_count_that_is_always_too_high_ends_all_the_same(
    node: ScriptedNode, account: FakeAccount
) -> None:
    node.shift = 1
    sender = chain_of(node).sender(account)
    for number in range(3):
        sender.send(payment(number))
    assert len(node.mined()) == 3


def test_a_slow_transaction_of_a_key_with_a_past_is_sent_once(
    node: ScriptedNode, account: FakeAccount
) -> None:
    node.wallet_sends(0)
    node.mine()
    slow = mining(node, every=30.0)
    chain_of(node, confirmations=3, on_pause=slow).sender(account).send(payment(1))
    assert len(node.mined()) == 1
    assert node.count(ALICE) == 2
    assert account.outbox.open("7/" + genesis(node), ALICE) == []


def test_a_nonce_that_another_wallet_used_is_replaced_once_that_is_final(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.lose_pool()
    node.wallet_sends(0)
    node.mine()
    chain = chain_of(node, confirmations=4)
    sender = chain.sender(account.restarted())
    sender.tend()
    node.mine(3)
    sender.tend()
    assert account.outbox.open("7/" + genesis(node), ALICE)[0].nonce == 0, "it may come back"
    node.mine()
    sender.send(payment(1))
    assert len(node.mined()) == 1
    assert any("another wallet" in each for each in chain.said)


def test_another_wallets_transaction_in_the_pool_is_not_replaced(
    node: ScriptedNode, account: FakeAccount
) -> None:
    wallet = node.wallet_sends(0, max_fee=10 * GWEI)
    node.missing.add("eth_feeHistory")
    # The provider does not show its pool, so both have nonce 0.
    chain = chain_of(node)
    node.shift = -1
    passed = []

    def pause(seconds: float) -> None:
        node.shift = 0
        passed.append(seconds)
        if len(passed) > 12:
            node.mine()

    chain.clock.on_pause = pause
    chain.sender(account).send(payment(1))
    assert wallet in [tx for block in node.blocks for tx in block]
    assert len(node.mined()) == 1


def test_nonce_too_low_for_a_mined_one_waits_for_the_receipt(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.mine()
    node.blind = 12
    chain_of(node).sender(account.restarted()).send(payment(1))
    assert len(node.mined()) == 1
    assert len(set(node.broadcasts)) == 1


def test_two_processes_with_one_key_never_choose_the_same_nonce(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    killed_after_broadcast(node, account.restarted(), payment(2))
    assert sorted(nonce for _, nonce in node.pool) == [0, 1]


def test_whoever_waits_sends_lower_nonces_again(node: ScriptedNode, account: FakeAccount) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.lose_pool()
    chain_of(node).sender(account.restarted()).send(payment(2))
    assert node.mined() == [payment(1)["data"], payment(2)["data"]]
