"""Traces of a subject anywhere on the disk, before and after shredding."""

import contextlib
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import sqlalchemy as sql

from rescind.core.errors import LedgerError
from rescind.ledger import (
    Ledger,
    LocalKey,
    RecordUnreadable,
    create_key,
    load_key,
    schema,
    shred,
    snapshot,
    was_shredded,
)
from tests.support.files import rescind

NAME, SECRET = "Wilhelmina Zwetschgenbaum", "was trained on her diary of 1974"


def append_and_back_up(where: Path | str, key: LocalKey, backup: Path) -> None:
    with Ledger.create(where, key) as ledger:
        for number in range(200):
            ledger.append("decision", {"round": number}, subject=f"person {number % 7}")
        for number in range(20):
            payload = {"event": "given", "what": f"{SECRET} {number}"}
            ledger.append("consent", payload, subject=NAME, key=f"{NAME}/{number}")
        written = snapshot.write(ledger, backup)
        fields = {"path": str(backup), "size": written.size, "root": written.root}
        ledger.append("backup", fields)


def traces(ledger: Ledger) -> dict[str, list[bytes]]:
    """Return the bytes to look for: keys, wrapped and bare, ciphertexts, and plain text."""
    hashed = ledger.keyring.secrets.subject(NAME)
    with ledger.database.reading() as connection:
        keys = connection.execute(
            sql.select(schema.keys).where(schema.keys.c.subject == hashed)
        ).all()
        of_keys = schema.entries.c.key.in_([row.id for row in keys])
        rows = connection.execute(sql.select(schema.entries).where(of_keys)).all()
    return {
        "wrapped keys": [bytes(row.wrapped) for row in keys],
        "keys": [ledger.keyring.open(row).key for row in keys],
        "data keys": [bytes(row.wrapped) for row in rows],
        "ciphertexts": [bytes(row.box)[:63] for row in rows],
        "idempotency keys": [row.once.encode() for row in rows],
        "plain text": [NAME.encode(), SECRET.encode()],
    }


def found_in(folders: list[Path], wanted: dict[str, list[bytes]]) -> set[str]:
    """Which of them lie in any file, as they are, in hexadecimal or in base64."""
    import base64

    result = set()
    for path in (p for folder in folders for p in folder.rglob("*")):
        with contextlib.suppress(OSError):
            if not path.is_file():
                continue
            content = path.read_bytes()
            for what, pieces in wanted.items():
                forms = [f for p in pieces for f in (p, p.hex().encode(), base64.b64encode(p))]
                if any(form in content for form in forms):
                    result.add(what)
    return result


def tables_of(cluster, ledger: Ledger) -> Path:
    """Where PostgreSQL keeps the files of this one database."""
    query = "SELECT oid FROM pg_database WHERE datname = current_database()"
    with ledger.database.reading() as connection:
        return cluster.folder / "base" / str(connection.exec_driver_sql(query).scalar_one())


def test_no_byte_of_a_shredded_subject_is_left(tmp_path: Path, monkeypatch) -> None:
    temporary = tmp_path / "tmp"
    temporary.mkdir()
    monkeypatch.setattr(tempfile, "tempdir", str(temporary))
    key = create_key(tmp_path / "key")
    folder, backup = tmp_path / "ledger", tmp_path / "backup"
    append_and_back_up(folder, key, backup)
    control = tmp_path / "control"
    control.mkdir()
    (control / "leak.txt").write_text(f"{NAME} {SECRET}")
    with Ledger.open(folder, key) as ledger:
        wanted = traces(ledger)
        assert len(wanted["keys"]) == 1
        everywhere = [folder, backup, temporary]
        held = {"wrapped keys", "data keys", "ciphertexts", "idempotency keys"}
        assert found_in(everywhere, wanted) == held
        assert found_in([control], wanted) == {"plain text"}
        done = shred(ledger, NAME, "erasure requested")
        assert done.records == 20
        at_once = found_in([folder, temporary], wanted)
        assert at_once == set(), "while the ledger is open"
    assert found_in([folder, temporary], wanted) == set()
    left = {"data keys", "ciphertexts", "idempotency keys"}
    assert found_in([backup], wanted) == left, "which nothing opens or confirms now"
    with Ledger.open(folder, key) as ledger:
        assert ledger.verify().sound


