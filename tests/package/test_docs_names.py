"""Every page names only files, modules and commands that exist.

Decisions and the changelog are records of their time, so they may name what is gone.
"""

import importlib
import re
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path
from typing import Any, get_args

import pytest
from pydantic import BaseModel
from typer.main import get_command

from rescind.aggregator import AggregatorConfig
from rescind.cli.main import app
from rescind.core import ConsortiumParameters
from rescind.node import NodeConfig

ROOT = Path(__file__).parents[2]
PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
FOLDERS = "agents|aggregator|benchmarks|contracts|devnet|docs|ledger|node|rescind|scripts|tests"

ROOMS = "adapters|agents|aggregator|audit|contracts|devnet|ledger|node|protocol|training|unlearning"
"""Rooms that have the name of a section or a former top-level package."""

FILES = {"aggregator.toml", "contracts.json", "ledger.key", "node.toml"}


def _names(pattern: str) -> Iterator[tuple[str, str]]:
    """Yield what a pattern captures on all pages, with page and line."""
    for page in PAGES:
        for number, line in enumerate(page.read_text(encoding="utf-8").splitlines(), 1):
            for match in re.finditer(pattern, line):
                yield f"{page.relative_to(ROOT)}:{number}", match.group(1)


def _wrong(pattern: str, exists: Callable[[str], bool]) -> list[str]:
    names = list(_names(pattern))
    assert names, "the pattern matches nothing"
    return [f"{where}: {name}" for where, name in names if not exists(name)]


def _is_path(name: str) -> bool:
    return any((folder / name).exists() for folder in (ROOT, ROOT / "rescind", ROOT / "docs"))


def _resolves(name: str) -> bool:
    """Return whether a dotted name is a module or an attribute of one."""
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            value: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            value = getattr(value, attribute, None)
        return value is not None
    return False


def _is_setting(name: str) -> bool:
    """Return whether a dotted name is a key of a configuration or of the agreed parameters."""
    models: list[Any] = [AggregatorConfig, ConsortiumParameters, NodeConfig]
    for part in name.split("."):
        fields = [model.model_fields[part] for model in models if part in model.model_fields]
        if not fields:
            return False
        types = [
            kind for field in fields for kind in (field.annotation, *get_args(field.annotation))
        ]
        models = [kind for kind in types if isinstance(kind, type) and issubclass(kind, BaseModel)]
    return True


@cache
def _root() -> Any:
    return get_command(app)


def _is_command(line: str) -> bool:
    """Return whether the words after `rescind` are a command with options that it has."""
    command = _root()
    for word in line.split():
        option = re.match(r"--[a-z-]+", word)
        if hasattr(command, "commands"):
            # COMMAND and ... stand for any command; `up|down` for either.
            if word.startswith(("-", "...")) or word.isupper():
                return True
            if not set(word.split("|")) <= set(command.commands):
                return False
            command = command.commands[word.split("|")[0]]
        elif option and option.group() != "--help":
            options = {name for p in command.params for name in (*p.opts, *p.secondary_opts)}
            if option.group() not in options:
                return False
    return True


def test_every_file_that_a_page_names_exists() -> None:
    pattern = rf"(?<![\w/.-])((?:{FOLDERS})/[\w./-]*\w\.(?:py|sol|toml|md|proto|json|jsonl))\b"
    assert _wrong(pattern, _is_path) == []


@pytest.mark.trains  # it imports every room
def test_every_dotted_name_of_the_package_on_a_page_resolves() -> None:
    pattern = r"(?<![\w/.-])(rescind\.[a-z_]+(?:\.\w+)*)(?![\w/-])"
    assert _wrong(pattern, _resolves) == []


def test_a_dotted_name_without_rescind_is_a_setting_or_a_file() -> None:
    pattern = rf"`((?:{ROOMS})\.[\w.]+)`"
    assert _wrong(pattern, lambda name: _is_setting(name) or name in FILES) == []


def test_every_command_that_a_page_shows_exists() -> None:
    assert _wrong(r"(?:`|^ *\$? ?)rescind ([a-z][^`#\\]*)", _is_command) == []
