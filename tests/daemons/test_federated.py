"""A server optimizer and control variates by real daemons, through a replay and a counter-training."""

from pathlib import Path
from typing import Any

import pytest

from rescind.core import ConsortiumParameters, artifact_id, by_round, encode, sum_key
from rescind.daemon import Journal
from rescind.devnet import RunFolder
from rescind.devnet.data import generated
from rescind.devnet.outcome import served_model
from rescind.ledger import Ledger, load_key
from rescind.node.facts import CheckedSum, open_journal
from tests.support.daemons import consortium, finals, play_until, wait_for
from tests.support.library import adapter_of, play
from tests.support.withdrawals import (
    accepted,
    adapter,
    ask,
    attest,
    closed,
    settled,
)

ROUNDS = 3
AGREED = {"server": {"name": "fedadam"}, "rule": {"name": "scaffold"}, "post_fisher": True}
pytestmark = pytest.mark.slow


def served(run: RunFolder, record: Any) -> dict[str, Any]:
    """What is served as the head, from the chain and the run's store."""
    parameters = ConsortiumParameters.parse(run.parameters.read_bytes())
    latest = record.latest_model_id()
    return served_model(run, parameters, record.model(latest).adapter_id, record.content(latest))


def journal_of(run: RunFolder, name: str) -> Journal:
    return open_journal(run.node_state(name))


def dampened_with_what_the_others_posted(run: RunFolder, record: Any) -> None:
    own = generated(3, seed=1).organizations["borealis"]
    words = ("--method", "counter-training", "--subject", own[0].subject, "--with", "ssd")
    number = ask(run, "borealis", *words, "--set", "selection=1.5")
    attest(run, record, number, 1, 2)
    wait_for("the counter-training", lambda: closed(record, number))
    assert accepted(run, record, number)["attested"] == "passed"
    folder = run.organization("borealis")
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        [report] = [r.payload["report"] for r in ledger.records() if r.payload.get("report")]
    assert len(report["posted"]) == 1
    assert report["compared_with"] > len(own), "the mean is over others' data too"


def test_a_replay_under_fedadam_and_scaffold_is_the_run_that_was_never_joined(
    tmp_path: Path,
) -> None:
    common: dict[str, Any] = {"organizations": 3, "coupling": "federated", "agreed": AGREED}
    with consortium(tmp_path / "run", ROUNDS, **common) as (run, record, daemons):
        for daemon in daemons.values():
            daemon.start()
        wait_for("the rounds", lambda: finals(record) == ROUNDS)
        wait_for("the last round", lambda: settled(run, "borealis", ROUNDS))
        whole = served(run, record)
        assert artifact_id(encode(whole)) != adapter(record)
        content = record.content(record.latest_model_id())
        checked = {fact.terms_key for fact in CheckedSum.all(journal_of(run, "borealis"))}
        assert {sum_key(it) for it in by_round(content).values()} <= checked

        number = ask(run, "aurora", "--method", "replay")
        assert {"starts", "arithmetic", "adapter"} <= set(attest(run, record, number, 1, 2))
        wait_for("the replay", lambda: closed(record, number))
        assert accepted(run, record, number)["attested"] == "passed"
        replayed, on_chain = served(run, record), adapter(record)
        dampened_with_what_the_others_posted(run, record)
        for daemon in daemons.values():
            daemon.stop()
    never_joined = play(run, tmp_path / "never", ROUNDS, absent="aurora")
    assert adapter_of(never_joined) == on_chain
    assert encode(never_joined.served()) == encode(replayed)


def test_after_a_removal_the_next_round_starts_from_the_rounds_without(tmp_path: Path) -> None:
    agreed = {"server": {"name": "fedavgm"}, "rule": {"name": "proximal", "mu": 0.1}}
    with consortium(
        tmp_path / "run", ROUNDS, organizations=3, coupling="federated", agreed=agreed
    ) as (
        run,
        record,
        daemons,
    ):
        boss = daemons["aggregator"]
        play_until(run, 2)
        for daemon in daemons.values():
            daemon.start()
        wait_for("two rounds", lambda: finals(record) == 2)
        number = ask(run, "aurora")
        wait_for("the removal", lambda: closed(record, number))
        parent = record.latest_model_id()
        boss.stop()
        play_until(run, ROUNDS)
        boss.start()
        wait_for("a third round", lambda: finals(record) == ROUNDS)
        assert record.round(record.current_round_id()).parent_model == parent
        groups = by_round(record.content(parent)).values()
        leaver = run.facts().organizations["aurora"]
        assert leaver not in {term.organization for group in groups for term in group}
        for name in ("borealis", "cirrus"):
            checked = {fact.terms_key for fact in CheckedSum.all(journal_of(run, name))}
            assert {sum_key(it) for it in groups} <= checked
        for daemon in daemons.values():
            daemon.stop()
