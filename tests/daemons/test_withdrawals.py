"""Four withdrawals of an isolated consortium of real daemons, one after the other."""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.audit import NotAttested, examine
from rescind.contracts import Consortium, WithdrawalMethod, WithdrawalState
from rescind.devnet import RunFolder
from rescind.devnet.data import generated
from rescind.devnet.setup import load_account
from rescind.ledger import Ledger, load_key
from rescind.withdrawals import Attestation, EvidenceDocument
from tests.support.commands import rescind
from tests.support.daemons import (
    consortium,
    finals,
    pass_time,
    play_until,
    wait_for,
)
from tests.support.library import adapter_of, play
from tests.support.withdrawals import (
    LENIENT,
    accepted,
    adapter,
    ask,
    attest,
    attestations,
    closed,
    evidence_of,
    texts_of,
)

ROUNDS = 3
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Story:
    """The consortium after its withdrawals.

    Organization aurora replaces its deltas without one subject, and then replays them without
    another. Organization borealis counter-trains for a subject, and then for all its data, which
    its guard rejects.
    """

    run: RunFolder
    record: Consortium
    subjects: list[str]
    replaced: str
    replayed: str
    records_of_aurora: list[dict[str, object]]
    refusals: dict[str, str]
    state_after_one_auditor: WithdrawalState
    certificates: list[dict[str, str]]
    status: dict[str, list[dict[str, object]]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    corpus = generated(2, seed=1)
    of_aurora, of_borealis = (
        list(dict.fromkeys(row.subject for row in corpus.organizations[name]))
        for name in ("aurora", "borealis")
    )
    subjects = of_aurora[:2]
    certificates = []
    agreed = {"attestation": LENIENT}
    with consortium(tmp_path_factory.mktemp("run"), ROUNDS, agreed=agreed) as opened:
        run, record, daemons = opened
        aggregator, aurora = daemons["aggregator"], daemons["aurora"]
        play_until(run, 2)
        aggregator.start("close-withdrawal", "before")
        aurora.start("retrain", "after")
        daemons["borealis"].start()
        wait_for("two rounds", lambda: finals(record) == 2)

        replacement = ask(run, "aurora", "--method", "replacement", "--subject", subjects[0])
        aurora.die()
        aurora.start()
        aggregator.die()
        play_until(run, ROUNDS)
        aggregator.start()
        wait_for("the replacement", lambda: closed(record, replacement))
        certificates.append(accepted(run, record, replacement))
        wait_for("a round after it", lambda: finals(record) == ROUNDS)
        replaced = adapter(record)

        replay = ask(run, "aurora", "--method", "replay", "--subject", subjects[1])
        attest(run, record, replay, 1, 2)
        wait_for("the replay", lambda: closed(record, replay))
        certificates.append(accepted(run, record, replay))
        replayed = adapter(record)
        wait_for("aurora's records", lambda: events_of(run, "aurora").count("closed") == 2, 60)

        counter = ask(
            run, "borealis", "--method", "counter-training", "--subject", of_borealis[0],
            "--with", "grad_diff", "--set", "steps=3", "--set", "enough=none",
        )  # fmt: skip
        texts = texts_of(run, "borealis", of_borealis[0], corpus.held_out)
        wait_for("the evidence", lambda: evidence_of(run, counter))
        refusals = examine_changed_evidence(run, record, counter)
        sign_as_stranger(run, record, counter)
        attest(run, record, counter, 1, words=texts)
        wait_for("the stranger's refusal", lambda: aggregator.said("is not an auditor"))
        state_after_one_auditor = record.withdrawals()[counter - 1].state
        attest(run, record, counter, 2, words=texts)
        wait_for("the counter-training", lambda: closed(record, counter))
        certificates.append(accepted(run, record, counter))

        rejected = ask(
            run, "borealis", "--method", "counter-training",
            "--with", "grad_ascent", "--set", "guard.excess=-50",
        )  # fmt: skip
        wait_for("the guard", lambda: daemons["borealis"].said("nothing is offered"))
        pass_time(record, 3601)
        wait_for("the removal instead", lambda: closed(record, rejected))
        certificates.append(accepted(run, record, rejected))
        for daemon in daemons.values():
            daemon.stop()
        config = run.aggregator / "aggregator.toml"
        status = json.loads(rescind("aggregator", "status", "-c", config, "--json").stdout)
        yield Story(
            run,
            record,
            subjects,
            replaced,
            replayed,
            ledger_of(run, "aurora"),
            refusals,
            state_after_one_auditor,
            certificates,
            status,
        )


def ledger_of(run: RunFolder, name: str) -> list[dict[str, object]]:
    folder = run.organization(name)
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        return [entry.payload for entry in ledger.records() if entry.type == "withdrawal"]


def events_of(run: RunFolder, name: str) -> list[object]:
    return [payload["event"] for payload in ledger_of(run, name)]


LIES = {
    "commitments": "commitments",
    "adapter": "the tensors of",
    "terms": "content of model",
    "report": "signer of the report",
    "subject": "subject",
}
"""Faults of evidence, each with the words that refuse it."""


def examine_changed_evidence(run: RunFolder, record: Consortium, withdrawal: int) -> dict[str, str]:
    """Examine evidence that the chain or the artifacts contradict; return the refusals."""
    document = EvidenceDocument.read(evidence_of(run, withdrawal)[-1])
    offered = document.offered[0]
    changes: dict[str, dict[str, object]] = {
        "commitments": {"model": document.model.model_copy(update={"commitments": ("ee" * 32,)})},
        "adapter": {
            "model": document.model.model_copy(update={"adapter_id": adapter_before(record)})
        },
        "terms": {"terms": document.terms[:-1]},
        "report": {
            "offered": (offered.model_copy(update={"report": {**offered.report, "seed": 1}}),)
        },
        "subject": {"subject": ""},
    }
    refusals = {}
    for lie, change in changes.items():
        try:
            examine(record, document.model_copy(update=change), artifacts=[run.store])
            refusals[lie] = ""
        except NotAttested as refusal:
            refusals[lie] = str(refusal)
    return refusals


def adapter_before(record: Consortium) -> str:
    """Return the adapter of the model before the newest."""
    return record.publications(record.latest_model_id() - 1)[-1].adapter_id


def sign_as_stranger(run: RunFolder, record: Consortium, withdrawal: int) -> None:
    document = EvidenceDocument.read(evidence_of(run, withdrawal)[-1])
    stranger = load_account(run.organization("aurora"))
    Attestation.sign(document, record.deployment, stranger).save(
        attestations(run) / "stranger.json"
    )


def test_each_withdrawal_is_certified(story: Story) -> None:
    assert len(story.certificates) == 4
    replacement = story.certificates[0]
    assert replacement["removed"] == replacement["arithmetic"] == "passed"


def test_a_replacement_leaves_the_model_of_a_run_without_the_subject(
    story: Story, tmp_path: Path
) -> None:
    without = play(story.run, tmp_path, ROUNDS, without=story.subjects[:1])
    assert adapter_of(without) == story.replaced


def test_a_replay_leaves_the_model_of_a_run_without_both_subjects(
    story: Story, tmp_path: Path
) -> None:
    without = play(story.run, tmp_path, ROUNDS, without=story.subjects)
    assert adapter_of(without) == story.replayed


def test_a_node_records_its_withdrawals_in_its_ledger(story: Story) -> None:
    events = [payload["event"] for payload in story.records_of_aurora]
    replacement = ["requested", "offered", "offered", "closed"]
    replay = ["requested", *["offered"] * ROUNDS, "closed"]
    assert events == [*replacement, *replay]
    assert story.records_of_aurora[0]["subject"] == story.subjects[0]


@pytest.mark.parametrize("lie", LIES)
def test_evidence_that_the_chain_or_artifacts_contradict_is_not_attested(
    story: Story, lie: str
) -> None:
    assert LIES[lie] in story.refusals[lie]


def test_a_counter_training_waits_for_both_auditors(story: Story) -> None:
    assert story.state_after_one_auditor is WithdrawalState.ATTESTING


def test_a_strangers_attestation_is_the_only_incident(story: Story) -> None:
    codes = [incident["code"] for incident in story.status["incidents"]]
    # A node that is out asks now and then what it may still hand over, and may be told: nothing.
    assert [code for code in codes if code != "not-a-member"] == ["attestation"]


def test_a_counter_training_that_the_guard_rejects_becomes_a_removal(story: Story) -> None:
    record = story.record
    assert record.withdrawals()[-1].method is WithdrawalMethod.REMOVAL
    assert record.is_clean(record.latest_model_id(), story.run.facts().organizations["borealis"])


def test_the_status_of_the_aggregator_names_the_methods(story: Story) -> None:
    methods = {withdrawal["method"] for withdrawal in story.status["other_withdrawals"]}
    assert methods == {"replacement", "replay", "counter-training"}
