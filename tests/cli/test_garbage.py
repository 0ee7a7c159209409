"""Every command that is given garbage ends with a clear line, and never with a traceback."""

from __future__ import annotations

import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer
from typer.testing import CliRunner

from rescind.cli.main import app

TRIALS = 4
VALUES = (
    *("", "missing", "empty", "binary", "broken.toml", "broken.json", "list.json", "null.json"),
    *("odd.toml", "folder", "rows.jsonl", "nan.json", "deep.json", "a/b", "../.."),
    *("/dev/null", "\x00x", "-1", "0", "9" * 20, "nan", "é" * 300, "0x" + "ab" * 20, "ab" * 32),
    *("http://127.0.0.1:9", "http://["),
)
NUMBERS = ("0", "1", "2", "-1", "2.5", "nan", "inf", "9" * 20)


def commands(group: Any, path: tuple[str, ...] = ()) -> Iterator[tuple[tuple[str, ...], Any]]:
    for name, command in group.commands.items():
        if hasattr(command, "commands"):
            yield from commands(command, (*path, name))
        else:
            yield (*path, name), command


COMMANDS = {
    " ".join(path): command
    for path, command in commands(typer.main.get_command(app))
    # It would begin a run: all that it is given may be left out.
    if path != ("demo",)
}


@pytest.fixture
def garbage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Work in a folder with files of many wrong kinds."""
    monkeypatch.chdir(tmp_path)
    texts = {
        "empty": "",
        "broken.toml": "a = [\n",
        "broken.json": '{"a": ',
        "list.json": "[1, 2]",
        "null.json": "null",
        "odd.toml": "[node]\nurl = 5\n",
        "rows.jsonl": '{"question": 5}\n',
        "nan.json": '{"a": NaN}',
        "deep.json": "[" * 100_000,
    }
    for name, text in texts.items():
        Path(name).write_text(text, encoding="utf-8")
    Path("binary").write_bytes(random.Random(0).randbytes(5000))
    Path("folder").mkdir()


def words(command: Any, dice: random.Random) -> Iterator[str]:
    """Yield arguments and options of a command, most of them wrong."""
    for parameter in command.params:
        if parameter.param_type_name == "argument":
            if parameter.required or dice.random() < 0.8:
                yield dice.choice(VALUES)
        elif parameter.name != "help" and (parameter.required or dice.random() < 0.35):
            yield max(parameter.opts, key=len)
            if not parameter.is_flag:
                yield _value(parameter, dice)


def _value(parameter: Any, dice: random.Random) -> str:
    kind = parameter.bare_type
    if dice.random() < 0.7:
        if isinstance(kind, type) and issubclass(kind, int | float):
            return dice.choice(NUMBERS)
        members = list(getattr(kind, "__members__", {}).values())
        if members:
            return str(dice.choice(members).value)
    return dice.choice(VALUES)


@pytest.mark.slow
@pytest.mark.usefixtures("garbage")
@pytest.mark.parametrize("name", COMMANDS)
def test_a_command_refuses_garbage_with_a_clear_line(name: str) -> None:
    dice = random.Random(name)
    for _ in range(TRIALS):
        given = [*name.split(), *words(COMMANDS[name], dice)]
        result = CliRunner().invoke(app, given, input="")
        unexpected = result.exception and not isinstance(result.exception, SystemExit)
        assert not unexpected, (given, result.exception)
        assert "Traceback" not in result.output, given
        assert result.exit_code == 0 or result.output.strip(), given
