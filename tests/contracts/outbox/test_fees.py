"""The fees of the outbox, and how they follow the base fee."""

from __future__ import annotations

import pytest

from tests.contracts.outbox.chains import chain_of, genesis, killed_after_broadcast
from tests.support.scripted_pool import (
    ALICE,
    GWEI,
    FakeAccount,
    ScriptedChain,
    ScriptedNode,
    payment,
)


def dear_for_a_minute(node: ScriptedNode) -> ScriptedChain:
    """Raise the base fee above the ceiling, and lower it a minute later."""
    node.base_fee = 600 * GWEI
    chain = chain_of(node)

    def pause(_: float) -> None:
        if chain.clock.now > 1_000_060:
            node.base_fee = GWEI
        node.mine()

    chain.clock.on_pause = pause
    return chain


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
    chain = dear_for_a_minute(node)
    chain.sender(account).send(payment(1))
    assert "601 gwei" in chain.said[0]
    assert "max_fee_gwei is 500" in chain.said[0]
    assert len(chain.said) == 1


def test_a_sent_one_above_the_ceiling_waits_too(node: ScriptedNode, account: FakeAccount) -> None:
    killed_after_broadcast(node, account, payment(1))
    chain = dear_for_a_minute(node)
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
