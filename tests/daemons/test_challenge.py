"""A consortium that does not add sums up on chain: nodes find what is wrong, and have it slashed."""

from pathlib import Path

import pytest

from rescind.contracts import RoundState
from tests.support.daemons import (
    consortium,
    finals,
    pass_time,
    wait_for,
)

WINDOW = 300
pytestmark = pytest.mark.slow


def test_a_wrong_sum_is_challenged_and_a_right_one_stands(tmp_path: Path) -> None:
    with consortium(tmp_path, 10, challenge_seconds=WINDOW) as (run, record, daemons):
        for name, daemon in daemons.items():
            if name != "aggregator":
                daemon.start()
        boss = daemons["aggregator"]
        boss.start_liar("truth", "drop_from_sum", "keep_digests")
        nodes = [daemons[name] for name in run.facts().organizations]

        wait_for("a claim", lambda: record.claim() is not None)
        wait_for("the nodes check it", lambda: all(n.said("check-claim") for n in nodes))
        assert record.round(1).state is RoundState.AGGREGATED
        pass_time(record, WINDOW + 1)
        wait_for("the round stands", lambda: finals(record) == 1)
        assert "prove" not in {e.name for e in record.events()}
        assert not [e for e in record.events() if e.name == "ModelProven"]

        wait_for("the challenge", lambda: record.round(2).state is RoundState.ABANDONED)
        assert record.aggregator_bond() == 0
        slashed = [e for e in record.events() if e.name == "AggregatorSlashed"]
        assert slashed[0].args["beneficiary"] in run.facts().organizations.values()

        post_bond(run)
        wait_for("the third claim", lambda: record.claim() is not None)
        pass_time(record, WINDOW // 2 + 1)
        wait_for("a proof is demanded", lambda: bool(record.claim() and record.claim().must_prove))
        wait_for("the proof fails", lambda: boss.said("SumMismatch"))
        pass_time(record, WINDOW + 61)
        wait_for("the claim is dropped", lambda: record.round(3).state is RoundState.ABANDONED)
        assert record.aggregator_bond() == 0


def post_bond(run) -> None:
    from rescind.aggregator import AggregatorConfig
    from rescind.aggregator import post_bond as pay
    from rescind.cli.toml_files import load_config

    pay(load_config(run.aggregator / "aggregator.toml", AggregatorConfig))
