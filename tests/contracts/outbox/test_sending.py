"""No payment twice, and none lost: the outbox against a chain that misbehaves."""

from __future__ import annotations

import pytest

from rescind.contracts import (
    ContractRefused,
)
from rescind.contracts.outbox import Outbox
from rescind.contracts.rpc import NodeRefused
from rescind.contracts.waiting import Pace
from tests.contracts.outbox.chains import Killed, chain_of, killed_after_broadcast, mining
from tests.support.scripted_pool import (
    ALICE,
    FakeAccount,
    FakeClock,
    ScriptedNode,
    payment,
)


def test_a_call_is_sent_once_and_a_later_same_call_is_another_one(
    node: ScriptedNode, account: FakeAccount
) -> None:
    sender = chain_of(node).sender(account)
    first, second = sender.send(payment(1)), sender.send(payment(1))
    assert first.tx_hash != second.tx_hash
    assert len(node.mined()) == 2


def test_a_run_that_was_killed_is_resumed_with_the_same_bytes(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    chain = chain_of(node)
    receipt = chain.sender(account.restarted()).send(payment(1))
    assert node.mined() == [payment(1)["data"]]
    assert set(node.broadcasts) == {receipt.tx_hash}
    assert "earlier run is still open" in chain.said[0]


def test_a_transaction_that_was_mined_meanwhile_is_reported_and_not_sent(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.mine()
    chain = chain_of(node)
    chain.sender(account.restarted()).send(payment(1))
    assert len(node.mined()) == 1
    chain.sender(account).send(payment(1))
    assert len(node.mined()) == 2, "its outcome was reported, so the same call is another payment"


def test_a_transaction_that_was_reverted_meanwhile_is_sent_again(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.reverting = True
    node.mine()
    again = account.restarted()
    chain_of(node).sender(again).tend()
    node.reverting = False
    chain_of(node).sender(again).send(payment(1))
    assert len(node.mined()) == 2


def test_a_kill_before_the_first_broadcast_loses_nothing(
    node: ScriptedNode, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    def die(_: str) -> str:
        raise Killed

    monkeypatch.setattr(node, "send_raw_transaction", die)
    with pytest.raises(Killed):
        chain_of(node).sender(account).send(payment(1))
    monkeypatch.undo()
    chain_of(node).sender(account.restarted()).tend(starting=True)
    node.mine()
    assert node.mined() == [payment(1)["data"]]


def test_a_refusal_by_the_estimate_leaves_no_trace(
    node: ScriptedNode, account: FakeAccount
) -> None:
    node.reverting = True
    with pytest.raises(NodeRefused):
        chain_of(node).sender(account).send(payment(1))
    assert account.outbox.find("7/", ALICE) == account.outbox.open("7/", ALICE) == []
    assert not node.broadcasts


def test_a_revert_after_the_estimate_is_reported(node: ScriptedNode, account: FakeAccount) -> None:
    chain = chain_of(node)

    def turn(_: float) -> None:
        node.reverting = True
        node.mine()

    chain.clock.on_pause = turn
    with pytest.raises(ContractRefused, match="the contract reverted it"):
        chain.sender(account).send(payment(1))


@pytest.mark.parametrize("confirmations", [0, 3])
def test_a_lost_answer_changes_nothing(
    node: ScriptedNode, account: FakeAccount, confirmations: int
) -> None:
    node.lost = 1
    chain_of(node, confirmations).sender(account).send(payment(1))
    assert len(node.mined()) == 1


def test_what_the_pool_dropped_is_sent_again(node: ScriptedNode, account: FakeAccount) -> None:
    chain = chain_of(node)
    lost = []

    blocks = mining(node)

    def pause(seconds: float) -> None:
        if not lost:
            lost.append(node.lose_pool())
        blocks(seconds)

    chain.clock.on_pause = pause
    receipt = chain.sender(account).send(payment(1))
    assert node.broadcasts == [receipt.tx_hash] * 2


def test_a_reorganization_brings_the_same_bytes_back(
    node: ScriptedNode, account: FakeAccount
) -> None:
    chain = chain_of(node, confirmations=6)
    blocks = mining(node)
    done = []

    def pause(seconds: float) -> None:
        blocks(seconds)
        if node.mined() and not done:
            done.append(node.reorganize(2))

    chain.clock.on_pause = pause
    receipt = chain.sender(account).send(payment(1))
    assert set(node.broadcasts) == {receipt.tx_hash}
    assert len(node.blocks) - 1 - receipt.block >= 6


def test_a_transaction_that_is_dropped_before_a_look_finds_it_is_sent_again_soon(
    node: ScriptedNode, account: FakeAccount
) -> None:
    """Reorganizations drop it as soon as it is mined, but leave it four seconds each time."""
    chain, blocks = chain_of(node, confirmations=2), mining(node)
    begun, last = chain.clock.now, 0.0

    def pause(seconds: float) -> None:
        nonlocal last
        blocks(seconds)
        if node.mined() and chain.clock.now - last > 4:
            node.reorganize(2)
            last = chain.clock.now

    chain.clock.on_pause = pause
    receipt = chain.sender(account).send(payment(1))
    assert set(node.broadcasts) == {receipt.tx_hash}
    assert chain.clock.now - begun < 60


def test_a_transaction_that_no_pool_shows_is_tended_less_and_less_often() -> None:
    """Some providers show a transaction only once it is mined."""
    clock = FakeClock()
    pace, begun, tended = Pace(clock, deep=False), clock.now, 0
    while clock.now - begun < 120:
        pace.lost()
        tended += pace.tending_due()
        clock.now += 0.25
    assert 8 < tended < 16


def test_a_final_transaction_that_the_chain_lost_is_sent_again_at_the_next_start(
    node: ScriptedNode, account: FakeAccount
) -> None:
    chain_of(node).sender(account).send(payment(1))
    node.reorganize(1)
    chain_of(node).sender(account.restarted()).tend(starting=True)
    node.mine()
    assert len(node.mined()) == 1


def test_a_key_without_a_file_forgets_what_a_wound_back_chain_lost(node: ScriptedNode) -> None:
    account = FakeAccount(Outbox())
    chain_of(node).sender(account).send(payment(1))
    node.reorganize(1)
    chain_of(node).sender(account).send(payment(2))
    assert node.mined() == [payment(2)["data"]]


def test_a_chain_that_was_reset_does_not_inherit(node: ScriptedNode, account: FakeAccount) -> None:
    killed_after_broadcast(node, account, payment(1))
    fresh = ScriptedNode(genesis=1)
    chain_of(fresh).sender(account.restarted()).send(payment(2))
    assert fresh.mined() == [payment(2)["data"]]


def test_a_provider_without_the_first_block_does_not_lose_transactions(
    node: ScriptedNode, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    killed_after_broadcast(node, account, payment(1))
    real = node.get_block_by_number
    monkeypatch.setattr(
        node, "get_block_by_number", lambda name, full: None if name == "0x0" else real(name, full)
    )
    chain_of(node).sender(account.restarted()).send(payment(1))
    assert len(node.mined()) == 1