def test_an_idempotency_key_cannot_be_guessed_after_shredding(tmp_path: Path) -> None:
    """`--once "consent form of Ada Novak"` must not say afterwards that there was one."""
    master, guess = create_key(tmp_path / "key"), "consent form of Ada Novak"
    with Ledger.create(tmp_path / "ledger", master) as ledger:
        for name in ("Ada Novak", "Bela"):
            form = f"consent form of {name}"
            ledger.append("consent", {"event": "given"}, subject=name, key=form)
        # Everything that the organization keeps but the subject's own key.
        secrets = ledger.keyring.secrets
        before = once_of(ledger)
        assert secrets.hash("once", guess) not in before
        assert not ledger.append("consent", {"event": "given"}, subject="Ada Novak", key=guess).new
        shred(ledger, "Ada Novak")
        assert once_of(ledger) < before
        assert len(once_of(ledger)) == 1
        # A repetition cannot be recognized any more, which `was_shredded` lets the caller say.
        assert was_shredded(ledger, "consent")
        assert not was_shredded(ledger, "decision")
        assert ledger.append("consent", {"event": "given"}, subject="Ada Novak", key=guess).new
        assert once_of(ledger).isdisjoint(before - once_of(ledger))


def once_of(ledger: Ledger) -> set[str]:
    with ledger.database.reading() as connection:
        return set(connection.execute(sql.select(schema.entries.c.once)).scalars()) - {None}


def test_a_ledger_of_an_earlier_version_still_recognizes_its_idempotency_keys(
    tmp_path: Path,
) -> None:
    with Ledger.create(tmp_path / "ledger", create_key(tmp_path / "key")) as ledger:
        first = ledger.append("consent", {"event": "given"}, subject="Ada", key="form 7")
        earlier = ledger.keyring.secrets.hash("once", "form 7")
        with ledger.database.writing() as connection:
            connection.execute(schema.entries.update().values(once=earlier))
        again = ledger.append("consent", {"event": "given"}, subject="Ada", key="form 7")
        assert (again.index, again.new) == (first.index, False)
        shred(ledger, "Ada")
        assert once_of(ledger) == set()


def test_repeating_an_append_after_shredding_says_that_it_may_be_a_duplicate(
    tmp_path: Path,
) -> None:
    where = ["--ledger", str(tmp_path / "ledger"), "--key-file", str(tmp_path / "key")]
    assert rescind("ledger", "init", *where).exit_code == 0
    append = ["ledger", "append", "--type", "consent", "--payload", '{"event": "given"}']
    append += ["--subject", "Ada", "--once", "form 7", *where]
    assert "a second time" not in rescind(*append).stdout
    assert rescind("ledger", "shred", "--subject", "Ada", *where).exit_code == 0
    assert "a second time" in rescind(*append).stdout
    assert "a second time" not in rescind(*append).stdout


