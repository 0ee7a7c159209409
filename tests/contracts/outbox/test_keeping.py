"""Cancelling, plans and the file of the outbox."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from rescind.contracts import (
    NonceTaken,
    TransactionRefused,
)
from rescind.contracts.outbox import Outbox
from rescind.contracts.outgoing import SendState
from rescind.core.errors import StoreError
from tests.contracts.outbox.chains import chain_of, genesis, killed_after_broadcast
from tests.support.scripted_pool import (
    ALICE,
    FakeAccount,
    ScriptedNode,
    payment,
)


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
