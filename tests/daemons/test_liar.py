"""An aggregator that lies, real nodes, a real chain: every lie is stopped or caught.

Where a sum is wrong the contract refuses it, the round runs into its deadline, and the nodes
themselves end it.
"""

import json
from pathlib import Path

import pytest

from rescind.contracts import RoundState, WithdrawalState
from tests.support.commands import rescind
from tests.support.daemons import (
    consortium,
    finals,
    pass_time,
    wait_for,
)
from tests.support.withdrawals import ask

LIES = {
    "drop_from_sum": "SumMismatch",
    "drop_from_list": "UnaccountedFor",
    "list_a_stranger": "NotRevealed",
    "add_to_sum": "SumMismatch",
    "weigh_in_list": "WrongWeight",
    "weigh_in_sum": "SumMismatch",
    "truth": "",
    "replay_model": "SumMismatch",
    "keep_withdrawn": "SumMismatch",
}
"""The aggregator's lie in rounds 1, 2, ..., and the contract's reason to refuse it."""

pytestmark = pytest.mark.slow


def refusals(log: Path, reason: str) -> int:
    return sum(f"refused: {reason}" in line for line in log.read_text().splitlines())


def test_a_lying_aggregator_is_stopped_by_the_contract(tmp_path: Path) -> None:
    with consortium(tmp_path, 100, organizations=3) as (run, record, daemons):
        for name, daemon in daemons.items():
            if name != "aggregator":
                daemon.start()
        liar = daemons["aggregator"]
        liar.start_liar(*LIES)
        seen: dict[str, int] = {}
        for number, (lie, reason) in enumerate(LIES.items(), start=1):
            if lie == "keep_withdrawn":
                break
            if lie != "truth":
                wait_for(lie, lambda r=reason: refusals(liar.log, r) > seen.get(r, 0))
                if reason == "SumMismatch":
                    assert record.round(number).state is RoundState.AGGREGATED
                    pass_time(record, 700)
                seen[reason] = refusals(liar.log, reason)
            wait_for(f"the end of round {number}", lambda n=number: record.round(n).state.over)
            wrong = reason == "SumMismatch"
            expected = RoundState.ABANDONED if wrong else RoundState.FINAL
            assert record.round(number).state is expected, lie
            seen[reason] = refusals(liar.log, reason)
        wait_for("a round after the lies", lambda: finals(record) >= 5)
        leaver = run.facts().organizations["aurora"]
        ask(run, "aurora")
        wait_for(
            "the lie about the removal",
            lambda: refusals(liar.log, "SumMismatch") > seen["SumMismatch"],
        )
        assert record.withdrawals()[0].state is WithdrawalState.REQUESTED
        assert not record.is_clean(record.latest_model_id(), leaver)
        liar.stop()
        pass_time(record, 700)
        wait_for("the nodes drop the claim", lambda: record.claim() is None)
        liar.start()
        wait_for("the removal", lambda: record.withdrawals()[0].state is WithdrawalState.CLOSED)
        assert record.is_clean(record.latest_model_id(), leaver)


def test_nodes_and_verify_refuse_an_adapter_that_is_not_the_sum(
    tmp_path: Path,
) -> None:
    with consortium(tmp_path, 2) as (run, record, daemons):
        for name, daemon in daemons.items():
            if name != "aggregator":
                daemon.start()
        daemons["aggregator"].start_liar("truth", "name_another_adapter")
        wait_for("both rounds", lambda: finals(record) == 2)
        nodes = [daemons[name] for name in run.facts().organizations]
        wait_for("the nodes' refusals", lambda: all(n.said("artifact-") for n in nodes))
        ask(run, "aurora")
        wait_for("the removal", lambda: record.withdrawals()[0].state is WithdrawalState.CLOSED)
        certificate = tmp_path / "certificate.json"
        certify(run, record, certificate)
        result = rescind("verify", certificate, "--rpc", record.chain.rpc_url, "--json",
                        "--artifacts", run.store)  # fmt: skip
        failed = {c["name"] for c in json.loads(result.stdout)["checks"] if c["status"] == "failed"}
        assert {"digests", "arithmetic"} <= failed
        assert result.returncode == 55


def certify(run, record, path: Path) -> None:
    from rescind.audit import build_certificate

    build_certificate(record, 1).save(path)
