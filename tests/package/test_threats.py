"""docs/threats.md: its table is complete, and every test that it names exists."""

import re
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "threats.md").read_text(encoding="utf-8")

HOSTILE = [
    "a member",
    "the aggregator",
    "aggregator and a member",
    "two members",
    "the founder",
    "the authority",
    "the RPC endpoint",
    "an auditor",
    "a stranger",
]
WANTS = [
    "a false sum",
    "a faked removal",
    "a stall",
    "money",
    "a false proof of absence",
    "somebody's delta",
    "a withdrawn block under another name",
]
FOLDERS = {"contracts": ["contracts/test", "tests/contracts"]}
"""Where the tests of a name on the page are, if not in the folder of that name in tests."""


def rows() -> list[list[str]]:
    first = next(block for block in PAGE.split("\n\n") if block.startswith("|"))
    lines = first.splitlines()
    table = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    return [row for row in table if not set(row[0]) <= {"-"}]


def paragraphs() -> dict[int, str]:
    """Return the numbered paragraphs by their numbers."""
    found = re.findall(r"^(\d+)\. (.*?)(?=^\d+\. |^## |\Z)", PAGE, re.M | re.S)
    return {int(number): text for number, text in found}


def named_tests() -> Iterator[tuple[int, str, str]]:
    """Yield paragraph, folder and name of every test.

    The folder ends a list of tests: it stands in parentheses, or last in those of the list.
    """
    for number, text in paragraphs().items():
        waiting: list[str] = []
        for test, folder in re.findall(r"`(test_\w+)`|(?:\(|,\s+)(\w+)\)", text):
            if test:
                waiting.append(test)
            elif waiting:
                yield from ((number, folder, each) for each in waiting)
                waiting = []
        assert not waiting, f"paragraph {number} names no folder for {waiting}"


def exists(folder: str, name: str) -> bool:
    places = FOLDERS.get(folder, [f"tests/{folder}"])
    pattern = re.compile(rf"\b(?:def|function) {name}\(")
    return any(
        pattern.search(file.read_text(encoding="utf-8"))
        for place in places
        for file in [*(ROOT / place).glob("*.py"), *(ROOT / place).glob("*.sol")]
    )


def test_the_table_has_every_enemy_and_every_aim() -> None:
    head, *body = rows()
    assert head[1:] == WANTS
    assert [row[0] for row in body] == HOSTILE


def test_each_cell_is_a_verdict_with_its_paragraph() -> None:
    cited = set()
    for row in rows()[1:]:
        for cell in row[1:]:
            match = re.fullmatch(r"(?:stopped|seen|open) (\d+)", cell)
            assert match, f"{row[0]}: {cell!r}"
            cited.add(int(match.group(1)))
    assert cited == set(paragraphs())


def test_each_paragraph_names_a_test() -> None:
    assert {number for number, _, _ in named_tests()} == set(paragraphs())


@pytest.mark.parametrize(("folder", "name"), sorted({each[1:] for each in named_tests()}))
def test_each_test_that_the_page_names_exists(folder: str, name: str) -> None:
    assert exists(folder, name)
