"""An aggregator that lies, real nodes, a real chain: every lie is refused, or seen by all."""

import json
from pathlib import Path

import pytest

from rescind.contracts import RoundState
from rescind.node.facts import AdoptedModel, open_journal
from tests.support.commands import rescind
from tests.support.daemons import consortium, finals, pass_time, start_nodes, wait_for
from tests.support.withdrawals import ask, certified, closed

pytestmark = pytest.mark.slow
ETHER = 10**18
FAILURES = {"arithmetic": 50, "adapter": 56}
"""Exit codes of `rescind verify` for a published file that is not the model."""


def test_a_block_that_does_not_open_is_left_out_by_every_node(tmp_path: Path) -> None:
    with consortium(tmp_path, 3) as (run, record, daemons):
        nodes = start_nodes(run, daemons)
        daemons["aggregator"].start_liar("change_a_block", "change_an_opening")
        wait_for("the rounds", lambda: finals(record) == 3)
        first = min(run.facts().organizations.values(), key=str.lower)
        journals = [open_journal(run.node_state(name)) for name in run.facts().organizations]
        for journal in journals:
            wait_for("the adoption", lambda j=journal: AdoptedModel.load(j, 3))
            adopted = [AdoptedModel.load(journal, number) for number in (1, 2, 3)]
            left_out = [fact.left_out for fact in adopted if fact]
            assert left_out == [(first.lower(),), (first.lower(),), ()]
        assert all(node.said("the tensors of") for node in nodes)
        assert all(node.said("has another commitment") for node in nodes)


def test_a_withdrawn_block_that_is_still_served_is_refused_by_nodes_and_verify(
    tmp_path: Path,
) -> None:
    with consortium(tmp_path, 1) as (run, record, daemons):
        start_nodes(run, daemons)
        daemons["aggregator"].start_liar("truth", "keep_the_last_model")
        wait_for("the round", lambda: finals(record) == 1)
        number = ask(run, "aurora")
        wait_for("the removal", lambda: closed(record, number))
        leaver, model = run.facts().organizations["aurora"], record.latest_model_id()
        assert record.is_clean(model, leaver), "the chain needs no honest aggregator"
        words = f"has tensors of {leaver.lower()}, which is not in the model's content"
        wait_for("the refusal", lambda: daemons["borealis"].said(words))
        assert model not in AdoptedModel.ids(open_journal(run.node_state("borealis")))
        wait_for("the publication", lambda: record.publications(model))
        checked = certified(run, record, number)
        failed = {check.name for check in checked.checks if check.status == "failed"}
        assert failed == set(FAILURES)
        assert checked.exit_code == FAILURES["arithmetic"]
        served = record.publications(model)[-1]
        adapter, opening = (
            run.store / name[:2] / name for name in (served.adapter_id, served.opening_id)
        )
        alone = rescind(
            "verify", run.root / f"certificate-{number}.json", "--artifacts", tmp_path / "none",
            "--adapter", adapter, "--opening", opening, "--parameters", run.parameters,
        )  # fmt: skip
        assert alone.returncode == FAILURES["adapter"], alone.stdout


@pytest.mark.parametrize(
    ("lie", "words"),
    [("change_a_block", "model not adopted"), ("publish_nothing", "model not published yet")],
)
def test_a_shared_model_without_right_files_costs_the_aggregator_its_bond(
    tmp_path: Path, lie: str, words: str
) -> None:
    with consortium(tmp_path, 2, coupling="federated") as (run, record, daemons):
        nodes = start_nodes(run, daemons)
        daemons["aggregator"].start_liar(lie)
        wait_for("the second round", lambda: record.current_round_id() == 2)
        wait_for("the refusal", lambda: all(node.said(words) for node in nodes))
        assert record.aggregator_bond() == 10 * ETHER
        pass_time(record, 1500)
        wait_for("the answers", lambda: len(record.answers(2).unavailable) == 2)
        wait_for("the end of the round", lambda: record.round(2).state is RoundState.ABANDONED)
        assert record.aggregator_bond() == 5 * ETHER


def test_a_false_sum_is_refused_and_the_nodes_send_the_right_one(tmp_path: Path) -> None:
    with consortium(tmp_path, 2) as (run, record, daemons):
        start_nodes(run, daemons)
        liar = daemons["aggregator"]
        liar.start_liar("send_a_false_sum", "reject_the_first")
        wait_for("the refusal", lambda: liar.said("Models.sum was refused"))
        assert record.round(1).state is RoundState.JUDGED
        pass_time(record, 120)
        wait_for("both rounds", lambda: finals(record) == 2)
        moved = [n for n in run.facts().organizations if daemons[n].said("moving a late state on")]
        assert moved
        rows = json.loads(rescind("audit", "contributions", run.root, "--json").stdout)
        outcomes = {(row["round_id"], row["organization"]): row["outcome"] for row in rows}
        rejected = min(run.facts().organizations.values())
        assert outcomes[1, rejected] == "accepted"
        assert outcomes[2, rejected] == "wrong-digest"
