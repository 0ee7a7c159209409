import json
import os
import stat
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.core import write_atomically
from rescind.core.canonical_json import canonical_json

CALLS = ("fsync file", "replace", "fsync folder")


def record_calls(monkeypatch: pytest.MonkeyPatch, fail_at: str | None = None) -> list[str]:
    """Record the calls that make a write durable; let one of them fail."""
    calls: list[str] = []
    fsync, replace = os.fsync, os.replace

    def note(name: str) -> None:
        calls.append(name)
        if name == fail_at:
            raise OSError(f"injected at {name}")

    def noted_fsync(descriptor: int) -> None:
        folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        note("fsync folder" if folder else "fsync file")
        fsync(descriptor)

    def noted_replace(source: Path, target: Path) -> None:
        note("replace")
        replace(source, target)

    monkeypatch.setattr(os, "fsync", noted_fsync)
    monkeypatch.setattr(os, "replace", noted_replace)
    return calls


def test_a_write_creates_or_replaces_the_file(tmp_path: Path) -> None:
    path = tmp_path / "file.json"
    write_atomically(path, b"old")
    assert path.read_bytes() == b"old"
    write_atomically(path, b"new")
    assert path.read_bytes() == b"new"
    assert list(tmp_path.iterdir()) == [path]


def test_the_file_is_flushed_before_the_rename_and_the_folder_after_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    calls = record_calls(monkeypatch)
    write_atomically(tmp_path / "file", b"content")
    assert calls == list(CALLS)


@pytest.mark.parametrize("fail_at", CALLS)
def test_a_failed_write_leaves_the_whole_old_or_the_whole_new_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, fail_at: str
) -> None:
    path = tmp_path / "file"
    write_atomically(path, b"old")
    record_calls(monkeypatch, fail_at)
    with pytest.raises(OSError, match=f"injected at {fail_at}"):
        write_atomically(path, b"new")
    assert path.read_bytes() == (b"new" if fail_at == "fsync folder" else b"old")
    assert list(tmp_path.iterdir()) == [path], "the temporary file is removed"


def test_the_mode_is_set_when_the_file_is_created(tmp_path: Path) -> None:
    path = tmp_path / "secret"
    path.touch(mode=0o644)
    write_atomically(path, b"content", mode=0o600)
    assert stat.S_IMODE(path.stat().st_mode) == 0o600


def test_a_missing_folder_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        write_atomically(tmp_path / "missing" / "file", b"content")


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ({"b": 1, "a": [None, True, 0.1]}, b'{"a":[null,true,0.1],"b":1}'),
        ({"name": "Zoë", "emoji": "\U0001f600"}, b'{"emoji":"\\ud83d\\ude00","name":"Zo\\u00eb"}'),
        ({"lone": "\ud800"}, b'{"lone":"\\ud800"}'),
        ([1e22, 10**22, -0.0], b"[1e+22,10000000000000000000000,-0.0]"),
        ({}, b"{}"),
    ],
)
def test_canonical_json_has_golden_bytes(value: object, expected: bytes) -> None:
    assert canonical_json(value) == expected


JSON = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats(allow_nan=False, allow_infinity=False)
    # Lone surrogates too: they are escaped, so that ASCII holds them.
    | st.text(st.characters(exclude_categories=())),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


@given(JSON)
@settings(deadline=None)
def test_canonical_json_is_what_each_format_was_written_with(value: object) -> None:
    """Manifests and statistics did not pass allow_nan=False; without NaN the bytes are the same."""
    assert (
        canonical_json(value) == json.dumps(value, sort_keys=True, separators=(",", ":")).encode()
    )


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_canonical_json_refuses_what_json_cannot_write(value: object) -> None:
    with pytest.raises(ValueError, match="JSON compliant"):
        canonical_json(value)


def test_canonical_json_refuses_other_objects() -> None:
    with pytest.raises(TypeError, match="not JSON serializable"):
        canonical_json({"a": b"bytes"})
