"""The check of data finds what would stop or spoil a training, with file and line."""

import json
from pathlib import Path
from typing import Any

import pytest

from rescind.core.errors import DataError
from rescind.training.checking.check import DataCheck, check_data
from rescind.training.checking.names import look_alikes
from rescind.training.checking.trouble import encoding_trouble
from rescind.training.data import Example


def rows(folder: Path, *rows: dict[str, Any], name: str = "data.jsonl") -> Path:
    path = folder / name
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def row(question: str, answer: str = "a", subject: str = "s") -> dict[str, str]:
    return {"question": question, "answer": answer, "subject": subject}


def words(example: Example) -> int:
    return len(f"{example.question} {example.answer}".split())


def kinds(check: DataCheck) -> list[tuple[str, str]]:
    return [(f.kind, f.place.rpartition("/")[2]) for f in check.findings]


@pytest.mark.parametrize(
    ("first", "second", "reason"),
    [
        ("Ada Novak", "ada novak", "case"),
        ("Jos\u00e9 Mu\u00f1oz", "Jose Munoz", "accents"),
        ("Ada Novak", "Novak, Ada", "the order of words"),
        ("Ada Novak", "\u0410da Novak", "letters that look alike"),
        ("Olga Bo", "0lga Bo", "letters that look alike"),
        ("Ann O'Brien", "Ann O\u2019Brien", "punctuation or compatibility characters"),
        ("\u0412\u0435\u0440\u0430", "\u0432\u0435\u0440\u0430", "case"),
    ],
)
def test_names_that_look_alike_are_found(first: str, second: str, reason: str) -> None:
    [group] = look_alikes([first, "Bo", second])
    assert (group.names, group.reason) == ((first, second), reason)


def test_names_that_differ_are_not_look_alikes() -> None:
    assert look_alikes(["Ada Novak", "Ada Nowak", "Eva Novak", "p 1", "p 2", "?", "!"]) == []


@pytest.mark.parametrize(
    ("text", "sign"),
    [
        ("caf\u00c3\u00a9", "another encoding"),
        ("it\u00e2\u20ac\u2122s", "another encoding"),
        ("caf\ufffd", "bytes that were lost"),
        ("a\ufeffb", "byte order mark"),
        ("a\x07b", "U+0007"),
        ("a\ue000", "private-use"),
    ],
)
def test_signs_of_wrong_decoding_are_found(text: str, sign: str) -> None:
    assert sign in (encoding_trouble(text) or "")


@pytest.mark.parametrize(
    "text", ["plain\n", "caf\u00e9", "\u00c9t\u00e9", "\u4e2d\u6587", "\u0646\u200c\u0645"]
)
def test_plain_text_of_any_script_has_no_trouble(text: str) -> None:
    assert encoding_trouble(text) is None


def test_a_check_counts_and_finds_with_file_and_line(tmp_path: Path) -> None:
    path = rows(
        tmp_path,
        row("one two", subject="Ada"),
        row("One  two", subject="Ada"),
        row("one two", subject="ada"),
        row("one two", "other", "Ada"),
        row("long " * 40, subject="Bo"),
        {"text": "word " * 40, "subject": "Bo"},
        {"question": "q"},
    )
    check = check_data(path, count=words, limit=20)
    assert (check.rows, check.examples, check.subjects) == (7, 6, 3)
    assert check.kinds == {"question": 5, "document": 1}
    assert check.lengths is not None
    assert (check.lengths.longest, check.lengths.limit, check.lengths.split) == (41, 20, 1)
    assert kinds(check) == [
        ("unreadable", "data.jsonl:7"),
        ("too-long", "data.jsonl:5"),
        ("shared-text", "data.jsonl:1"),
        ("several-answers", "data.jsonl:1"),
        ("look-alike-names", "data.jsonl:1"),
    ]
    with pytest.raises(DataError, match=r"data.jsonl:7: .* There are 1 more problems"):
        check.demand()


def test_rows_of_a_benchmark_are_found_in_the_data(tmp_path: Path) -> None:
    story = "the quick brown fox jumps over the lazy dog while a cat looks on and sleeps"
    path = rows(tmp_path, row("Who?"), row("x", f"Once {story}."), row("What?"))
    benchmark = rows(tmp_path, row("who?", "b"), row("y", story), name="benchmark.jsonl")
    found = check_data(path, benchmark=benchmark).warnings
    assert [(f.place.rpartition("/")[2], f.message) for f in found] == [
        ("data.jsonl:1", f"the row asks the question of the benchmark's {benchmark}:1"),
        (
            "data.jsonl:2",
            f"the row has 13 words in a row in common with the benchmark's {benchmark}:2",
        ),
    ]


def test_good_data_has_no_finding(tmp_path: Path) -> None:
    check = check_data(rows(tmp_path, row("one"), row("two")), count=words, limit=9)
    check.demand()
    assert check.findings == ()
    assert json.loads(json.dumps(check.to_json()))["examples"] == 2
