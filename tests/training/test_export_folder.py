"""The folder of an export is written whole or not at all, and never over anything else."""

import errno
import json
from pathlib import Path

import pytest
from safetensors import SafetensorError

from rescind.core import StoreFull
from rescind.core.errors import ConfigError
from rescind.core.exports import MARK, Export, delete_exports
from rescind.training.export.folder import new_export
from rescind.training.export.reference import BaseReference

FACTS = {"adapter": "ab" * 32, "owner": "0x" + "11" * 20, "kind": "peft"}


def write(target: Path, text: str = "new", **facts: str) -> None:
    with new_export(target, FACTS | facts) as folder:
        (folder / "sub").mkdir()
        (folder / "sub" / "weights").write_text(text)


def write_half(target: Path, number: int) -> None:
    with new_export(target, FACTS) as folder:
        (folder / "weights").write_text("half")
        raise OSError(number, "said by the system", str(folder / "weights"))


def entries(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()}


def test_an_export_is_marked_and_can_be_written_again(tmp_path: Path) -> None:
    target = tmp_path / "deep" / "out"
    write(target, "old")
    write(target, "new")
    assert (target / "sub" / "weights").read_text() == "new"
    assert entries(target) == {"sub", MARK}
    assert entries(target.parent) == {"out"}
    export = Export.read(target)
    assert export is not None
    assert export.files == ("sub/weights",)


@pytest.mark.parametrize(
    ("prepare", "message"),
    [
        (lambda t: t.write_text("x"), "is not a folder"),
        (lambda t: (t.mkdir(), (t / "thesis.txt").write_text("x")), "not an export"),
        (lambda t: (write(t), (t / "notes.txt").write_text("x")), "no export wrote, .* notes.txt"),
        (lambda t: write(t, owner="0x" + "22" * 20), "export of another owner: 0x22"),
        (lambda t: write(t, kind="merged"), "export of another kind: merged"),
    ],
)
def test_nothing_else_is_overwritten(tmp_path: Path, prepare, message: str) -> None:
    target = tmp_path / "out"
    prepare(target)
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    with pytest.raises(ConfigError, match=message):
        write(target)
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


@pytest.mark.parametrize(
    ("number", "kind", "message"),
    [
        (errno.ENOSPC, StoreFull, "no room for the export"),
        (errno.EACCES, ConfigError, "Permission denied"),
        (errno.EROFS, ConfigError, "Read-only file system"),
    ],
)
def test_a_failed_write_leaves_the_earlier_export(
    tmp_path: Path, number: int, kind: type[Exception], message: str
) -> None:
    target = tmp_path / "out"
    write(target, "old")
    with pytest.raises(kind, match=message):
        write_half(target, number)
    assert (target / "sub" / "weights").read_text() == "old"
    assert entries(tmp_path) == {"out"}


@pytest.mark.parametrize(
    "error",
    [
        OSError(errno.ENOSPC, "No space left on device"),  # of a write to an open file
        SafetensorError("Error while serializing: I/O error: No space left (os error 28)"),
    ],
)
def test_a_full_disk_is_named_by_whatever_writes(tmp_path: Path, error: Exception) -> None:
    def fill() -> None:
        with new_export(tmp_path / "out", FACTS):
            raise error

    with pytest.raises(StoreFull, match="no room for the export"):
        fill()
    assert entries(tmp_path) == set()


def test_a_file_that_cannot_be_read_is_not_taken_for_a_full_disk(tmp_path: Path) -> None:
    missing = tmp_path.parent / "base" / "tokenizer.json"
    with pytest.raises(FileNotFoundError), new_export(tmp_path / "out", FACTS):
        missing.read_bytes()
    assert entries(tmp_path) == set()


def test_a_disk_without_room_is_said_before_anything_is_written(tmp_path: Path) -> None:
    with (
        pytest.raises(StoreFull, match="takes about 1073741824 MiB"),
        new_export(tmp_path / "out", FACTS, needed_bytes=2**50),
    ):
        pytest.fail("the block must not run")
    assert entries(tmp_path) == set()


def test_an_interrupted_export_is_erased_with_its_adapter(tmp_path: Path) -> None:
    part = tmp_path / ".out.0123.part"
    part.mkdir()
    (part / "weights").write_text("half of it")
    Export(part, FACTS["adapter"], (), {"unfinished": True}).save()
    whole = tmp_path / "out"
    write(whole)
    delete_exports([tmp_path], {FACTS["adapter"]})
    assert entries(tmp_path) == set()


def test_a_mark_cannot_name_files_outside_its_folder(tmp_path: Path) -> None:
    for name in ("../victim", "/etc/passwd", "a/../../victim", ".", "a//b"):
        document = {"format": "rescind.export/1", "adapter": "ab" * 32, "files": [name]}
        (tmp_path / MARK).write_text(json.dumps(document))
        assert Export.read(tmp_path) is None


COMMIT = "0123456789abcdef0123456789abcdef01234567"


@pytest.mark.parametrize(
    ("reference", "folder", "name", "revision"),
    [
        ("org/model", f"hub/models--org--model/snapshots/{COMMIT}", "org/model", COMMIT),
        ("cached", f"hub/models--org--model/snapshots/{COMMIT}", "org/model", COMMIT),
        ("org/model", "elsewhere/abc", "org/model", None),
        ("org/model@v1", "elsewhere/abc", "org/model", "v1"),
        ("/home/me/base", "base", "./base", None),
    ],
)
def test_a_base_model_is_named_for_other_machines(
    tmp_path: Path, reference: str, folder: str, name: str, revision: str | None
) -> None:
    found = BaseReference.of(reference, tmp_path / folder)
    assert (found.name, found.revision) == (name, revision)


def test_a_preset_and_a_folder_are_not_taken_for_hub_ids(tmp_path: Path) -> None:
    assert BaseReference.of("tiny", tmp_path, "tiny") == BaseReference("./tiny", preset="tiny")
    for reference in (BaseReference.of("tiny", tmp_path, "tiny"), BaseReference.given("/m", None)):
        assert not reference.on_hub
    assert BaseReference.given("org/model", "v2") == BaseReference("org/model", "v2")
    with pytest.raises(ConfigError, match="only a hub id has a revision"):
        BaseReference.given("./m", "v2")
    with pytest.raises(ConfigError, match="--base is empty"):
        BaseReference.given(" ", None)