@pytest.mark.parametrize("step", ["rescind.ledger.snapshot.write_private", "pathlib.Path.replace"])
def test_shredding_a_backup_is_finished_after_a_crash(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: str
) -> None:
    key, backup = create_key(tmp_path / "key"), tmp_path / "backup"
    append_and_back_up(tmp_path / "ledger", key, backup)

    def crash(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    with Ledger.open(tmp_path / "ledger", key) as ledger:
        wanted, ids = traces(ledger), key_ids(ledger)
        with monkeypatch.context() as patch:
            patch.setattr(step, crash)
            with pytest.raises(KeyboardInterrupt):
                snapshot.destroy_keys(backup, ids, ledger.keyring.secrets)
        # A write of this file that was killed.
        (backup / ".keys.jsonl.0123abc").write_bytes(wanted["wrapped keys"][0])
        shred(ledger, NAME)
        assert found_in([backup], wanted).isdisjoint({"wrapped keys", "keys"})
        assert list(backup.glob(".*")) == []
    assert snapshot.load(backup, tmp_path / "restored", key).sound


def key_ids(ledger: Ledger) -> set[str]:
    hashed = ledger.keyring.secrets.subject(NAME)
    with ledger.database.reading() as connection:
        query = sql.select(schema.keys.c.id).where(schema.keys.c.subject == hashed)
        return set(connection.execute(query).scalars())


def test_the_shred_command_prints_no_name(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key")
    append_and_back_up(tmp_path / "ledger", key, tmp_path / "backup")
    rescind = [sys.executable, "-m", "rescind", "ledger", "shred", "--subject", NAME]
    rescind += ["--ledger", str(tmp_path / "ledger"), "--key-file", str(tmp_path / "key")]
    done = subprocess.run(rescind, capture_output=True, text=True, check=True)
    assert "20 records shredded, 1 keys destroyed; tombstone: record 221" in done.stdout
    assert NAME not in done.stdout + done.stderr


def test_postgresql_tables_are_clean_and_rotation_kills_keys_in_its_log(
    cluster, tmp_path: Path
) -> None:
    where, key = cluster.new(), create_key(tmp_path / "key")
    append_and_back_up(where, key, tmp_path / "backup")
    with Ledger.open(where, key) as ledger:
        wanted = traces(ledger)
        with ledger.database.reading() as connection:
            hashed = ledger.keyring.secrets.subject(NAME)
            of_subject = sql.select(schema.keys).where(schema.keys.c.subject == hashed)
            stray = connection.execute(of_subject).one()
        assert ledger.keyring.open(stray).key == wanted["keys"][0]
        with ledger.database.writing() as connection:
            connection.exec_driver_sql("ANALYZE")
        with ledger.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CHECKPOINT")
        tables, log = tables_of(cluster, ledger), cluster.folder / "pg_wal"
        held = {"wrapped keys", "data keys", "ciphertexts", "idempotency keys"}
        assert found_in([tables], wanted) == held
        shred(ledger, NAME)
        with ledger.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CHECKPOINT")
        assert found_in([tables], wanted) == set()
        left = found_in([log], wanted)
        assert "plain text" not in left
        assert "keys" not in left
        ledger.rotate(create_key(tmp_path / "new"))
    (tmp_path / "key").unlink()
    with Ledger.open(where, load_key(tmp_path / "new")) as ledger:
        with pytest.raises(RecordUnreadable):
            ledger.keyring.open(stray)
        assert ledger.verify().sound


def test_postgresql_waits_for_transactions_that_still_see_the_data(
    cluster, tmp_path: Path, monkeypatch
) -> None:
    from rescind.ledger import database

    where, key = cluster.new(), create_key(tmp_path / "key")
    append_and_back_up(where, key, tmp_path / "backup")
    monkeypatch.setattr(database, "_VACUUM_SECONDS", 1.0)
    with Ledger.open(where, key) as ledger, Ledger.open(where, key) as other:
        wanted = traces(ledger)
        with other.database.reading() as connection:
            connection.exec_driver_sql("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ")
            connection.execute(sql.select(schema.log)).all()
            with pytest.raises(LedgerError, match="another transaction has been able to see it"):
                shred(ledger, NAME)
        assert shred(ledger, NAME).tombstone is None
        with ledger.database.engine.connect() as connection:
            connection.execution_options(isolation_level="AUTOCOMMIT").exec_driver_sql("CHECKPOINT")
        assert found_in([tables_of(cluster, ledger)], wanted) == set()
        assert ledger.verify().sound
