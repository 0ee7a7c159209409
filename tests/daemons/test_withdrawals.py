"""A replacement, a replay and a counter-training in an isolated consortium, by real daemons."""

import json
from pathlib import Path

import pytest

from rescind.audit import NotAttested, examine
from rescind.contracts import Consortium, ModelKind, WithdrawalState
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
    accepted,
    adapter,
    ask,
    attest,
    attestations,
    closed,
    evidence_of,
)

ROUNDS = 3
pytestmark = pytest.mark.slow


def ledger_of(run: RunFolder, name: str) -> list[dict[str, object]]:
    folder = run.organization(name)
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key")) as ledger:
        return [it.payload for it in ledger.records() if it.type == "withdrawal"]


def test_four_ways_to_take_back_and_each_is_certified(tmp_path: Path) -> None:
    corpus = generated(2, seed=1)
    gone = corpus.organizations["aurora"][0].subject
    other = corpus.organizations["borealis"][0].subject
    with consortium(tmp_path / "run", ROUNDS) as (run, record, daemons):
        boss, aurora = daemons["aggregator"], daemons["aurora"]
        play_until(run, 2)
        boss.start("carry-out", "before")
        aurora.start("retrain", "after")
        daemons["borealis"].start()
        wait_for("two rounds", lambda: finals(record) == 2)

        first = ask(run, "aurora", "--method", "replacement", "--subject", gone)
        aurora.die()
        aurora.start()
        boss.die()
        play_until(run, ROUNDS)
        boss.start()
        wait_for("the replacement", lambda: closed(record, first))
        certificate = accepted(run, record, first)
        assert certificate["removed"] == certificate["arithmetic"] == "passed"
        wait_for("a round after it", lambda: finals(record) == ROUNDS)
        replaced = adapter(record)

        second = ask(run, "aurora", "--method", "replay")
        attest(run, record, second, 1, 2)
        wait_for("the replay", lambda: closed(record, second))
        accepted(run, record, second)
        left = adapter(record)
        events = ["requested", "offered", "offered", "closed", "requested", "closed"]
        events_of = lambda: [it["event"] for it in ledger_of(run, "aurora")]  # noqa: E731
        wait_for("the node's record", lambda: events_of() == events, 60)
        assert ledger_of(run, "aurora")[0]["subject"] == gone

        third = ask(
            run, "borealis", "--method", "counter-training", "--subject", other,
            "--with", "grad_diff", "--set", "steps=3", "--set", "enough=none",
        )  # fmt: skip
        wait_for("the evidence", lambda: evidence_of(run, third))
        refuse_what_is_wrong(run, record, third)
        sign_as_stranger(run, third)
        attest(run, record, third, 1)
        wait_for("the refusal", lambda: boss.said("is not an auditor"))
        assert record.withdrawals()[third - 1].state is WithdrawalState.REQUESTED
        attest(run, record, third, 2)
        wait_for("the counter-training", lambda: closed(record, third))
        accepted(run, record, third)

        fourth = ask(
            run, "borealis", "--method", "counter-training",
            "--with", "grad_ascent", "--set", "guard.excess=-50",
        )  # fmt: skip
        wait_for("the guard's word", lambda: daemons["borealis"].said("nothing is offered"))
        pass_time(record, 3601)
        wait_for("the removal instead", lambda: closed(record, fourth))
        assert record.withdrawals()[fourth - 1].method is ModelKind.REMOVAL
        accepted(run, record, fourth)
        assert record.is_clean(record.latest_model_id(), run.facts().organizations["borealis"])
        for daemon in daemons.values():
            daemon.stop()
        status = rescind("aggregator", "status", "-c", run.aggregator / "aggregator.toml", "--json")
        told = json.loads(status.stdout)
        assert {it["method"] for it in told["other_withdrawals"]} == {
            "replacement",
            "replay",
            "counter-training",
        }
        assert [it["code"] for it in told["incidents"]] == ["attestation"]
    assert adapter_of(play(run, tmp_path / "without", ROUNDS, without=[gone])) == replaced
    assert adapter_of(play(run, tmp_path / "absent", ROUNDS, absent="aurora")) == left


def refuse_what_is_wrong(run: RunFolder, record: Consortium, withdrawal: int) -> None:
    """No auditor's command signs evidence that the chain or the artifacts contradict."""
    document = EvidenceDocument.read(evidence_of(run, withdrawal)[-1])
    given = document.offered[0]
    lies = {
        "sum of the deltas": {"adapter_id": document.source.adapter_id},
        "content of the new model": {"terms": document.terms[:-1]},
        "is not one that withdrawal": {
            "source": document.source.model_copy(update={"model_id": 1})
        },
        "signer of the report": {
            "offered": (given.model_copy(update={"report": {**given.report, "seed": 1}}),)
        },
        "the evidence has": {"subject": ""},
    }
    for what, lie in lies.items():
        with pytest.raises(NotAttested, match=what):
            examine(record, document.model_copy(update=lie), artifacts=[run.store])


def sign_as_stranger(run: RunFolder, withdrawal: int) -> None:
    document = EvidenceDocument.read(evidence_of(run, withdrawal)[-1])
    stranger = load_account(run.organization("aurora"))
    Attestation.sign(document, stranger).save(attestations(run) / "stranger.json")
