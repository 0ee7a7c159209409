"""A server optimizer and control variates by real daemons, through a replay and a counter-training."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from rescind.contracts import Entry
from rescind.core import ConsortiumParameters, artifact_id, encode
from rescind.daemon import Journal
from rescind.devnet import RunFolder
from rescind.devnet.adapters import served_model
from rescind.devnet.data import generated
from rescind.ledger import Ledger, load_key
from rescind.node.facts import CheckedSum, open_journal
from rescind.node.rounds import entries_by_round, entries_key
from rescind.withdrawals import terms_of
from tests.support.daemons import consortium, finals, play_until, wait_for
from tests.support.library import adapter_of, play
from tests.support.withdrawals import (
    LENIENT,
    accepted,
    adapter,
    ask,
    attest,
    closed,
    settled,
    texts_of,
)

ROUNDS = 3
AGREED = {
    "server": {"name": "fedadam"},
    "rule": {"name": "scaffold"},
    "post_fisher": True,
    "attestation": LENIENT,
}
pytestmark = pytest.mark.slow


def served(run: RunFolder, record: Any) -> dict[str, Any]:
    """Return the tensors that the run serves as its latest model."""
    parameters = ConsortiumParameters.parse(run.parameters.read_bytes())
    terms = terms_of(record, record.content(record.latest_model_id()))
    return served_model(run, parameters, adapter(record), terms)


def keys_of(content: list[Entry]) -> set[str]:
    """Return the names of the sums of a content's rounds."""
    return {entries_key(entries) for entries in entries_by_round(content).values()}


def journal_of(run: RunFolder, name: str) -> Journal:
    return open_journal(run.node_state(name))


@dataclass(frozen=True)
class Story:
    """Organization aurora is replayed away; then borealis counter-trains for a subject.

    `whole` and `replayed` are what is served before and after the replay, `content` that of
    the model before it. `report` is borealis's record of its counter-training for a subject of its
    `rows` rows.
    """

    run: RunFolder
    whole: dict[str, Any]
    whole_adapter: str
    content: list[Entry]
    sums_checked: set[str]
    checked_by_auditors: set[str]
    replayed: dict[str, Any]
    replayed_adapter: str
    certificates: list[dict[str, str]]
    rows: int
    report: dict[str, Any]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Story:
    common: dict[str, Any] = {"organizations": 3, "coupling": "federated", "agreed": AGREED}
    with consortium(tmp_path_factory.mktemp("run"), ROUNDS, **common) as (run, record, daemons):
        for daemon in daemons.values():
            daemon.start()
        wait_for("the rounds", lambda: finals(record) == ROUNDS)
        wait_for("the last round", lambda: settled(run, "borealis", ROUNDS))
        whole, whole_adapter = served(run, record), adapter(record)
        content = record.content(record.latest_model_id())
        sums_checked = {fact.terms_key for fact in CheckedSum.all(journal_of(run, "borealis"))}

        replay = ask(run, "aurora", "--method", "replay")
        checked_by_auditors = set(attest(run, record, replay, 1, 2))
        wait_for("the replay", lambda: closed(record, replay))
        certificates = [accepted(run, record, replay)]
        replayed, replayed_adapter = served(run, record), adapter(record)

        corpus = generated(3, seed=1)
        rows = corpus.organizations["borealis"]
        words = ("--method", "counter-training", "--subject", rows[0].subject, "--with", "ssd")
        dampening = ask(run, "borealis", *words, "--set", "selection=1.5")
        texts = texts_of(run, "borealis", rows[0].subject, corpus.held_out)
        attest(run, record, dampening, 1, 2, words=texts)
        wait_for("the counter-training", lambda: closed(record, dampening))
        certificates.append(accepted(run, record, dampening))
        for daemon in daemons.values():
            daemon.stop()
    folder = run.organization("borealis")
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        payloads = [entry.payload for entry in ledger.records()]
    [report] = [payload["report"] for payload in payloads if payload.get("report")]
    return Story(
        run,
        whole,
        whole_adapter,
        content,
        sums_checked,
        checked_by_auditors,
        replayed,
        replayed_adapter,
        certificates,
        len(rows),
        report,
    )


def test_the_served_model_is_not_the_plain_sum_under_fedadam(story: Story) -> None:
    assert artifact_id(encode(story.whole)) != story.whole_adapter


def test_a_node_checks_the_sum_of_every_round(story: Story) -> None:
    assert keys_of(story.content) <= story.sums_checked


def test_auditors_check_the_starts_contributions_and_adapter_of_a_replay(story: Story) -> None:
    assert {"starts", "contributions", "adapter"} <= story.checked_by_auditors


def test_the_replay_and_the_counter_training_are_certified(story: Story) -> None:
    assert [certificate["attested"] for certificate in story.certificates] == ["passed"] * 2


def test_a_replay_under_fedadam_and_scaffold_is_the_run_that_was_never_joined(
    story: Story, tmp_path: Path
) -> None:
    never_joined = play(story.run, tmp_path, ROUNDS, absent="aurora")
    assert adapter_of(never_joined) == story.replayed_adapter
    assert encode(never_joined.served()) == encode(story.replayed)


def test_a_counter_training_uses_the_statistics_that_others_posted(story: Story) -> None:
    assert len(story.report["posted"]) == 1
    assert story.report["compared_with"] > story.rows, "the mean is over others' data too"


def test_after_a_removal_the_next_round_starts_from_the_rounds_without(tmp_path: Path) -> None:
    agreed = {"server": {"name": "fedavgm"}, "rule": {"name": "proximal", "mu": 0.1}}
    with consortium(
        tmp_path / "run", ROUNDS, organizations=3, coupling="federated", agreed=agreed
    ) as (
        run,
        record,
        daemons,
    ):
        aggregator = daemons["aggregator"]
        play_until(run, 2)
        for daemon in daemons.values():
            daemon.start()
        wait_for("two rounds", lambda: finals(record) == 2)
        number = ask(run, "aurora")
        wait_for("the removal", lambda: closed(record, number))
        parent = record.latest_model_id()
        aggregator.stop()
        play_until(run, ROUNDS)
        aggregator.start()
        wait_for("a third round", lambda: finals(record) == ROUNDS)
        assert record.round(record.current_round_id()).parent_model == parent
        content = record.content(parent)
        assert run.facts().organizations["aurora"] not in {each.organization for each in content}
        for name in ("borealis", "cirrus"):
            checked = {fact.terms_key for fact in CheckedSum.all(journal_of(run, name))}
            assert keys_of(content) <= checked
        for daemon in daemons.values():
            daemon.stop()
