"""Messages of `rescind ledger` without a node and without a chain."""

import json
from pathlib import Path

import pytest
from click.testing import Result
from typer.testing import CliRunner

from rescind.cli.main import app


def rescind(*words: object) -> Result:
    return CliRunner().invoke(app, ["ledger", *map(str, words)])


def run_json(*words: object):
    result = rescind(*words, "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


@pytest.fixture(params=["sqlite", "postgres"])
def ledger_options(request: pytest.FixtureRequest, tmp_path: Path) -> list[object]:
    where = tmp_path / "ledger"
    if request.param == "postgres":
        where = request.getfixturevalue("cluster").new()
    ledger_options = ["--ledger", where, "--key-file", tmp_path / "key"]
    run_json("init", *ledger_options)
    return ledger_options


def test_records_are_added_shown_and_shredded(ledger_options: list[object], tmp_path: Path) -> None:
    given = json.dumps({"event": "given", "to": "all"})
    first = run_json(
        "append", "--type", "consent", "--subject", "Ada", "--payload", given, *ledger_options
    )
    again = ["append", "--type", "consent", "--payload", given, "--once", "x", *ledger_options]
    assert (first["index"], run_json(*again)["new"], run_json(*again)["new"]) == (0, True, False)
    shown = run_json("show", "--subject", "Ada", *ledger_options)
    assert [(record["index"], record["payload"]) for record in shown] == [(0, json.loads(given))]
    kept = run_json("backup", tmp_path / "backups", *ledger_options)
    done = run_json("shred", "--subject", "Ada", *ledger_options)
    assert (done["records"], done["tombstone"], done["cleaned"]) == (1, 3, [kept["path"]])
    lines = rescind("show", *ledger_options).output.splitlines()
    assert [line.split()[3:5] for line in lines[:2]] == [
        ["consent", "shredded"],
        ["consent", '{"event":'],
    ]
    assert run_json("fsck", *ledger_options)["sound"]
    assert (
        "holds no records of that subject"
        in rescind("shred", "--subject", "Ada", *ledger_options).output
    )


def test_a_record_is_proven_in_one_file(ledger_options: list[object], tmp_path: Path) -> None:
    for number in range(3):
        run_json(
            "append",
            "--type",
            "reward",
            "--payload",
            json.dumps({"round": number}),
            *ledger_options,
        )
    path = tmp_path / "file.json"
    assert run_json("prove", 1, "--out", path, *ledger_options)["log_size"] == 3
    result = run_json("check", path)
    assert [check["status"] for check in result["checks"]] == ["passed", "passed", "skipped"]
    assert result["disclosed"]["payload"] == {"round": 1}
    path.write_text(path.read_text().replace('"round": 1', '"round": 2'))
    refused = rescind("check", path)
    assert refused.exit_code == 63
    assert "REFUSED" in refused.output
    path.write_text("nothing")
    assert rescind("check", path).exit_code == 60
    assert rescind("check", tmp_path / "not there").exit_code == 60


def test_a_checkpoint_that_was_kept_tells_since_when_a_log_differs(
    ledger_options: list[object], tmp_path: Path
) -> None:
    from rescind.ledger import Ledger, load_key

    notes = []
    for number in range(4):
        run_json(
            "append",
            "--type",
            "reward",
            "--payload",
            json.dumps({"round": number}),
            *ledger_options,
        )
        notes.append(tmp_path / f"{number}.txt")
        notes[-1].write_text(rescind("checkpoint", *ledger_options).stdout)
    words = [word for note in notes for word in ("--checkpoint", note)]
    assert run_json("fsck", *words, *ledger_options)["anchors_compared"] == 4
    where, key = str(ledger_options[1]), load_key(tmp_path / "key")
    with Ledger.open(where, key) as ledger, ledger.database.writing() as connection:
        connection.exec_driver_sql("DELETE FROM entries WHERE position = 3")
        connection.exec_driver_sql("DELETE FROM nodes WHERE place = 3 AND level = 0")
        connection.exec_driver_sql("DELETE FROM nodes WHERE place = 1 AND level = 1")
        connection.exec_driver_sql("DELETE FROM nodes WHERE level = 2")
    result = rescind("fsck", *words, *ledger_options)
    assert result.exit_code == 30
    assert "the first 3 records still agree with the chain" in result.output
    notes[0].write_text("no checkpoint")
    assert rescind("fsck", *words, *ledger_options).exit_code == 16


def test_a_ledger_is_moved_and_keys_are_rotated(
    ledger_options: list[object], tmp_path: Path
) -> None:
    run_json(
        "append",
        "--type",
        "consent",
        "--subject",
        "Ada",
        "--payload",
        '{"event": "given"}',
        *ledger_options,
    )
    moved = ["--ledger", tmp_path / "moved", "--key-file", tmp_path / "key"]
    root = run_json("export", tmp_path / "out", *ledger_options)["root"]
    assert run_json("import", tmp_path / "out", *moved)["root"] == root
    run_json("rotate", "--new-key-file", tmp_path / "new", *moved)
    assert rescind("show", *moved).exit_code == 16
    moved[-1] = tmp_path / "new"
    assert run_json("show", *moved)[0]["subject"] == "Ada"
    refused = rescind("restore", tmp_path / "out", *moved)
    assert refused.exit_code == 10
    assert "--without-chain" in refused.stderr
    assert rescind("upgrade", "--ledger", tmp_path / "moved").exit_code == 0


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["show"], 10, "to select a ledger"),
        (["show", "--ledger", "nowhere"], 16, "no ledger key"),
        (["init", "--ledger", "mysql://x/y", "--key-file", "k"], 16, "cannot be stored in mysql"),
        (["init", "--ledger", "postgresql://127.0.0.1:1/x", "--key-file", "k"], 16, "cannot read"),
        (["append", "--type", "x", "--payload", "[1]", "--ledger", "l"], 16, "not a JSON object"),
        (["append", "--type", "x", "--payload", "{", "--ledger", "l"], 16, "is not valid JSON"),
        (
            ["prove", "0", "--out", "o", "--organization", "0x", "--ledger", "l"],
            16,
            "no ledger key",
        ),
        (["anchor"], 10, "--config node.toml"),
        (["cosign", "--at", "x:1"], 10, "--config node.toml"),
    ],
)
def test_what_is_wrong_is_said(
    words: list[str], code: int, said: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("COLUMNS", "300")
    result = rescind(*words)
    assert result.exit_code == code, result.output
    assert said in result.stderr
