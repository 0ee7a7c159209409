"""A ledger after the theft of its master key."""

import base64
import shutil
from pathlib import Path

import pytest
import sqlalchemy as sql

from rescind.core.errors import LedgerError
from rescind.ledger import (
    Checkpoint,
    Ledger,
    LedgerKeyError,
    LocalKey,
    NewRecord,
    Record,
    RecordShredded,
    Verifier,
    create_key,
    finish_renewal,
    load_key,
    merkle,
    read_key,
    renew,
    schema,
    shred,
    snapshot,
)
from rescind.ledger.database import Database
from tests.support.files import rescind

STOLEN, NEW = LocalKey(b"\x01" * 32), LocalKey(b"\x02" * 32)


def filled(where: Path | str, backup: Path) -> None:
    with Ledger.create(where, STOLEN) as ledger:
        for number in range(12):
            name = f"person {number % 3}"
            ledger.append("consent", {"event": f"e{number}"}, subject=name, key=f"form {number}")
        ledger.append("reward", {"round": 1}, key="reward/1")
        snapshot.write(ledger, backup)
        ledger.append("backup", {"path": str(backup), "size": ledger.size, "root": ""})
        shred(ledger, "person 2")


def secrets_of(ledger: Ledger) -> list[bytes]:
    """Return the bytes of the old log that must not stay: secrets, keys and ciphertexts, wrapped."""
    with ledger.database.reading() as connection:
        values = list(connection.execute(sql.select(schema.log.c.secrets)).scalars())
        values += connection.execute(sql.select(schema.keys.c.wrapped)).scalars()
        rows = connection.execute(sql.select(schema.entries.c.wrapped, schema.entries.c.box))
        return [
            bytes(v)[:48] for v in [*values, *(v for row in rows for v in row)] if v is not None
        ]


def readable(ledger: Ledger) -> list[tuple[str, object, str | None]]:
    records = [each for each in ledger.records() if isinstance(each, Record)]
    return [(each.type, each.payload, each.subject) for each in records if each.type != "renewal"]


def test_a_renewed_ledger_holds_the_same_records_under_other_secrets(
    where: Path | str, tmp_path: Path
) -> None:
    filled(where, tmp_path / "backup")
    with Ledger.open(where, STOLEN) as ledger:
        before, roots = (
            readable(ledger),
            [(n, ledger.root(n).hex()) for n in range(ledger.size + 1)],
        )
        old, size = ledger.keyring, ledger.size
        done = renew(ledger, NEW)
        assert (done.old_log, done.log, done.record) == (old.log_id, ledger.id, size)
    with pytest.raises(LedgerKeyError):
        Ledger.open(where, STOLEN)
    with Ledger.open(where, NEW) as ledger:
        assert readable(ledger) == before
        assert ledger.verify(roots).sound, "every anchor from before still holds"
        new = ledger.keyring.secrets
        own = {new.wrapping, new.hashing, new.signing}
        assert own.isdisjoint({old.secrets.wrapping, old.secrets.hashing, old.secrets.signing})
        assert new.subject("person 1") != old.secrets.subject("person 1")
        assert len(list(ledger.records(subject="person 1"))) == 4
        with pytest.raises(RecordShredded):
            ledger.record(2)
        assert not ledger.append("consent", {"event": "e0"}, subject="person 0", key="form 0").new
        assert not ledger.append("reward", {"round": 1}, key="reward/1").new


def test_the_new_log_begins_with_the_old_ones_final_checkpoint(tmp_path: Path) -> None:
    filled(tmp_path / "ledger", tmp_path / "backup")
    with Ledger.open(tmp_path / "ledger", STOLEN) as ledger:
        old_key = ledger.key.verifier()
        record = ledger.record(renew(ledger, NEW).record)
        final = Checkpoint.parse(record.payload["checkpoint"])
        assert Verifier.parse(record.payload["key"]) == old_key != ledger.key.verifier()
        final.check_signed(old_key)
        assert final.size == record.index
        now = ledger.checkpoint()
        proof = ledger.consistency_proof(final.size, now.size)
        assert merkle.verify_consistency(final.size, now.size, proof, final.root, now.root)


