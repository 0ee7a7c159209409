"""SQLite files of ledgers and journals: where they may lie, and what a lock does."""

import sqlite3
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import sqlalchemy as sql

from rescind.core import sqlite
from rescind.core.errors import LedgerError, RescindError, StoreError
from rescind.daemon import Journal
from rescind.ledger import Ledger, LedgerDamaged, LocalKey

KEY = LocalKey(bytes(32))


def use_ledger(folder: Path) -> None:
    with Ledger.create(folder, KEY) as ledger:
        ledger.append("reward", {"round": 1})
    with Ledger.open(folder, KEY) as ledger:
        assert ledger.size == 1
        assert ledger.verify().sound


def use_journal(folder: Path) -> None:
    Journal(folder / "node.db").set("a", 1)
    assert Journal(folder / "node.db").get("a") == 1


@pytest.mark.parametrize("use", [use_ledger, use_journal])
@pytest.mark.parametrize("name", ["what?now", "a#b", "50%20off", "sp ace", "ä"])
def test_a_path_may_have_any_character(
    tmp_path: Path, use: Callable[[Path], None], name: str
) -> None:
    use(tmp_path / name)
    assert [path.name for path in tmp_path.iterdir()] == [name]


@pytest.mark.parametrize(("use", "error"), [(use_ledger, LedgerError), (use_journal, StoreError)])
def test_a_file_system_without_a_write_ahead_log_is_refused(
    tmp_path: Path,
    use: Callable[[Path], None],
    error: type[RescindError],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def without_shared_memory(path: Path) -> sql.URL:
        # SQLite's own way to run where shared memory and locks are missing, as on some networks.
        return sql.make_url(f"sqlite:///file:{path}?vfs=unix-dotfile&uri=true")

    monkeypatch.setattr("rescind.ledger.database.sqlite_url", without_shared_memory)
    monkeypatch.setattr("rescind.daemon.journal.sqlite_url", without_shared_memory)
    with pytest.raises(error, match=r"does not support SQLite's write-ahead log.*local disk") as no:
        use(tmp_path / "state")
    assert str(tmp_path / "state") in str(no.value)


@contextmanager
def locked(path: Path) -> Iterator[sqlite3.Connection]:
    """Hold a file as another process does that lets no one else in."""
    holder = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    holder.execute("PRAGMA locking_mode=EXCLUSIVE")
    holder.execute("BEGIN IMMEDIATE")
    try:
        yield holder
    finally:
        holder.close()


def test_a_locked_journal_is_waited_for(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    journal.set("a", 1)
    with locked(tmp_path / "node.db") as holder:
        answers: list[object] = []
        reader = threading.Thread(target=lambda: answers.append(journal.get("a")))
        reader.start()
        holder.close()
        reader.join()
    assert answers == [1]


def test_a_file_that_stays_locked_is_called_locked(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sqlite, "BUSY_SECONDS", 0.05)
    journal = Journal(tmp_path / "node.db")
    journal.set("a", 1)
    with locked(tmp_path / "node.db"):
        for call in (
            lambda: journal.get("a"),
            lambda: journal.all(""),
            lambda: journal.set("a", 2),
            lambda: Journal(tmp_path / "node.db"),
        ):
            with pytest.raises(StoreError, match=r"node.db locked for more than 0.05 s"):
                call()
    Ledger.create(tmp_path / "ledger", KEY).close()
    with locked(tmp_path / "ledger" / "ledger.db"):
        with pytest.raises(LedgerError, match="locked for more than") as refused:
            Ledger.open(tmp_path / "ledger", KEY)
        assert not isinstance(refused.value, LedgerDamaged)
    assert journal.get("a") == 1


def test_a_damaged_journal_is_reported_and_not_a_crash(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    journal.set("a", "x" * 100_000)
    raw = bytearray((tmp_path / "node.db").read_bytes())
    raw[4096:] = b"\xff" * (len(raw) - 4096)
    (tmp_path / "node.db").write_bytes(raw)
    for call in (lambda: journal.get("a"), lambda: journal.all("")):
        with pytest.raises(StoreError, match="not a readable daemon state"):
            call()


def test_a_fact_that_is_not_json_is_reported(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "node.db")
    with sqlite3.connect(tmp_path / "node.db") as raw:
        raw.execute("INSERT INTO facts VALUES ('a', 'not json')")
    raw.close()
    with pytest.raises(StoreError, match="the fact 'a' is not JSON"):
        journal.get("a")
