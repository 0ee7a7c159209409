import fcntl
import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from rescind.core import (
    ArtifactStore,
    FileModeRefused,
    append_private,
    create_private,
    demand_secret,
    encode,
    ensure_private,
    make_private_folder,
    narrow_file,
    narrow_folder,
    write_private,
)
from tests.support.file_locks import another_process_can_lock
from tests.support.file_modes import mode, open_to_others, umask

UMASKS = pytest.mark.parametrize("mask", [0o022, 0o000, 0o077])


@contextmanager
def owned_by_another(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Let files look as if another user owned them."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "geteuid", lambda: os.getuid() + 1)
        yield


@UMASKS
def test_new_files_and_folders_are_for_their_owner_alone(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        make_private_folder(tmp_path / "state" / "inner")
        write_private(tmp_path / "state" / "written", b"secret")
        create_private(tmp_path / "state" / "created").close()
        append_private(tmp_path / "state" / "log").close()
    assert mode(tmp_path / "state") == mode(tmp_path / "state" / "inner") == 0o700
    assert {mode(path) for path in (tmp_path / "state").iterdir() if path.is_file()} == {0o600}


@UMASKS
def test_a_new_private_file_is_never_open_to_others_while_it_is_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, mask: int
) -> None:
    seen: list[int] = []
    fsync = os.fsync

    def look(descriptor: int) -> None:
        if stat.S_ISREG(os.fstat(descriptor).st_mode):
            seen.append(stat.S_IMODE(os.fstat(descriptor).st_mode))
        fsync(descriptor)

    monkeypatch.setattr(os, "fsync", look)
    with umask(mask):
        write_private(tmp_path / "secret", b"content")
    assert seen == [0o600]


@UMASKS
def test_artifacts_are_stored_for_their_owner_alone(tmp_path: Path, mask: int) -> None:
    with umask(mask):
        ArtifactStore(tmp_path / "store").put(encode({}))
    assert open_to_others(tmp_path / "store") == []


def test_a_log_that_others_can_read_is_closed_before_more_is_written(tmp_path: Path) -> None:
    log = tmp_path / "log"
    log.write_bytes(b"old")
    log.chmod(0o644)
    with append_private(log) as file:
        file.write(b" and new")
    assert log.read_bytes() == b"old and new"
    assert mode(log) == 0o600


def test_a_new_private_file_replaces_no_other(tmp_path: Path) -> None:
    write_private(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        create_private(tmp_path / "key")
    (tmp_path / "file").touch()
    with pytest.raises(FileExistsError):
        make_private_folder(tmp_path / "file")


def test_an_open_state_folder_is_mended_and_each_path_named(tmp_path: Path) -> None:
    state = tmp_path / "state"
    (state / "store").mkdir(parents=True)
    for path in (state / "node.db", state / "store" / "artifact"):
        path.write_bytes(b"")
        path.chmod(0o644)
    state.chmod(0o755)
    (state / "store").chmod(0o700)
    assert narrow_folder(state) == [state, state / "node.db", state / "store" / "artifact"]
    assert open_to_others(state) == []
    assert narrow_folder(state) == []
    assert narrow_folder(tmp_path / "missing") == []


def test_a_link_out_of_a_state_folder_changes_nothing_elsewhere(tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.write_bytes(b"")
    public.chmod(0o644)
    state = tmp_path / "state"
    make_private_folder(state)
    (state / "link").symlink_to(public)
    assert narrow_folder(state) == []
    assert mode(public) == 0o644


def test_a_state_folder_of_another_user_that_others_can_enter_is_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    state = tmp_path / "state"
    state.mkdir()
    state.chmod(0o755)
    with (
        owned_by_another(monkeypatch),
        pytest.raises(FileModeRefused, match=f"0755.*chmod 700 {state}$"),
    ):
        narrow_folder(state)
    assert mode(state) == 0o755


def test_own_private_data_is_mended_and_that_of_another_user_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data = tmp_path / "private.jsonl"
    data.write_bytes(b"")
    data.chmod(0o644)
    with (
        owned_by_another(monkeypatch),
        pytest.raises(FileModeRefused, match=f"chmod 600 {data}$"),
    ):
        narrow_file(data)
    assert narrow_file(data)
    assert mode(data) == 0o600
    assert not narrow_file(data)
    assert not narrow_file(tmp_path / "missing")


@pytest.mark.parametrize("bits", [0o644, 0o640, 0o604, 0o620])
def test_a_secret_that_others_can_read_is_refused_with_the_command_that_closes_it(
    tmp_path: Path, bits: int
) -> None:
    secret = tmp_path / "password"
    secret.write_bytes(b"hunter2")
    secret.chmod(bits)
    with pytest.raises(FileModeRefused) as refused:
        demand_secret(secret)
    assert str(refused.value).endswith(f"chmod 600 {secret}")
    assert f"{bits:04o}" in str(refused.value)
    assert mode(secret) == bits, "a secret that was read by others is not hushed up"
    secret.chmod(0o600)
    demand_secret(secret)


def test_a_mounted_secret_may_be_readable_by_the_group_but_not_by_all(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    secret = tmp_path / "password"
    secret.write_bytes(b"hunter2")
    with owned_by_another(monkeypatch):
        secret.chmod(0o440)
        demand_secret(secret)
        secret.chmod(0o444)
        with pytest.raises(FileModeRefused):
            demand_secret(secret)


def test_a_missing_secret_or_a_pipe_is_left_to_its_reader(tmp_path: Path) -> None:
    demand_secret(tmp_path / "missing")
    os.mkfifo(tmp_path / "pipe", 0o644)
    demand_secret(tmp_path / "pipe")


def test_a_file_that_this_process_has_locked_keeps_its_lock(tmp_path: Path) -> None:
    """SQLite relies on the lock: opening a journal again must not free the locks of the first opening."""
    path = tmp_path / "journal"
    ensure_private(path)
    path.chmod(0o644)
    with path.open("w") as file:
        fcntl.lockf(file, fcntl.LOCK_EX)
        ensure_private(path)
        assert not another_process_can_lock(path)
    assert mode(path) == 0o600
