"""Certificates on the command line: requested, signed, taken, renewed; nothing is left half-made."""

import os
import re
from pathlib import Path

import pytest
from typer.testing import CliRunner

from rescind.cli.main import app
from rescind.wire import Enrolment, new_key, signing_request


def run(*words: object, code: int = 0, typed: str = "") -> str:
    result = CliRunner().invoke(app, [str(word) for word in words], input=typed)
    assert result.exit_code == code, result.output
    return " ".join(result.output.split())


def test_an_organization_is_made_and_certified(tmp_path: Path) -> None:
    folder, ca, out = tmp_path / "org", tmp_path / "ca", tmp_path / "certificate.pem"
    made = run("org", "init", folder, "--name", "hospital", "--serve", "node.example")
    assert "address: 0x" in made
    assert "not empty" in run("org", "init", folder, "--name", "hospital", code=10)
    assert (folder / "keystore.json").stat().st_mode & 0o077 == 0
    assert (folder / "password").stat().st_mode & 0o077 == 0
    request = folder / "tls" / "request.pem"
    shown = run("org", "sign", request, "--ca", ca, "--out", out, typed="y\n")
    assert "serves: node.example" in shown
    assert "an organization certificate" in shown
    taken = run("org", "accept", folder, out, "--authority", ca / "authority.pem")
    assert re.search(r"fingerprint: [0-9a-f]{64} installed: yes", taken), taken
    Enrolment.in_folder(folder / "tls").tls.check(serves=True)
    run("org", "request", folder, "--name", "hospital", "--serve", "other.example")
    run("org", "sign", request, "--ca", ca, "--out", out, "--yes")
    assert "installed: no" in run("org", "accept", folder, out)
    assert "installed: yes" in run("org", "accept", folder, out, "--install")


def test_an_organization_that_serves_nothing_is_certified_as_a_caller(tmp_path: Path) -> None:
    run("org", "init", tmp_path / "org", "--name", "hospital")
    request = tmp_path / "org" / "tls" / "request.pem"
    words = ("org", "sign", request, "--ca", tmp_path / "ca", "--out", tmp_path / "c.pem")
    assert "serves: nothing, it only calls others" in run(*words, "--yes")
    assert "serves: 10.0.0.1, a.example" in run(
        *words, "--yes", "--serve", "10.0.0.1", "--serve", "a.example"
    )


def test_a_request_is_signed_only_after_a_yes(tmp_path: Path) -> None:
    (tmp_path / "r.pem").write_bytes(signing_request(new_key(tmp_path / "k.pem"), "x", ["a.b"]))
    words = (
        "org",
        "sign",
        tmp_path / "r.pem",
        "--ca",
        tmp_path / "ca",
        "--out",
        tmp_path / "c.pem",
    )
    assert "serves: a.b" in run(*words, code=10, typed="n\n")
    assert "Not signed" in run(*words, code=10)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["k.pem", "r.pem"]


@pytest.mark.parametrize("content", [b"", b"\xff\xfe"])
def test_a_file_that_is_no_request_makes_no_authority(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "r.pem").write_bytes(content)
    words = (
        "org",
        "sign",
        tmp_path / "r.pem",
        "--ca",
        tmp_path / "ca",
        "--out",
        tmp_path / "c.pem",
    )
    assert "not a certificate signing request" in run(*words, "--yes", code=14)
    assert [path.name for path in tmp_path.iterdir()] == ["r.pem"]
    assert "cannot be read" in run(
        "org", "sign", tmp_path / "gone", "--ca", tmp_path / "ca", "--out", tmp_path / "c", code=10
    )


@pytest.mark.parametrize("bad", [("--name", "x" * 65), ("--name", "x", "--serve", "a b")])
def test_a_refused_identity_leaves_nothing(tmp_path: Path, bad: tuple[str, ...]) -> None:
    run("org", "init", tmp_path / "org", *bad, code=14)
    assert list(tmp_path.iterdir()) == []


def test_a_full_disk_leaves_no_key_without_a_certificate(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace, written = os.replace, []

    def full(source: object, place: object) -> None:
        written.append(place)
        if len(written) == 3:
            raise OSError(28, "No space left on device", str(place))
        replace(source, place)

    monkeypatch.setattr(os, "replace", full)
    assert "No space left" in run("org", "init", tmp_path / "org", "--name", "hospital", code=3)
    assert list(tmp_path.iterdir()) == []


def test_another_authority_comes_with_a_bundle_of_both(tmp_path: Path) -> None:
    run("org", "authority", tmp_path / "old", "--name", "old")
    run("org", "init", tmp_path / "org", "--name", "hospital", "--ca", tmp_path / "old")
    run("org", "authority", tmp_path / "new", "--name", "new", "--replaces", tmp_path / "old")
    alone = tmp_path / "new" / "authority.pem"
    assert "'old' with another key" not in run("org", "trust", tmp_path / "org", alone, code=14)
    bundle = tmp_path / "new" / "bundle.pem"
    assert "CN=old" in run("org", "trust", tmp_path / "org", bundle)
    assert "not empty" in run("org", "authority", tmp_path / "new", code=10)
