"""rescind data check: what it prints, and its exit codes."""

import json
from pathlib import Path
from typing import Any

from typer.testing import CliRunner

from rescind.cli.main import app

ROW = {"question": "Who?", "answer": "Ada.", "subject": "Ada"}


def check(*words: object) -> Any:
    return CliRunner().invoke(app, ["data", "check", *map(str, words)])


def test_good_data_is_described_and_exits_0(tmp_path: Path) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(ROW))
    done = check(path)
    assert (done.exit_code, "1 rows, 1 examples" in done.output) == (0, True), done.output
    assert json.loads(check(path, "--json").output)["subjects"] == 1


def test_a_problem_exits_11_with_file_and_line_and_a_warning_only_if_strict(tmp_path: Path) -> None:
    path = tmp_path / "data.csv"
    path.write_text("complaint,diagnosis,first,last\nq,a,Ada,Novak\nr,b,ada,novak\n")
    mapping = ["--map", "question=complaint", "--map", "answer=diagnosis"]
    mapping += ["--map", "subject={first} {last}"]
    done = check(path, *mapping)
    assert (done.exit_code, "look-alike-names" in done.output) == (0, True), done.output
    assert check(path, *mapping, "--strict").exit_code == 11
    done = check(path)
    assert (done.exit_code, "data.csv:2" in done.output) == (11, True)
    done = check(path, "--map", "quetsion=complaint")
    assert (done.exit_code, "unknown option" in done.output) == (10, True)
