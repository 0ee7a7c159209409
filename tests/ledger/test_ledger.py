"""Behaviour of a ledger, on SQLite and PostgreSQL."""

import multiprocessing
import os
import random
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from itertools import count
from pathlib import Path

import pytest
import sqlalchemy as sql
from tenacity import retry, retry_if_exception_message

from rescind.core.errors import LedgerError
from rescind.core.names import NameInvalid
from rescind.ledger import (
    KeyProgram,
    Ledger,
    LedgerDamaged,
    LedgerKeyError,
    LocalKey,
    NewRecord,
    Record,
    RecordShredded,
    Shredded,
    create_key,
    load_key,
    merkle,
    schema,
    shred,
)
from rescind.ledger.log import ClockWentBack


def fill(where: Path | str, key: LocalKey, count: int = 7) -> Path | str:
    with Ledger.create(where, key) as ledger:
        for number in range(count):
            ledger.append("decision", {"round": number, "why": "secret reason"}, key=f"d/{number}")
    return where


@pytest.fixture
def filled(where: Path | str, key: LocalKey) -> Path | str:
    return fill(where, key)


def test_an_idempotency_key_is_appended_once(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger:
        again = ledger.append("decision", {"round": 99}, key="d/3")
        assert (again.index, again.new, ledger.size) == (3, False, 7)
        assert ledger.record(3).payload["round"] == 3


@pytest.mark.parametrize("index", [-1, 7, 2**31, 2**63, 2**200])
def test_there_is_no_record_beyond_the_last(filled: Path | str, key: LocalKey, index: int) -> None:
    with Ledger.open(filled, key) as ledger:
        for read in (ledger.record, ledger.prove):
            with pytest.raises(LedgerError, match=rf"record {index}\b"):
                read(index)


def test_records_are_appended_all_or_none(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger:
        new = [NewRecord("reward", {"round": n}, key=f"r/{n % 4}") for n in range(6)]
        entries = ledger.append_all(new)
        assert [entry.index for entry in entries] == [7, 8, 9, 10, 7, 8]
        assert [entry.new for entry in entries] == [True] * 4 + [False] * 2
        with pytest.raises(LedgerError, match="missing the required field 'round'"):
            ledger.append_all([NewRecord("reward", {"round": 9}), NewRecord("reward", {})])
        assert ledger.size == 11
        assert ledger.verify().sound


def test_records_are_found_by_type_and_subject(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger:
        ledger.append_all(
            [
                NewRecord("consent", {"event": "given", "n": n}, subject=f"person {n % 3}")
                for n in range(600)
            ]
        )
        of_one = list(ledger.records(subject="person 1"))
        assert [record.payload["n"] for record in of_one if isinstance(record, Record)] == list(
            range(1, 600, 3)
        )
        assert len(list(ledger.records("decision"))) == 7
        assert len(list(ledger.records("reward"))) == 0
        assert len(list(ledger.records(subject="unknown person"))) == 0
        assert len(list(ledger.records(start=605))) == 2


def test_proofs_from_the_stored_tree_verify(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger:
        extra = ledger.append("reward", {"round": 0})
        proof = ledger.inclusion_proof(extra.index, 8)
        assert merkle.verify_inclusion(extra.leaf_hash, extra.index, 8, proof, ledger.root())
        path = ledger.consistency_proof(7, 8)
        assert merkle.verify_consistency(7, 8, path, ledger.root(7), ledger.root())


def test_another_ledgers_key_does_not_open_it(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with pytest.raises(LedgerKeyError, match="belongs to another ledger"):
        Ledger.open(filled, create_key(tmp_path / "other.key"))


def test_records_of_every_spelling_are_of_one_subject(filled: Path | str, key: LocalKey) -> None:
    spellings = ["Jos\u00e9 Mu\u00f1oz", "Jose\u0301 Mun\u0303oz ", "Jos\u00e9  Mu\u00f1oz"]
    with Ledger.open(filled, key) as ledger:
        added = [ledger.append("consent", {"event": "given"}, subject=s) for s in spellings]
        found = list(ledger.records(subject="\tJose\u0301 Mu\u00f1oz"))
        assert [record.index for record in found] == [entry.index for entry in added]
        assert {record.subject for record in found if isinstance(record, Record)} == {spellings[0]}
        assert shred(ledger, spellings[1]).records == 3
        assert list(ledger.records(subject=spellings[0])) == []


def test_an_invalid_record_is_refused(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger:
        with pytest.raises(LedgerError, match="use one of: backup, consent"):
            ledger.append("gossip", {})
        with pytest.raises(LedgerError, match="cannot be written as JSON"):
            ledger.append("reward", {"round": float("nan")})
        with pytest.raises(LedgerError, match="cannot be written as JSON"):
            ledger.append("reward", {"round": object()})
        with pytest.raises(NameInvalid, match="lone surrogate"):
            ledger.append("reward", {"round": 1}, subject="\ud800")
        with pytest.raises(NameInvalid, match="is empty"):
            ledger.append("reward", {"round": 1}, subject=" ")
        with pytest.raises(LedgerError, match="not valid Unicode text"):
            ledger.append("reward", {"round": 1}, key="\ud800")
        with pytest.raises(LedgerError, match="is empty"):
            ledger.append("reward", {"round": 1}, key="")
        assert ledger.size == 7


def test_a_sound_ledger_matches_its_anchors(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger:
        anchors = [(size, ledger.root(size).hex()) for size in (1, 5, 7)]
        assert ledger.verify(anchors).sound
        [short] = ledger.verify([*anchors, (9, "00" * 32)]).problems
        assert (short.what, short.since) == ("the chain anchors 9 entries, but the ledger has 7", 7)
        [forked] = ledger.verify([anchors[0], (5, "00" * 32)]).problems
        assert (forked.what, forked.since) == ("the first 5 entries are not the anchored ones", 1)


def test_nothing_is_appended_when_the_clock_goes_back(where: Path | str, key: LocalKey) -> None:
    now = [1_800_000_000.0]
    with Ledger.create(where, key, clock=lambda: now[0]) as ledger:
        ledger.append("reward", {"round": 1})
        now[0] -= 30
        ledger.append("reward", {"round": 2})
        assert ledger.record(1).time == 1_800_000_000
        now[0] -= 86_400
        with pytest.raises(ClockWentBack, match="set the clock"):
            ledger.append("reward", {"round": 3})
        assert ledger.size == 2
        assert ledger.verify().sound


def test_a_ledger_goes_on_after_its_clock_ran_ahead(where: Path | str, key: LocalKey) -> None:
    now, ahead = 1_800_000_000, 2_100_000_000
    with Ledger.create(where, key, clock=lambda: ahead) as ledger:
        ledger.append("reward", {"round": 1})
    with (
        Ledger.open(where, key, clock=lambda: now, ran_ahead=ahead - 1) as ledger,
        pytest.raises(ClockWentBack, match=r"ledger\.clock_ran_ahead in node\.toml"),
    ):
        ledger.append("reward", {"round": 2})
    with Ledger.open(where, key, clock=lambda: now, ran_ahead=ahead) as ledger:
        ledger.append("reward", {"round": 2})
        assert ledger.record(1).time == ahead
        assert ledger.verify().sound
    with Ledger.open(where, key, clock=lambda: ahead + 5) as ledger:
        ledger.append("reward", {"round": 3})
        assert ledger.record(2).time == ahead + 5


def test_record_types_of_a_later_version_are_kept(
    filled: Path | str, key: LocalKey, monkeypatch
) -> None:
    from rescind.ledger import records

    more = {**records.RECORD_TYPES, "of-the-future": records.RecordType(9)}
    with Ledger.open(filled, key) as ledger:
        for module in (records, sys.modules["rescind.ledger.writing"]):
            monkeypatch.setattr(module, "RECORD_TYPES", more)
        ledger.append("of-the-future", {"what": "unknown"})
        monkeypatch.undo()
        record = ledger.record(7)
        assert (record.type, record.schema, record.payload) == (
            "of-the-future",
            9,
            {"what": "unknown"},
        )
        assert ledger.verify().sound


def test_rotating_the_master_key_rewrites_no_record(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    new = create_key(tmp_path / "new.key")
    with Ledger.open(filled, key) as ledger:
        rows = entries_of(ledger)
        key_rows = [bytes(row.wrapped) for row in table(ledger, schema.keys)]
        root, signer = ledger.root(), str(ledger.key.verifier())
        ledger.rotate(new)
        assert entries_of(ledger) == rows
        assert not {bytes(row.wrapped) for row in table(ledger, schema.keys)} & set(key_rows)
        ledger.append("reward", {"round": 1})
    with pytest.raises(LedgerKeyError):
        Ledger.open(filled, key)
    with Ledger.open(filled, new) as ledger:
        assert (ledger.root(7), str(ledger.key.verifier())) == (root, signer)
        assert ledger.record(3).payload["round"] == 3
        assert ledger.verify().sound


def test_the_master_key_can_stay_in_a_key_service(where: Path | str, tmp_path: Path) -> None:
    program = tmp_path / "service"
    program.write_text(
        f"#!{sys.executable}\n"
        "import base64, hashlib, sys\n"
        "data, context = base64.b64decode(sys.stdin.read()), sys.argv[2].encode()\n"
        "pad = hashlib.shake_256(b'not a real cipher' + context).digest(len(data))\n"
        "sys.stdout.write(base64.b64encode(bytes(a ^ b for a, b in zip(data, pad))).decode())\n"
    )
    program.chmod(0o700)
    fill(where, load_key(None, [str(program)]), 3)
    with Ledger.open(where, KeyProgram((str(program),))) as ledger:
        assert ledger.verify().sound
    program.write_text("#!/bin/sh\necho the service is away >&2\nexit 7\n")
    with pytest.raises(LedgerKeyError, match="failed with exit code 7: the service is away"):
        Ledger.open(where, KeyProgram((str(program),)))
    with pytest.raises(LedgerKeyError, match="cannot be run"):
        Ledger.open(where, KeyProgram((str(tmp_path / "none"),)))


def test_the_migrations_create_the_tables_of_the_schema(where: Path | str, key: LocalKey) -> None:
    from alembic.autogenerate import compare_metadata
    from alembic.config import Config
    from alembic.migration import MigrationContext
    from alembic.script import ScriptDirectory

    from rescind.ledger.database import _MIGRATIONS

    config = Config()
    config.set_main_option("script_location", str(_MIGRATIONS))
    assert ScriptDirectory.from_config(config).get_current_head() == schema.REVISION
    with Ledger.create(where, key) as ledger, ledger.database.reading() as connection:
        assert compare_metadata(MigrationContext.configure(connection), schema.metadata) == []


def test_a_database_of_another_version_is_refused(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger, ledger.database.writing() as connection:
        connection.exec_driver_sql("UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(LedgerError, match="has schema 9999"):
        Ledger.open(filled, key)


def test_opening_none_and_creating_a_second_ledger_are_clear_errors(
    where: Path | str, key: LocalKey
) -> None:
    with pytest.raises(LedgerError, match="rescind ledger init"):
        Ledger.open(where, key)
    Ledger.create(where, key).close()
    with pytest.raises(LedgerError, match="already holds a ledger"):
        Ledger.create(where, key)


CHANGES = {
    "a payload": ("UPDATE entries SET box = :junk WHERE position = 3", 3),
    "a leaf": ("UPDATE entries SET leaf = :junk WHERE position = 3", 3),
    "a data key": ("UPDATE entries SET wrapped = :junk WHERE position = 3", 3),
    "an idempotency key": ("UPDATE entries SET once = 'other' WHERE position = 3", 3),
    "the key of an entry": ("UPDATE entries SET key = 'other' WHERE position = 3", 3),
    "a deleted entry": ("DELETE FROM entries WHERE position = 3", 3),
    "a deleted last entry": ("DELETE FROM entries WHERE position = 6", None),
    "a node": ("UPDATE nodes SET hash = :junk WHERE level = 1 AND place = 1", 2),
    "a leaf's node": ("UPDATE nodes SET hash = :junk WHERE level = 0 AND place = 3", 3),
    "a missing node": ("DELETE FROM nodes WHERE level = 1 AND place = 1", 2),
    "a node too many": ("INSERT INTO nodes VALUES (1, 3, :junk)", None),
    "a wrapped key": ("UPDATE keys SET wrapped = :junk", None),
    "the category of a key": ("UPDATE keys SET category = 'reward'", None),
    "the subject of a key": ("UPDATE keys SET subject = 'other'", None),
    "a destroyed key": ("DELETE FROM keys", 0),
    "the size": ("UPDATE log SET size = 6", None),
    "the time": ("UPDATE log SET time = 0", None),
    "the number of changes": ("UPDATE log SET changes = changes + 1", None),
    "the mac": ("UPDATE log SET mac = :junk", None),
}


@pytest.mark.parametrize("what", CHANGES)
def test_a_change_in_the_tables_is_detected_and_located(
    filled: Path | str, key: LocalKey, what: str
) -> None:
    statement, index = CHANGES[what]
    with Ledger.open(filled, key) as ledger:
        assert ledger.verify().sound
        with ledger.database.writing() as connection:
            values = {"junk": b"j" * 32} if ":junk" in statement else {}
            connection.execute(sql.text(statement), values)
        problems = ledger.verify().problems
        assert index in [problem.index for problem in problems], [
            problem.what for problem in problems
        ]


def test_a_ledger_with_changed_secrets_does_not_open(filled: Path | str, key: LocalKey) -> None:
    with Ledger.open(filled, key) as ledger, ledger.database.writing() as connection:
        connection.execute(schema.log.update().values(secrets=b"j" * 80))
    with pytest.raises(LedgerKeyError):
        Ledger.open(filled, key)


@pytest.mark.slow
def test_a_flipped_byte_anywhere_in_the_file_is_detected(tmp_path: Path, key: LocalKey) -> None:
    folder = tmp_path / "ledger"
    fill(folder, key)
    for name in ("ledger.db", "ledger.seal"):
        path = folder / name
        original = path.read_bytes()
        step = max(1, len(original) // 150)
        for offset in range(0, len(original), step):
            path.write_bytes(
                original[:offset] + bytes([original[offset] ^ 0x01]) + original[offset + 1 :]
            )
            assert not _sound(folder, key), f"{name}: byte {offset} was changed unnoticed"
            (folder / "ledger.db-wal").unlink(missing_ok=True)
            (folder / "ledger.db-shm").unlink(missing_ok=True)
        path.write_bytes(original)
    assert _sound(folder, key)


def test_a_flipped_byte_that_sqlite_does_not_read_is_located(tmp_path: Path, key: LocalKey) -> None:
    folder = tmp_path / "ledger"
    fill(folder, key, 200)
    path = folder / "ledger.db"
    content = bytearray(path.read_bytes())
    offset = content.index(bytes(64), 2**16)
    content[offset + 8] ^= 1
    path.write_bytes(content)
    with Ledger.open(folder, key) as ledger:
        whats = [problem.what for problem in ledger.verify().problems]
    first = offset // 2**16 * 2**16
    assert (
        f"bytes {first} to {first + 2**16 - 1} of ledger.db have changed since it was sealed"
        in whats
    )


def test_a_truncated_file_is_rejected(tmp_path: Path, key: LocalKey) -> None:
    folder = tmp_path / "ledger"
    fill(folder, key)
    path = folder / "ledger.db"
    original = path.read_bytes()
    for size in (0, 1, 99, 4096, len(original) // 2, len(original) - 4096, len(original) - 1):
        path.write_bytes(original[:size])
        assert not _sound(folder, key), size
        (folder / "ledger.db-wal").unlink(missing_ok=True)
        (folder / "ledger.db-shm").unlink(missing_ok=True)
    path.write_bytes(b"this is no database, but a letter to a friend" * 1000)
    with pytest.raises(LedgerDamaged, match="is not a readable ledger"):
        Ledger.open(folder, key)


def _sound(folder: Path, key: LocalKey) -> bool:
    try:
        ledger = Ledger.open(folder, key)
    except (LedgerDamaged, LedgerError):
        return False
    try:
        return ledger.verify().sound
    finally:
        ledger.database.engine.dispose()


def test_a_key_file_that_other_users_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "k"
    create_key(path)
    path.chmod(0o644)
    with pytest.raises(LedgerKeyError, match="chmod 600"):
        load_key(path)
    path.chmod(0o600)
    assert load_key(path) == load_key(path)


def open_and_close(where: str, key_file: str) -> None:
    with Ledger.open(where, load_key(Path(key_file))) as ledger:
        assert ledger.size


def test_sealing_leaves_the_locks_of_the_process_alone(tmp_path: Path, key: LocalKey) -> None:
    """Another process that comes and goes must not take the write-ahead log with it."""
    folder = tmp_path / "ledger"
    fill(folder, key)
    context = multiprocessing.get_context("forkserver")
    with Ledger.open(folder, key) as ledger:
        ledger.write_seal()
        other = context.Process(
            target=open_and_close, args=(str(folder), str(tmp_path / "ledger.key"))
        )
        other.start()
        other.join()
        assert other.exitcode == 0
        ledger.append("reward", {"round": 1})
        command = [sys.executable, "-c", _COUNT, str(folder / "ledger.db")]
        seen = subprocess.run(command, capture_output=True, text=True, check=True)
        assert seen.stdout.strip() == "8"


_COUNT = (
    "import sqlite3, sys\n"
    "rows = sqlite3.connect(sys.argv[1]).execute('SELECT count(*) FROM entries')\n"
    "print(rows.fetchone()[0])"
)


def append_for_ever(where: str, key_file: str, writer: str, acknowledged) -> None:
    # SQLite gives its lock to any writer that asks, so others may keep one waiting for too long.
    locked = retry_if_exception_message(match="another process has kept")
    with Ledger.open(where, load_key(Path(key_file))) as ledger:
        append = retry(retry=locked)(ledger.append)
        for number in count():
            fact = {"round": number, "writer": writer}
            append("decision", fact, key=f"{writer}/{number}")
            acknowledged.send(number)


@pytest.mark.parametrize("seconds", [0.3, pytest.param(0.45, marks=pytest.mark.slow)])
def test_concurrent_writers_lose_nothing_when_one_is_killed(
    where: Path | str, key: LocalKey, tmp_path: Path, seconds: float
) -> None:
    Ledger.create(where, key).close()
    context = multiprocessing.get_context("forkserver")
    writers = {}
    for name in ("a", "b", "c"):
        reader, writer = context.Pipe(duplex=False)
        arguments = (str(where), str(tmp_path / "ledger.key"), name, writer)
        process = context.Process(target=append_for_ever, args=arguments)
        process.start()
        writers[name] = (process, reader)
    for _, reader in writers.values():
        assert reader.poll(300)
    until = time.monotonic() + seconds
    with Ledger.open(where, key) as ledger:
        while time.monotonic() < until:
            assert ledger.verify().problems == ()
    heard = {}
    for name, (process, reader) in writers.items():
        assert process.pid is not None
        os.kill(process.pid, signal.SIGKILL)
        process.join()
        heard[name] = 0
        while reader.poll():
            try:
                heard[name] = reader.recv()
            except EOFError:
                break
    with Ledger.open(where, key) as ledger:
        assert ledger.verify().sound
        written: dict[str, list[int]] = {name: [] for name in writers}
        for record in ledger.records():
            assert isinstance(record, Record)
            written[record.payload["writer"]].append(record.payload["round"])
        for name, numbers in written.items():
            assert numbers == list(range(len(numbers)))
            assert len(numbers) > heard[name]


def table(ledger: Ledger, selected: sql.Table) -> list:
    with ledger.database.reading() as connection:
        return list(connection.execute(sql.select(selected)).all())


def entries_of(ledger: Ledger) -> list:
    return [
        tuple(row) for row in sorted(table(ledger, schema.entries), key=lambda row: row.position)
    ]


@pytest.fixture
def ledger_about_ada(where: Path | str, key: LocalKey) -> Iterator[Ledger]:
    """A ledger of 60 records about Ada, Bela and no subject."""
    rng = random.Random(0)
    with Ledger.create(where, key) as ledger:
        for number in range(30):
            subject = rng.choice(["Ada", "Bela", None])
            ledger.append("consent", {"event": "given", "n": number}, subject=subject)
            ledger.append("decision", {"round": number}, subject=subject)
        yield ledger


def test_shredding_makes_every_record_of_the_subject_unreadable(ledger_about_ada: Ledger) -> None:
    ledger = ledger_about_ada
    about_ada = [record.index for record in ledger.records(subject="Ada")]
    assert about_ada
    shred(ledger, "Ada", "she asked for it")
    assert list(ledger.records(subject="Ada")) == []
    shredded = [record.index for record in ledger.records() if isinstance(record, Shredded)]
    assert shredded == about_ada
    with pytest.raises(RecordShredded, match="its key was destroyed"):
        ledger.record(about_ada[0])
    with pytest.raises(RecordShredded, match="cannot be proved"):
        ledger.prove(about_ada[0])


def test_shredding_keeps_every_earlier_root_and_checkpoint_valid(ledger_about_ada: Ledger) -> None:
    ledger = ledger_about_ada
    size, root, note = ledger.size, ledger.root(), str(ledger.checkpoint())
    shred(ledger, "Ada", "she asked for it")
    assert (ledger.root(size), str(ledger.checkpoint(size))) == (root, note)
    assert ledger.verify([(size, root.hex())]).sound


def test_shredding_leaves_a_tombstone_that_does_not_name_the_subject(
    ledger_about_ada: Ledger,
) -> None:
    ledger = ledger_about_ada
    size, records = ledger.size, len(list(ledger.records(subject="Ada")))
    done = shred(ledger, "Ada", "she asked for it")
    assert (done.records, done.keys, done.tombstone) == (records, 2, size)
    tombstone = ledger.record(size).payload
    assert tombstone["records"] == records
    assert "Ada" not in str(tombstone)


def test_shredding_again_concerns_only_later_records(ledger_about_ada: Ledger) -> None:
    ledger = ledger_about_ada
    shred(ledger, "Ada")
    again = shred(ledger, "Ada")
    assert (again.records, again.tombstone) == (0, None)
    ledger.append("consent", {"event": "withdrawn"}, subject="Ada")
    assert shred(ledger, "Ada").records == 1
    assert ledger.verify().sound


def test_keys_missing_without_a_tombstone_are_reported(where: Path | str, key: LocalKey) -> None:
    with Ledger.create(where, key) as ledger:
        ledger.append("consent", {"event": "given"}, subject="Ada")
        ledger.append("consent", {"event": "given"}, subject="Bela")
        with ledger.database.writing() as connection:
            of_ada = schema.keys.c.subject == ledger.keyring.secrets.subject("Ada")
            connection.execute(schema.keys.delete().where(of_ada))
            connection.execute(schema.entries.update().values(box=None, wrapped=None))
        problems = [problem.what for problem in ledger.verify().problems if problem.index == 0]
        assert problems == ["its key is missing and no tombstone names it (1 records under it)"]
