"""Marks, order and fixtures of all tests."""

import logging
import os
import re
import sys
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest
import structlog
import typer.testing
from hypothesis import HealthCheck, settings

from tests.support import postgres
from tests.support.chain import Anvil, start_anvil

settings.register_profile(
    "rescind",
    deadline=None,  # a loaded machine is slow, and no test asserts a speed
    derandomize=True,  # the same examples in every run
    suppress_health_check=[HealthCheck.too_slow],
)
settings.load_profile("rescind")

# No test depends on the caller's terminal or proxy. The command line's consoles read the terminal
# when they are imported, so this cannot wait for a fixture.
_TERMINAL = {"COLUMNS", "LINES", "NO_COLOR", "FORCE_COLOR", "TTY_COMPATIBLE", "TTY_INTERACTIVE"}
for _name in list(os.environ):
    if _name in _TERMINAL or _name.lower().endswith("_proxy"):
        del os.environ[_name]
os.environ["TERM"] = "xterm"

NEEDS = {
    "daemons": r"tests\.support\.(daemons|commands|provider_story)",
    "chain": r"\bAnvil\b|open_stage|tests\.support\.files",
    "trains": r"load_base|train_round|(^|\n)(import|from) (torch|transformers|peft)\b"
    r"|tests\.support\.(trained|attacked_model|models|tiny_models|exported|tokenizers)"
    r"|rescind\.devnet\.(outcome|preparing|exporting)|rescind\.training\.(engine\.batches|routers|serving\.serve)"
    r"|rescind\.forgetting\.attacks|agents\.experiments\.report",
}
"""The text that gives all tests of a file a mark."""


@cache
def needs_of(path: Path) -> frozenset[str]:
    """Return the marks that a file of tests gets for what it uses, and those that it gives itself."""
    text = path.read_text(encoding="utf-8")
    given = " ".join(re.findall(r"^pytestmark = (.*)", text, re.MULTILINE))
    own = (mark for mark in ("slow", *NEEDS) if f"pytest.mark.{mark}" in given)
    return frozenset([*own, *(mark for mark, words in NEEDS.items() if re.search(words, text))])


def pytest_ignore_collect(collection_path: Path, config: pytest.Config) -> bool | None:
    """Skip files that `-m "not (...)"` deselects as a whole, because importing them takes seconds."""
    unwanted = re.fullmatch(r"not \(?([\w ]+)\)?", config.option.markexpr)
    if unwanted is None or not collection_path.match("test_*.py"):
        return None
    return True if needs_of(collection_path) & set(unwanted[1].split(" or ")) else None


def pytest_make_parametrize_id(val: object, argname: str) -> str | None:
    """Name bytes by their argument: as text they are unreadable, and may differ between workers."""
    return argname if isinstance(val, bytes) else None


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark tests for what they need. Start the longest first, so that no worker ends with one."""
    for item in items:
        for mark in sorted(needs_of(item.path)):
            item.add_marker(mark)
    items.sort(key=_rank)


@pytest.fixture(autouse=True)
def _logging_as_before() -> Iterator[None]:
    """Undo what a command that logs as a daemon set up: its stream is closed with the test."""
    yield
    structlog.reset_defaults()
    logging.disable(logging.NOTSET)


def _rank(item: pytest.Item) -> int:
    ranked = ("daemons", "slow", "chain", "trains")
    return next((n for n, name in enumerate(ranked) if item.get_closest_marker(name)), len(ranked))


@pytest.fixture(scope="module", autouse=True)
def one_thread() -> None:
    """Let torch add floats up in the same order on every machine."""
    if torch := sys.modules.get("torch"):
        torch.set_num_threads(1)


@pytest.fixture(scope="session", autouse=True)
def one_command_line() -> Iterator[None]:
    """Build the tree of commands once, and not for every command that a test runs.

    That takes longer than most commands.
    """
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(typer.testing, "_get_command", cache(typer.testing._get_command))
        yield


@pytest.fixture(scope="session")
def running_anvil() -> Iterator[Anvil]:
    """A chain for all tests of this process.

    A fixture that deploys something for many tests does it inside `running_anvil.rewound()`.
    """
    with start_anvil() as anvil:
        yield anvil


@pytest.fixture
def anvil(running_anvil: Anvil) -> Iterator[Anvil]:
    """The same chain, wound back after the test."""
    with running_anvil.rewound():
        yield running_anvil


@pytest.fixture(scope="session")
def cluster() -> Iterator[postgres.Cluster]:
    """A PostgreSQL server, or a skip where it is not installed."""
    if postgres.binaries() is None:
        pytest.skip("PostgreSQL is not installed, so its half of the ledger tests does not run")
    with postgres.running() as server:
        yield server
