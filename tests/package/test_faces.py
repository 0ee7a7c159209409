"""Every room's `__init__` is its public API, as docs/architecture.md says under "Faces"."""

import ast
import importlib
import inspect
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
LINKED = {"agents", "aggregator", "contracts", "devnet", "ledger", "node"}
ROOMS = sorted(
    {
        *LINKED,
        "audit",
        "cli",
        "core",
        "daemon",
        "forgetting",
        "serving",
        "training",
        "unlearning",
        "wire",
        "withdrawals",
    }
)


def _folder(room: str) -> Path:
    return ROOT / room if room in LINKED else ROOT / "rescind" / room


def _sort_key(name: str) -> tuple[int, str]:
    """Sort constants before classes before functions, as ruff's RUF022 does."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


def _imports(path: Path) -> Iterator[tuple[str, str]]:
    """Yield module and name of every `from rescind... import name` in a file."""
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ImportFrom) and node.module and node.level == 0:
            for alias in node.names:
                yield node.module, alias.name


def _exports(room: str) -> set[tuple[str, str]]:
    """Return the modules and names that a face imports from its own room."""
    return set(_imports(_folder(room) / "__init__.py"))


def test_the_list_of_rooms_is_complete() -> None:
    folders = {path.parent.name for path in (ROOT / "rescind").glob("*/__init__.py")}
    assert folders | LINKED == set(ROOMS)


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_has_a_docstring_and_a_sorted_list_of_names(room: str) -> None:
    face = importlib.import_module(f"rescind.{room}")
    assert face.__doc__
    assert list(face.__all__) == sorted(set(face.__all__), key=_sort_key)


# The names of this one are imported when they are first used, and torch with them.
RESOLVED = [
    pytest.param(room, marks=pytest.mark.trains) if room == "training" else room for room in ROOMS
]


@pytest.mark.parametrize("room", RESOLVED)
def test_every_name_of_a_face_resolves(room: str) -> None:
    face = importlib.import_module(f"rescind.{room}")
    missing = [name for name in face.__all__ if not hasattr(face, name)]
    assert missing == []


@pytest.mark.parametrize("room", ROOMS)
def test_a_face_binds_no_public_name_that_it_does_not_list(room: str) -> None:
    face = importlib.import_module(f"rescind.{room}")
    bound = {name for name, value in vars(face).items() if not inspect.ismodule(value)}
    public = {name for name in bound if not name.startswith("_")}
    assert public - set(face.__all__) == set()


def test_no_face_nor_the_command_line_nor_the_solver_of_a_head_imports_torch() -> None:
    heads = ("training.heads", "training.ridges", "training.skills")
    program = (
        "import importlib, sys\n"
        f"for module in {(*ROOMS, 'cli.main', *heads)!r}:\n"
        "    importlib.import_module('rescind.' + module)\n"
        "    assert 'torch' not in sys.modules, module\n"
    )
    result = subprocess.run(
        [sys.executable, "-W", "ignore", "-c", program], cwd=ROOT, capture_output=True, text=True
    )
    assert result.returncode == 0, result.stderr


def test_other_rooms_import_an_exported_name_from_the_face() -> None:
    exports = {room: _exports(room) for room in ROOMS}
    past_the_face = []
    for room in ROOMS:
        for path in _folder(room).rglob("*.py"):
            for module, name in _imports(path):
                other = module.removeprefix("rescind.").partition(".")[0]
                if other != room and (module, name) in exports.get(other, set()):
                    past_the_face.append(f"{path.relative_to(ROOT)}: {module}.{name}")
    assert past_the_face == []
