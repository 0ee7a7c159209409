"""Exports, backups and restored ledgers, between both databases."""

import json
from pathlib import Path

import pytest

from rescind.core.errors import LedgerError
from rescind.ledger import (
    Ledger,
    LedgerKeyError,
    LocalKey,
    Shredded,
    create_key,
    shred,
    snapshot,
)
from rescind.ledger.shredding import backups


@pytest.fixture
def filled(where: Path | str, key: LocalKey) -> Path | str:
    with Ledger.create(where, key) as ledger:
        for number in range(40):
            subject = ("Ada", "Bela", None)[number % 3]
            ledger.append(
                "consent", {"event": "given", "n": number}, subject=subject, key=f"k/{number}"
            )
        shred(ledger, "Bela")
    return where


def test_a_restored_ledger_is_the_same_log(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger:
        kept = snapshot.write(ledger, tmp_path / "kept")
        facts = (ledger.id, ledger.size, ledger.root(), str(ledger.checkpoint()))
        records = list(ledger.records())
    assert (kept.size, kept.root) == (41, facts[2].hex())
    report = snapshot.load(tmp_path / "kept", tmp_path / "again", key, [(41, kept.root)])
    assert (report.sound, report.size, report.root) == (True, 41, kept.root)
    with Ledger.open(tmp_path / "again", key) as ledger:
        assert (ledger.id, ledger.size, ledger.root(), str(ledger.checkpoint())) == facts
        assert list(ledger.records()) == records
        again = ledger.append("consent", {"event": "given"}, subject="Ada", key="k/3")
        assert (again.index, again.new) == (3, False)
        ledger.append("consent", {"event": "given"}, subject="Ada")
        assert ledger.verify().sound


def test_a_ledger_moves_to_the_other_database(
    filled: Path | str, key: LocalKey, tmp_path: Path, cluster
) -> None:
    other = tmp_path / "file" if isinstance(filled, str) else cluster.new()
    with Ledger.open(filled, key) as ledger:
        snapshot.write(ledger, tmp_path / "kept")
        records = list(ledger.records())
    snapshot.load(tmp_path / "kept", other, key)
    with Ledger.open(other, key) as ledger:
        assert list(ledger.records()) == records


def test_a_snapshot_older_than_the_anchor_is_refused_and_leaves_nothing(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger:
        snapshot.write(ledger, tmp_path / "old")
        ledger.append("reward", {"round": 9})
        anchor = (ledger.size, ledger.root().hex())
    with pytest.raises(snapshot.SnapshotOld, match=r"holds 41 records, but the chain anchors 42"):
        snapshot.load(tmp_path / "old", tmp_path / "again", key, [anchor])
    with pytest.raises(snapshot.SnapshotInvalid, match="not the anchored ones"):
        snapshot.load(tmp_path / "old", tmp_path / "again", key, [(40, "00" * 32)])
    with pytest.raises(LedgerError, match="no ledger"):
        Ledger.open(tmp_path / "again", key)


def test_a_backup_does_not_restore_subjects_shredded_since(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger:
        near, far = tmp_path / "near", tmp_path / "far"
        for folder in (near, far):
            written = snapshot.write(ledger, folder)
            payload = {"path": str(folder), "size": written.size, "root": written.root}
            ledger.append("backup", payload)
        assert backups(ledger) == [near, far]
        far.rename(tmp_path / "taken away")
        before = (near / "entries.jsonl").read_bytes()
        done = shred(ledger, "Ada")
        assert (done.cleaned, done.out_of_reach) == ((str(near),), (str(far),))
        assert (near / "entries.jsonl").read_bytes() == before
        again = shred(ledger, "Ada")
        assert again.cleaned == (str(near),)
    snapshot.load(near, tmp_path / "again", key)
    with Ledger.open(tmp_path / "again", key) as ledger:
        shredded = [record.index for record in ledger.records() if isinstance(record, Shredded)]
        assert set(range(0, 40, 3)) < set(shredded)
        assert ledger.record(41).type == "tombstone"
        assert ledger.verify().sound


def test_damage_anywhere_in_a_snapshot_is_an_error(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger:
        snapshot.write(ledger, tmp_path / "kept")
    for number, path in enumerate(sorted((tmp_path / "kept").iterdir())):
        original = path.read_bytes()
        for cut in (0, len(original) // 2, len(original) - 1):
            path.write_bytes(original[:cut])
            with pytest.raises(LedgerError):
                snapshot.load(tmp_path / "kept", tmp_path / f"{number}-{cut}", key)
        step = max(1, len(original) // 25)
        for offset in range(0, len(original), step):
            path.write_bytes(
                original[:offset] + bytes([original[offset] ^ 1]) + original[offset + 1 :]
            )
            with pytest.raises(LedgerError):
                snapshot.load(tmp_path / "kept", tmp_path / f"{number}-{offset}", key)
        path.write_bytes(original)


@pytest.mark.parametrize("odd", [None, True, 1, -1, 2**70, 1.5, "", [], {}, [[]], "\ud800"])
def test_a_value_of_another_type_in_a_snapshot_is_an_error(
    key: LocalKey, tmp_path: Path, odd: object
) -> None:
    with Ledger.create(tmp_path / "ledger", key) as ledger:
        ledger.append("consent", {"event": "given"}, subject="Ada")
        snapshot.write(ledger, tmp_path / "kept")
    for name in ("log.json", "keys.jsonl", "entries.jsonl"):
        path = tmp_path / "kept" / name
        original = path.read_bytes()
        lines = [json.loads(line) for line in original.splitlines()]
        for field in [*lines[0], ""]:
            changed = [lines[0] | {field: odd} if field else odd, *lines[1:]]
            path.write_text("".join(f"{json.dumps(each)}\n" for each in changed))
            if [json.dumps(each) for each in changed] == [json.dumps(each) for each in lines]:
                continue
            with pytest.raises(LedgerError):
                snapshot.load(tmp_path / "kept", tmp_path / "again", key)
            assert not (tmp_path / "again" / "ledger.db").exists()
        path.write_bytes(original)


def test_a_snapshot_loads_with_its_own_key_only(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger:
        snapshot.write(ledger, tmp_path / "kept")
    with pytest.raises(LedgerKeyError):
        snapshot.load(tmp_path / "kept", tmp_path / "x", create_key(tmp_path / "other.key"))


def test_a_folder_without_a_snapshot_is_refused(key: LocalKey, tmp_path: Path) -> None:
    with pytest.raises(snapshot.SnapshotInvalid, match="no snapshot in"):
        snapshot.load(tmp_path, tmp_path / "x", key)


def test_a_snapshot_of_another_format_is_refused(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger:
        snapshot.write(ledger, tmp_path / "kept")
    document = json.loads((tmp_path / "kept" / "log.json").read_bytes())
    (tmp_path / "kept" / "log.json").write_text(json.dumps(document | {"format": "other/9"}))
    with pytest.raises(snapshot.SnapshotInvalid, match="has format 'other/9'"):
        snapshot.load(tmp_path / "kept", tmp_path / "x", key)


def test_a_snapshot_is_only_written_to_an_empty_folder(
    filled: Path | str, key: LocalKey, tmp_path: Path
) -> None:
    with Ledger.open(filled, key) as ledger, pytest.raises(LedgerError, match="is not empty"):
        snapshot.write(ledger, tmp_path)