def test_the_stolen_key_opens_nothing_that_is_left(tmp_path: Path) -> None:
    folder, backup = tmp_path / "ledger", tmp_path / "backup"
    filled(folder, backup)
    shutil.copytree(folder, tmp_path / "stolen")
    with Ledger.open(folder, STOLEN) as ledger:
        wanted = secrets_of(ledger)
        at_hand = b"".join(path.read_bytes() for path in folder.iterdir())
        assert all(value in at_hand for value in wanted)
        assert renew(ledger, NEW).destroyed == (str(backup),)
        for left in (folder, backup):
            content = b"".join(path.read_bytes() for path in left.iterdir() if path.is_file())
            if left == folder:
                assert not any(value in content for value in wanted)
        assert not (backup / "keys.jsonl").exists()
    # The thief's copy stays readable to the thief: docs/ledger.md says so.
    with Ledger.open(tmp_path / "stolen", STOLEN) as copy:
        assert readable(copy)
    with Ledger.open(folder, NEW) as ledger:
        # Shredding does not stumble over backups of the old log.
        done = shred(ledger, "person 1")
        assert (done.records, done.cleaned, done.out_of_reach) == (4, (), ())
        assert ledger.verify().sound


def test_a_crash_before_the_commit_changes_nothing(
    where: Path | str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    filled(where, tmp_path / "backup")
    with Ledger.open(where, STOLEN) as ledger:
        before = readable(ledger)
        with monkeypatch.context() as patch:
            patch.setattr(Ledger, "add", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                renew(ledger, NEW)
        assert readable(ledger) == before
    with Ledger.open(where, STOLEN) as ledger:
        assert ledger.verify().sound
        renew(ledger, NEW)
        assert readable(ledger) == before


def test_a_crash_after_the_commit_is_resumed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, backup = tmp_path / "ledger", tmp_path / "backup"
    filled(folder, backup)
    key = create_key(tmp_path / "new.key")
    with Ledger.open(folder, STOLEN) as ledger:
        wanted = secrets_of(ledger)
        with monkeypatch.context() as patch:
            patch.setattr(Database, "wipe", lambda _: (_ for _ in ()).throw(KeyboardInterrupt))
            with pytest.raises(KeyboardInterrupt):
                renew(ledger, key)
    assert (backup / "keys.jsonl").exists()
    (tmp_path / "old.key").write_bytes(base64.b64encode(STOLEN.key))
    (tmp_path / "old.key").chmod(0o600)
    words = ["ledger", "renew", "--ledger", str(folder), "--key-file", str(tmp_path / "old.key")]
    for _ in range(2):  # A repetition is harmless.
        result = rescind(*words, "--new-key-file", str(tmp_path / "new.key"))
        assert result.exit_code == 0, result.output
        assert "all its keys are destroyed" in result.output
    content = b"".join(path.read_bytes() for path in folder.iterdir())
    assert not any(value in content for value in wanted)
    assert not (backup / "keys.jsonl").exists()
    with Ledger.open(folder, key) as ledger:
        assert ledger.verify().sound
        assert len(list(ledger.records("renewal"))) == 1


def test_the_renew_command_takes_a_new_key_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, old = str(tmp_path / "ledger"), str(tmp_path / "old.key")
    assert rescind("ledger", "init", "--ledger", folder, "--key-file", old).exit_code == 0
    refused = rescind(
        "ledger", "renew", "--ledger", folder, "--key-file", old, "--new-key-file", old
    )
    assert refused.exit_code == 16
    assert "Name a new key" in refused.output
    # The variable still holds the stolen key; the file that is named counts.
    monkeypatch.setenv("RESCIND_LEDGER_KEY", (tmp_path / "old.key").read_text())
    done = rescind(
        "ledger", "renew", "--ledger", folder, "--new-key-file", str(tmp_path / "new.key")
    )
    assert done.exit_code == 0, done.output
    with pytest.raises(LedgerKeyError):
        Ledger.open(folder, load_key(None))
    Ledger.open(folder, read_key(tmp_path / "new.key")).close()


def test_another_process_does_not_write_to_a_renewed_ledger_with_old_keys(tmp_path: Path) -> None:
    filled(tmp_path / "ledger", tmp_path / "backup")
    with (
        Ledger.open(tmp_path / "ledger", STOLEN) as running,
        Ledger.open(tmp_path / "ledger", STOLEN) as ledger,
    ):
        renew(ledger, NEW)
        with pytest.raises(LedgerError, match="was renewed by another process"):
            running.append("reward", {"round": 2})
        running.database.engine.dispose()
        assert ledger.verify().sound


def test_a_ledger_that_was_not_renewed_has_nothing_to_finish(tmp_path: Path) -> None:
    with (
        Ledger.create(tmp_path / "ledger", STOLEN) as ledger,
        pytest.raises(LedgerError, match="was never renewed"),
    ):
        finish_renewal(ledger)


@pytest.mark.slow
def test_a_long_log_is_renewed_in_pieces(tmp_path: Path) -> None:
    with Ledger.create(tmp_path / "ledger", STOLEN) as ledger:
        records = [NewRecord("decision", {"round": n}, f"person {n % 99}") for n in range(5000)]
        ledger.append_all(records)
        renew(ledger, NEW)
        assert ledger.size == 5001
        assert ledger.verify().sound
