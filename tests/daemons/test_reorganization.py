"""The chain is reorganized under the daemons, again and again, while they play a round."""

import time
from pathlib import Path

import pytest

from rescind.contracts import Consortium
from rescind.contracts.outgoing import Outcome, Outgoing
from rescind.contracts.tending import Tender
from rescind.devnet.setup import load_account
from rescind.node.facts import AdoptedModel, RoundFacts, open_journal
from tests.support.daemons import (
    consortium,
    finals,
    rpc,
    wait_for,
)
from tests.support.withdrawals import adapter

DEPTH = 2
pytestmark = pytest.mark.slow


def test_reorganizations_shallower_than_the_depth_lose_nothing(tmp_path: Path) -> None:
    with consortium(tmp_path, 1, confirmations=DEPTH) as (run, record, daemons):
        rpc(record, "anvil_mine", DEPTH)  # A node starts once its admission is that deep.
        rpc(record, "evm_setAutomine", False)
        rpc(record, "evm_setIntervalMining", 1)
        for daemon in daemons.values():
            daemon.start()
        last, reorganized = 0.0, 0

        def done() -> bool:
            nonlocal last, reorganized
            if finals(record) == 1 and settled():
                return True
            if time.monotonic() - last > 4 and record.current_round_id():
                rpc(record, "anvil_reorg", DEPTH, [])
                last, reorganized = time.monotonic(), reorganized + 1
            return False

        def settled() -> bool:
            journals = [open_journal(run.node_state(name)) for name in run.facts().organizations]
            current = record.current_round_id()
            return all(RoundFacts.load(j, current).settled for j in journals)

        wait_for("a round under reorganizations", done)
        assert reorganized > 3
        assert record.current_round_id() == 1, "the round was lost"
        latest = record.latest_model_id()
        for name in run.facts().organizations:
            adopted = AdoptedModel.load(open_journal(run.node_state(name)), latest)
            assert adopted is not None
            assert adopted.adapter_id == adapter(record)
            assert adopted.left_out == ()


def test_a_transaction_that_a_reorganization_drops_is_sent_again(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with consortium(tmp_path, 1) as (run, record, _):
        rpc(record, "evm_setAutomine", False)
        rpc(record, "evm_setIntervalMining", 1)
        dropped: list[str] = []
        chain = type(record.chain)(record.chain.rpc_url, confirmations=DEPTH)
        account = load_account(run.aggregator)
        original = Tender.look

        def reorganized(tender: Tender, row: Outgoing, head: int | None = None) -> Outcome | None:
            mined = original(tender, row, head)
            if mined is not None and not dropped:
                rpc(record, "anvil_reorg", DEPTH, [])
                assert not receipt(record, mined.tx_hash), "the reorganization dropped nothing"
                dropped.append(mined.tx_hash)
            return mined

        monkeypatch.setattr(Tender, "look", reorganized)
        Consortium(chain, record.deployment, account).post_aggregator_bond(5)
        assert dropped
        assert record.aggregator_bond() == 5


def receipt(record: Consortium, tx_hash: str) -> object:
    return rpc(record, "eth_getTransactionReceipt", tx_hash)
