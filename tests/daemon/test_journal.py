"""The journal keeps what a daemon knows, and refuses what it cannot read."""

from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.core.errors import StoreError
from rescind.daemon import Journal, open_journal, read_fact


@dataclass(frozen=True)
class Fact:
    number: int
    names: tuple[str, ...] = ()


def test_a_fact_is_there_after_a_restart(tmp_path: Path) -> None:
    open_journal(tmp_path, "node", 1).set("round/000001", {"settled": True})
    assert open_journal(tmp_path, "node", 1).get("round/000001") == {"settled": True}


def test_a_key_that_was_never_set_has_the_default(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    assert journal.get("absent") is None
    assert journal.get("absent", 3) == 3


def test_facts_of_a_kind_come_in_the_order_of_their_keys(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    for key in ("round/000010", "round/000002", "rounds", "model/000001"):
        journal.set(key, key)
    assert list(journal.all("round/")) == ["round/000002", "round/000010"]


def test_a_prefix_is_taken_literally(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    journal.set("a%b", 1)
    journal.set("axb", 2)
    assert journal.all("a%") == {"a%b": 1}


@pytest.mark.parametrize(
    ("daemon", "version"), [("node", 2), ("aggregator", 1)], ids=["another version", "a daemon"]
)
def test_a_journal_of_another_format_is_refused(tmp_path: Path, daemon: str, version: int) -> None:
    open_journal(tmp_path, "node", 1)
    (tmp_path / "node.db").rename(tmp_path / "moved.db")
    (tmp_path / "moved.db").rename(tmp_path / f"{daemon}.db")
    with pytest.raises(StoreError, match="Run the version of rescind that wrote it"):
        open_journal(tmp_path, daemon, version)


def test_a_file_that_is_not_a_journal_is_refused(tmp_path: Path) -> None:
    (tmp_path / "node.db").write_bytes(b"not a database, but long enough to look at" * 50)
    with pytest.raises(StoreError, match="not a readable daemon state"):
        open_journal(tmp_path, "node", 1)


def test_a_value_that_does_not_fit_its_fact_is_reported_with_its_field(tmp_path: Path) -> None:
    assert read_fact(Fact, {"number": 3, "names": ["a"]}) == Fact(3, ("a",))
    with pytest.raises(StoreError, match="damaged Fact: number"):
        read_fact(Fact, {"number": "many"})
