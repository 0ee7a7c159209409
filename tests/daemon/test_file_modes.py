"""Tests of what daemons and commands leave on the disk, and what they refuse to start with."""

from pathlib import Path

import pytest
from structlog.testing import capture_logs
from typer.testing import CliRunner

from rescind.cli.main import app
from rescind.core import FileModeRefused
from rescind.daemon import (
    IdentitySettings,
    Journal,
    check_config_mode,
    check_file_modes,
    keep_new_files_private,
    open_keystore,
)
from tests.support.file_modes import mode, open_to_others, umask

UMASKS = pytest.mark.parametrize("mask", [0o022, 0o000])
PUBLIC = frozenset({"request.pem", "certificate.pem", "authority.pem", "organization.pem"})


def make_organization(folder: Path) -> IdentitySettings:
    words = ["org", "init", str(folder), "--name", "hospital", "--ca", str(folder.parent / "ca")]
    request = ["org", "init", str(folder.parent / "first"), "--name", "first"]
    sign = ["org", "sign", "--yes", str(folder.parent / "first" / "tls" / "request.pem")]
    sign += ["--ca", str(folder.parent / "ca"), "--out", str(folder.parent / "first.pem")]
    for command in (request, sign, words):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    tls = folder / "tls"
    return IdentitySettings(
        keystore=folder / "keystore.json",
        password_file=folder / "password",
        tls_key=tls / "key.pem",
        tls_certificate=tls / "certificate.pem",
        ca_certificate=tls / "authority.pem",
    )


@UMASKS
def test_keys_password_and_ledger_of_a_new_organization_are_its_own(
    tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        make_organization(tmp_path / "org")
    assert open_to_others(tmp_path / "org", PUBLIC) == []
    assert open_to_others(tmp_path / "ca", PUBLIC) == []


@UMASKS
def test_a_journal_and_the_files_that_sqlite_puts_beside_it_are_its_owners(
    tmp_path: Path, mask: int
) -> None:
    with umask(mask):
        journal = Journal(tmp_path / "state" / "node.db")
        journal.set("salt", "secret")
        with journal._engine.connect() as connection:
            connection.exec_driver_sql("SELECT * FROM facts").fetchall()
            names = {path.name for path in (tmp_path / "state").iterdir()}
            assert names == {"node.db", "node.db-wal", "node.db-shm"}
            assert open_to_others(tmp_path / "state") == []


def test_a_daemon_closes_what_an_earlier_version_left_open_and_says_so(tmp_path: Path) -> None:
    identity = make_organization(tmp_path / "org")
    state, data = tmp_path / "org" / "state", tmp_path / "org" / "private.jsonl"
    state.mkdir()
    for path in (state / "node.db", data):
        path.write_bytes(b"")
        path.chmod(0o644)
    state.chmod(0o755)
    with capture_logs() as logs:
        check_file_modes([state], identity, private=[data])
        check_file_modes([state], identity, private=[data])
    assert [(each["log_level"], each["count"], each["files"]) for each in logs] == [
        ("warning", 3, [str(state), str(state / "node.db"), str(data)])
    ]
    assert (mode(state), mode(state / "node.db"), mode(data)) == (0o700, 0o600, 0o600)


@pytest.mark.parametrize("name", ["keystore.json", "password", "tls/key.pem", "ledger.key"])
def test_a_daemon_does_not_start_with_a_key_that_others_can_read(tmp_path: Path, name: str) -> None:
    identity = make_organization(tmp_path / "org")
    path = tmp_path / "org" / name
    path.chmod(0o640)
    with pytest.raises(FileModeRefused, match=f"chmod 600 {path}"):
        check_file_modes([], identity, secrets=[tmp_path / "org" / "ledger.key"])


def test_no_command_opens_a_keystore_whose_password_others_can_read(tmp_path: Path) -> None:
    identity = make_organization(tmp_path / "org")
    identity.password_file.chmod(0o604)
    with pytest.raises(FileModeRefused, match="chmod 600"):
        open_keystore(identity.keystore, identity.password_file)


def test_what_libraries_write_in_a_daemon_is_private_too(tmp_path: Path) -> None:
    with umask(0):
        keep_new_files_private()
        (tmp_path / "temporary").write_bytes(b"")
    assert mode(tmp_path / "temporary") == 0o600


@pytest.mark.parametrize(
    ("url", "bits", "warned"),
    [
        ("https://node.example/v3/KEY", 0o644, True),
        ("postgresql://ada:word@db/ledger", 0o604, True),
        ("https://node.example/v3/KEY", 0o640, False),
        ("http://127.0.0.1:8545/", 0o644, False),
        (None, 0o644, False),
    ],
)
def test_a_configuration_with_a_key_that_others_can_read_is_warned_of(
    tmp_path: Path, url: str | None, bits: int, warned: bool
) -> None:
    path = tmp_path / "node.toml"
    path.touch()
    path.chmod(bits)
    with capture_logs() as logs:
        check_config_mode(path, "http://127.0.0.1:8545", url)
    assert [each["run"] for each in logs] == [f"chmod 600 {path}"] * warned
    assert "KEY" not in str(logs)
    assert mode(path) == bits
