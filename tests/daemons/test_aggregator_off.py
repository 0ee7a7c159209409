"""The aggregator is switched off when an organization asks to be removed."""

from pathlib import Path

import pytest

from rescind.aggregator import AggregatorConfig, post_bond
from rescind.cli.toml_files import load_config
from rescind.contracts import (
    Consortium,
    ContractRefused,
    MemberStatus,
    WithdrawalState,
)
from rescind.devnet.setup import load_account
from tests.support.daemons import (
    consortium,
    finals,
    pass_time,
    wait_for,
)
from tests.support.withdrawals import ask

pytestmark = pytest.mark.slow
ETHER = 10**18


def test_the_bond_is_slashed_and_no_round_opens_until_the_removal_is_made(tmp_path: Path) -> None:
    with consortium(tmp_path, 2) as (run, record, daemons):
        for daemon in daemons.values():
            daemon.start()
        wait_for("a round", lambda: finals(record) >= 1)
        daemons["aggregator"].stop()
        rounds = record.current_round_id()
        leaver = run.facts().organizations["aurora"]
        ask(run, "aurora")
        bond = record.aggregator_bond()
        assert bond == 10 * ETHER
        pass_time(record, 3601)
        wait_for("the slash", lambda: record.aggregator_bond() == 0)
        slashed = next(e for e in record.events() if e.name == "AggregatorSlashed")
        assert slashed.args["beneficiary"] == leaver
        assert slashed.args["toBeneficiary"] == slashed.args["toPool"] == bond // 2
        paid = lambda: [e for e in record.events() if e.name == "CompensationPaid"]  # noqa: E731
        wait_for("the organization takes its share", lambda: len(paid()) == 1)
        boss = Consortium(record.chain, record.deployment, load_account(run.aggregator))
        with pytest.raises(ContractRefused, match=r"AggregatorBondMissing|RoundUnfinished"):
            boss.open_round()
        boss.post_aggregator_bond(bond)
        if record.round(rounds).state.over:
            with pytest.raises(ContractRefused, match="WithdrawalOverdue"):
                boss.open_round()
        wait_for("the second slash", lambda: record.aggregator_bond() == 0)
        assert record.current_round_id() == rounds
        assert record.withdrawals()[0].state is WithdrawalState.REQUESTED
        daemons["aggregator"].start()
        wait_for("the removal", lambda: record.withdrawals()[0].state is WithdrawalState.CLOSED)
        assert record.is_clean(record.latest_model_id(), leaver)
        assert record.member(leaver).status is MemberStatus.WITHDRAWN
        assert record.current_round_id() == rounds, "no round opens without a bond"
        config = run.aggregator / "aggregator.toml"
        assert post_bond(load_config(config, AggregatorConfig))["paid_wei"] == bond
        wait_for("the last round", lambda: finals(record) == 2)
