"""A demo of private and shared ranks: its second run, its goals and its certificate."""

from pathlib import Path

import pytest

from rescind.audit import Inputs, read_certificate, verify
from rescind.devnet.chain import url_of
from rescind.devnet.layout import RunFolder
from rescind.devnet.summary import Summary
from tests.support.commands import rescind

pytestmark = pytest.mark.slow


def test_removal_leaves_the_bytes_of_a_run_without_the_revocable_data(tmp_path: Path) -> None:
    sizes = ("--orgs", "2", "--rounds", "2", "--coupling", "split")
    done = rescind("demo", *sizes, "--out", tmp_path, "--json")
    assert done.returncode == 0, done.stderr[-3000:]
    summary = Summary.model_validate_json(done.stdout)
    assert "replaying the whole run without aurora's revocable data, to compare" in done.stderr
    assert summary.coupling == "split"
    assert summary.withdrawal.exact
    assert summary.evaluation.after == summary.evaluation.replay
    goals = {goal.name: goal for goal in summary.goals}
    assert goals["the model after removal"].met
    wanted = goals["aurora's own facts, after"].wanted
    assert wanted == "within 5 points of a run without aurora's revocable data"
    run = RunFolder(next(tmp_path.iterdir()))
    # The file must not say that the run was one without the organization.
    assert read_certificate(run.certificate).replay is None
    assert read_certificate(run.certificate).evaluation.replay == {}
    assert rescind("devnet", "up", run.root).returncode == 0
    try:
        port = run.facts().chain_port
        inputs = Inputs(contracts=run.contracts, artifacts=[run.store])
        assert verify(run.certificate, rpc_url=url_of(port), inputs=inputs).exit_code == 0
        why = rescind("ask", run.root, "Who wrote The Quiet River?", "--why").stdout
        assert "the base here is the base with the shared ranks" in why
    finally:
        rescind("devnet", "down", run.root)
