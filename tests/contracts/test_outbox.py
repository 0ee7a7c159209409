"""No payment twice, and none lost: the outbox against a chain that misbehaves."""

from __future__ import annotations

import stat
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from rescind.contracts import (
    ChainUnavailable,
    ContractRefused,
    FundsMissing,
    NonceTaken,
    SendingPaused,
    TransactionRefused,
)
from rescind.contracts.outbox import Outbox
from rescind.contracts.outgoing import SendState
from rescind.contracts.rpc import NodeRefused
from rescind.contracts.waiting import Pace
from rescind.core.errors import StoreError
from tests.support.scripted_pool import (
    ALICE,
    GWEI,
    DurableOutbox,
    FakeAccount,
    FakeClock,
    ScriptedChain,
    ScriptedNode,
    payment,
)


class Killed(BaseException):
    """The process ends here, whatever would clean up."""


@pytest.fixture
def node() -> ScriptedNode:
    return ScriptedNode()


@pytest.fixture
def account() -> FakeAccount:
    return FakeAccount(DurableOutbox())


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


# Nonces


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


# Fees


def test_a_base_fee_that_passes_the_fee_is_followed(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.base_fee = 40 * GWEI
    chain_of(node).sender(account.restarted()).send(payment(1))
    assert len(node.mined()) == 1
    assert len(set(node.broadcasts)) == 2


def test_a_version_that_was_replaced_and_mined_all_the_same_is_found(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1))
    old = node.pool[ALICE, 0]
    node.base_fee = 40 * GWEI
    chain = chain_of(node, on_pause=lambda _: None)
    sender = chain.sender(account.restarted())
    sender.tend()
    assert node.pool[ALICE, 0] is not old
    node.pool[ALICE, 0], node.base_fee = old, GWEI
    node.mine()
    assert sender.send(payment(1)).tx_hash == old.hash


def test_above_the_ceiling_it_waits_and_says_both_figures(
    node: ScriptedNode, account: FakeAccount
) -> None:
    node.base_fee = 600 * GWEI
    chain = chain_of(node)

    def pause(_: float) -> None:
        if chain.clock.now > 1_000_060:
            node.base_fee = GWEI
        node.mine()

    chain.clock.on_pause = pause
    chain.sender(account).send(payment(1))
    assert "601 gwei" in chain.said[0]
    assert "max_fee_gwei is 500" in chain.said[0]
    assert len(chain.said) == 1


def test_a_sent_one_above_the_ceiling_waits_too(node: ScriptedNode, account: FakeAccount) -> None:
    killed_after_broadcast(node, account, payment(1))
    node.base_fee = 600 * GWEI
    chain = chain_of(node)

    def pause(_: float) -> None:
        if chain.clock.now > 1_000_060:
            node.base_fee = GWEI
        node.mine()

    chain.clock.on_pause = pause
    chain.sender(account.restarted()).send(payment(1))
    assert sum("601 gwei" in each for each in chain.said) == 1


def test_a_minimum_tip_of_the_pool_is_found(node: ScriptedNode, account: FakeAccount) -> None:
    node.least_tip = 25 * GWEI
    chain_of(node).sender(account).send(payment(1))
    assert len(node.mined()) == 1


def test_a_stuck_transaction_pays_an_eighth_more_in_both_fields(
    node: ScriptedNode, account: FakeAccount, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = node.mine
    stuck = []

    def mine(count: int = 1) -> None:
        stuck.append(1)
        if len(stuck) < 12:
            node.blocks.append([])
        else:
            real(count)

    monkeypatch.setattr(node, "mine", mine)
    chain_of(node).sender(account).send(payment(1))
    row = account.outbox.find("7/" + genesis(node), ALICE)[0]
    first, second = row.versions[0].fees, row.versions[1].fees
    assert second.max_fee * 8 >= first.max_fee * 9
    assert second.tip * 8 >= first.tip * 9


@pytest.mark.parametrize(
    "missing",
    [
        {"eth_feeHistory"},
        {"eth_maxPriorityFeePerGas"},
        {"eth_feeHistory", "eth_maxPriorityFeePerGas"},
        {"eth_feeHistory", "eth_maxPriorityFeePerGas", "eth_gasPrice"},
    ],
    ids=lambda names: "+".join(sorted(names)),
)
@pytest.mark.parametrize("legacy", [False, True])
def test_fees_come_from_what_the_provider_has(
    node: ScriptedNode, account: FakeAccount, missing: set[str], legacy: bool
) -> None:
    node.missing, node.legacy = missing, legacy
    chain_of(node).sender(account).send(payment(1))
    assert len(node.mined()) == 1


def test_a_chain_that_refuses_eip_1559_gets_a_gas_price(
    node: ScriptedNode, account: FakeAccount
) -> None:
    node.refusals = ["transaction type not supported"]
    chain_of(node).sender(account).send(payment(1))
    row = account.outbox.find("7/" + genesis(node), ALICE)[0]
    assert [version.fees.legacy for version in row.versions] == [False, True]


# Refusals


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


# Waiting


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


# Cancelling, plans, files


def test_an_open_transaction_can_be_cancelled(node: ScriptedNode, account: FakeAccount) -> None:
    killed_after_broadcast(node, account, payment(1))
    chain = chain_of(node)
    cancelled = chain.sender(account.restarted()).cancel(0)
    assert cancelled.state is SendState.CANCELLED
    assert node.mined() == []
    with pytest.raises(TransactionRefused, match="No open transaction"):
        chain.sender(account).cancel(0)


def test_a_labelled_transaction_is_sent_once_however_often(
    node: ScriptedNode, account: FakeAccount
) -> None:
    sender = chain_of(node).sender(account)
    first = sender.send(payment(1), label="plan 1: Members", nonce=0)
    again = chain_of(node).sender(account.restarted())
    assert again.send(payment(1), label="plan 1: Members", nonce=0) == first
    with pytest.raises(NonceTaken, match="is 1 instead of 0"):
        sender.send(payment(2), label="plan 1: Rounds", nonce=0)


def test_a_daemons_own_transactions_are_reported_by_its_next_look(
    node: ScriptedNode, account: FakeAccount
) -> None:
    killed_after_broadcast(node, account, payment(1, value=0))
    with account.outbox.exclusive():
        account.outbox._database.execute("UPDATE outgoing SET by_daemon = 1")
    node.mine()
    chain = chain_of(node)
    chain.sending.by_daemon = True
    sender = chain.sender(account.restarted())
    sender.tend(starting=True)
    assert [row.reported for row in account.outbox.find("7/" + genesis(node), ALICE)] == [True]


def test_a_look_at_an_empty_outbox_asks_nothing(node: ScriptedNode, account: FakeAccount) -> None:
    sender = chain_of(node).sender(account)
    sender.send(payment(1))
    node.asked.clear()
    for _ in range(3):
        sender.tend()
    assert node.asked == []


def test_the_file_is_private_and_a_damaged_one_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "outbox.sqlite"
    Outbox(path)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    path.write_bytes(b"not a database" * 100)
    with pytest.raises(StoreError, match="outbox"):
        Outbox(path)
    with pytest.raises(StoreError, match="must be writable"):
        Outbox(tmp_path / "none" / "outbox.sqlite")


def genesis(node: ScriptedNode) -> str:
    block = node.get_block_by_number("0x0", False)
    assert block is not None
    return str(block["hash"])
