"""The aggregator's durable facts and the format of their journal."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from rescind.aggregator.facts import AnsweredQuestions, Nonces, open_journal
from rescind.aggregator.withdrawal_facts import Deposit
from rescind.core.errors import StoreError
from rescind.daemon import Journal


def test_facts_are_the_same_after_a_restart(tmp_path: Path) -> None:
    nonces = Nonces("0xA", {}).use(1, 3, "aa")
    nonces.save(open_journal(tmp_path))

    journal = open_journal(tmp_path)
    assert Nonces.load(journal, "0xA") == nonces


def test_answered_questions_are_those_of_the_last_final_round_before(tmp_path: Path) -> None:
    for round_id, questions in ((1, ["a"]), (2, ["a", "b"]), (3, ["a", "b", "c"])):
        AnsweredQuestions(round_id, questions).save(open_journal(tmp_path))

    journal = open_journal(tmp_path)

    def before(round_id: int, *final: int) -> AnsweredQuestions | None:
        return AnsweredQuestions.before(journal, round_id, final.__contains__)

    assert before(1, 1, 2, 3) is None
    # Round 3 is judged again after a crash, and does not count itself.
    assert before(3, 1, 2, 3) == AnsweredQuestions(2, ["a", "b"])
    # Round 2 was abandoned.
    assert before(3, 1) == AnsweredQuestions(1, ["a"])
    last = before(4, 1, 2, 3)
    assert last is not None
    last.delete_earlier(journal)
    assert AnsweredQuestions.all(journal) == [AnsweredQuestions(3, ["a", "b", "c"])]


def test_a_journal_without_a_format_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "aggregator.db"
    Journal(path).set("bonded", True)
    with pytest.raises(StoreError) as refusal:
        open_journal(tmp_path)
    assert str(refusal.value) == (
        f"{path} has journal format unknown, this version of rescind reads only "
        "rescind.aggregator-journal/4. Run the version of rescind that wrote it."
    )


def test_a_journal_of_a_node_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "aggregator.db", journal_format="rescind.node-journal/2")
    with pytest.raises(StoreError, match=r"has journal format rescind\.node-journal/2"):
        open_journal(tmp_path)


def test_a_damaged_fact_is_reported(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.set("deposit/1/000000/0xA/aa", {"size": 3, "report": {}})
    offer = SimpleNamespace(
        offer_id=1, round_id=0, organization="0xA", parts=SimpleNamespace(artifact_ids=("aa",))
    )
    with pytest.raises(StoreError, match=r"damaged Deposit: signature: Field required"):
        Deposit.load(journal, offer)
