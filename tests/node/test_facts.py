"""The node's durable facts."""

import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from rescind.agents import SIT_OUT, Action, Observation
from rescind.contracts import REPLAY_OFFERS
from rescind.core import commit_words, point_hash
from rescind.core.errors import StoreError
from rescind.daemon import Journal
from rescind.node.facts import (
    AdoptedModel,
    Decision,
    DeltaFact,
    Epsilon,
    Fact,
    RoundFacts,
    Update,
    latest_quality,
    next_nonce,
    open_journal,
)
from rescind.node.run_facts import PrivateRun
from rescind.node.withdrawal_facts import (
    OfferedDelta,
    ReplayPaid,
    RequestFact,
    WithdrawalFacts,
    own_artifacts,
)

POINT = commit_words(np.arange(1, 4097, dtype=np.uint64))
DELTA = DeltaFact("aa", POINT.hex(), "residual-aa", "cc", "dd", "ee", ("ff",))
DECISION = Decision(Action(0.5, 1.0), "drawn", False, Observation(1, 4, 0, 0.0, 0.0, 0.02))


def test_facts_are_the_same_after_a_restart(tmp_path: Path) -> None:
    round_facts = RoundFacts(
        round_id=12,
        decision=DECISION,
        engine={"batching": "plain", "micro_batch": None},
        update=Update(DELTA, "00", nonce=3),
        quality=0.25,
        epsilon=Epsilon(math.inf, 1.5),
    )
    withdrawal = WithdrawalFacts(3, recorded=True)
    offered = OfferedDelta(REPLAY_OFFERS + 1, 2, DELTA, {"steps": 5, "start": "00"}, deposited=True)
    request = RequestFact("ab", "replay", "ada", "00", settings={"steps": "3"})
    run = PrivateRun("name", 2, "00", (1.0, 0.5, 8))
    adopted = AdoptedModel(4, "aa", "bb", ("0xcc",))
    paid = ReplayPaid(REPLAY_OFFERS + 1)
    facts: list[Fact] = [round_facts, withdrawal, offered, request, run, adopted, paid]
    for fact in facts:
        fact.save(open_journal(tmp_path))

    journal = open_journal(tmp_path)
    assert RoundFacts.load(journal, 12) == round_facts
    assert RoundFacts.all(journal) == [round_facts]
    assert WithdrawalFacts.load(journal, 3) == withdrawal
    assert OfferedDelta.load(journal, REPLAY_OFFERS + 1, 2) == offered
    assert RequestFact.find(journal, "ab") == request
    assert PrivateRun.all(journal) == [run]
    assert AdoptedModel.ids(journal) == {0, 4}
    assert AdoptedModel.load(journal, 4) == adopted
    assert ReplayPaid.ids(journal) == {REPLAY_OFFERS + 1}


def test_a_delta_is_found_by_the_hash_of_its_point(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    OfferedDelta(3, 2, DELTA, {}).save(journal)
    assert own_artifacts(journal) == {point_hash(POINT): "aa"}
    assert own_artifacts(journal, rounds_only=True) == {}
    assert DELTA.parts.points == (POINT,)
    assert DELTA.parts.manifest == "cc"


def test_a_round_without_facts_sits_out(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    facts = RoundFacts.load(journal, 1)
    assert facts == RoundFacts(1)
    assert facts.action == SIT_OUT
    with pytest.raises(StoreError, match="no decision for round 1"):
        facts.decided()
    with pytest.raises(StoreError, match="no update for round 1"):
        facts.trained()


def test_quality_and_nonce_follow_the_latest_round(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    assert (latest_quality(journal), next_nonce(journal)) == (0.0, 1)
    for number in (1, 2, 10):
        update = Update(DELTA, "00", next_nonce(journal))
        RoundFacts(number, update=update, quality=number / 10).save(journal)
    RoundFacts(11).save(journal)
    assert (latest_quality(journal), next_nonce(journal)) == (1.0, 4)


def test_saving_a_fact_replaces_the_earlier_one(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    WithdrawalFacts(1, recorded=True).save(journal)
    replace(WithdrawalFacts.load(journal, 1), closed=True).save(journal)
    assert WithdrawalFacts.load(journal, 1) == WithdrawalFacts(1, recorded=True, closed=True)


def test_a_journal_of_another_format_is_rejected(tmp_path: Path) -> None:
    path = tmp_path / "node.db"
    Journal(path).set("round/000001/decision", {"effort": 1.0})
    with pytest.raises(StoreError, match=r"journal format unknown.*reads only rescind\.node"):
        open_journal(tmp_path)
    Journal(tmp_path / "other" / "node.db", journal_format="rescind.node-journal/2")
    with pytest.raises(StoreError, match="journal format rescind"):
        open_journal(tmp_path / "other")


def test_a_damaged_fact_is_reported(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.set("round/000001", {"round_id": 1, "quality": "good"})
    with pytest.raises(StoreError, match="damaged RoundFacts"):
        RoundFacts.load(journal, 1)
