"""Options of rescind export that cannot be meant together."""

from pathlib import Path

import pytest
from typer.testing import CliRunner

from rescind.cli.main import app


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ([], "Name a folder with --peft, --merged, --gguf or --heads."),
        (["--peft", "x", "--gguf", "./x"], "Each format needs a folder of its own."),
        (["--peft", "x", "--heads", "./x"], "Each format needs a folder of its own."),
        (["--peft", "x", "--all", "--organization", "a"], "Leave out --organization, or --all."),
        (["--peft", "x", "--revision", "v1"], "Give --base, too."),
        (["--merged", "x", "--dtype", "int8"], "--dtype int8: give float32 or bfloat16."),
    ],
)
def test_options_that_cannot_be_meant_are_refused(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, options: list[str], message: str
) -> None:
    monkeypatch.chdir(tmp_path)
    done = CliRunner().invoke(app, ["export", str(tmp_path), *options])
    assert (done.exit_code, message in done.stderr) == (10, True), done.output
    assert list(tmp_path.iterdir()) == []
