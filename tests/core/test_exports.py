"""Marks of exported copies, and the deletion of the copies of erased adapters."""

import json
from pathlib import Path

import pytest

from rescind.core.exports import MARK, Export, delete_exports, exports_in

ERASED, KEPT = "11" * 32, "22" * 32


def export(folder: Path, adapter_id: str) -> Path:
    folder.mkdir(parents=True)
    (folder / "adapter_model.safetensors").write_bytes(b"weights")
    Export(folder, adapter_id, ("adapter_model.safetensors",)).save()
    return folder


def test_copies_of_erased_adapters_are_deleted_and_others_stay(tmp_path: Path) -> None:
    erased = export(tmp_path / "served" / "old", ERASED)
    kept = export(tmp_path / "served" / "new", KEPT)
    delete_exports([tmp_path / "served", tmp_path / "missing"], {ERASED})
    assert not erased.exists()
    assert (kept / "adapter_model.safetensors").exists()


def test_a_folder_may_be_named_itself_and_keeps_files_that_are_not_the_exports(
    tmp_path: Path,
) -> None:
    folder = export(tmp_path / "old", ERASED)
    (folder / "notes.txt").write_text("my own")
    delete_exports([folder], {ERASED})
    assert [path.name for path in folder.iterdir()] == ["notes.txt"]


@pytest.mark.parametrize(
    "mark",
    [
        "no JSON",
        "[]",
        json.dumps({"format": "rescind.export/1", "adapter": ERASED, "files": ["../victim"]}),
        json.dumps({"format": "another", "adapter": ERASED, "files": []}),
    ],
)
def test_a_mark_that_is_not_ours_deletes_nothing(tmp_path: Path, mark: str) -> None:
    victim, folder = tmp_path / "victim", tmp_path / "copy"
    victim.write_text("mine")
    folder.mkdir()
    (folder / MARK).write_text(mark)
    assert list(exports_in([folder])) == []
    delete_exports([folder], {ERASED})
    assert victim.exists()
    assert (folder / MARK).exists()
