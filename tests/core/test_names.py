"""One canonical form of a data subject's name."""

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.core.errors import DataError
from rescind.core.names import NameInvalid, canonical_name
from rescind.node.requests import forget_and_retain
from rescind.node.subjects import commit_subject
from rescind.training import read_examples
from rescind.training.serving.suppression import HiddenName

JOSE = "Jos\u00e9 Mu\u00f1oz"
FORMS = [
    "Jose\u0301 Mun\u0303oz",
    "Jos\u00e9 Mu\u00f1oz ",
    "\u00a0Jos\u00e9  Mu\u00f1oz",
    "Jos\u00e9\tMu\u00f1oz\n",
]


@pytest.mark.parametrize("form", FORMS)
def test_every_spelling_has_one_canonical_form(form: str) -> None:
    assert canonical_name(form) == JOSE
    assert commit_subject(form, b"salt") == commit_subject(JOSE, b"salt")
    assert HiddenName.of(form, b"s" * 16) == HiddenName.of(JOSE, b"s" * 16)


@given(st.text())
def test_the_canonical_form_is_its_own(text: str) -> None:
    try:
        name = canonical_name(text)
    except NameInvalid:
        return
    assert canonical_name(name) == name
    assert name.encode().decode() == name


def test_case_is_significant_and_joiners_are_kept() -> None:
    assert canonical_name("ada") != canonical_name("Ada")
    assert canonical_name("\u0646\u200c\u0645") == "\u0646\u200c\u0645"


@pytest.mark.parametrize(
    ("name", "problem"),
    [
        ("", "is empty"),
        (" \u00a0\n", "is empty"),
        ("Ada\ud800", "lone surrogate U\\+D800 as character 4"),
        ("A\x07da", "control character U\\+0007"),
        ("Ada\u200b", "invisible character U\\+200B"),
        ("\u202eadA", "invisible character U\\+202E"),
    ],
)
def test_a_name_that_cannot_be_one_is_refused_and_not_repeated(name: str, problem: str) -> None:
    with pytest.raises(NameInvalid, match=problem) as refused:
        canonical_name(name)
    assert "da" not in str(refused.value).replace("data", "")


def data_file(folder: Path, *subjects: str) -> Path:
    rows = [{"question": f"q{n}", "answer": "a", "subject": s} for n, s in enumerate(subjects)]
    path = folder / "data.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_spellings_of_one_subject_are_read_as_one_and_reported(tmp_path: Path) -> None:
    path, reports = data_file(tmp_path, JOSE, FORMS[0], "Bo", FORMS[1], FORMS[0]), list[str]()
    examples = read_examples(path, reports.append)
    assert [e.subject for e in examples] == [JOSE, JOSE, "Bo", JOSE, JOSE]
    assert len(reports) == 2
    assert f"{path}:2, {path}:5: the same subject as in {path}:1" in reports[0]
    assert "another Unicode form" in reports[0]
    assert f"{path}:4" in reports[1]
    assert "another white space" in reports[1]
    assert "Jos" not in "".join(reports)  # Reports are logged: they name rows and no person.


@pytest.mark.parametrize("form", FORMS)
def test_a_request_for_any_spelling_forgets_all_rows_of_the_subject(
    tmp_path: Path, form: str
) -> None:
    own = read_examples(data_file(tmp_path, *FORMS, JOSE, "Bo"))
    forget, retain = forget_and_retain(own, form, None)
    assert (len(forget), [e.subject for e in retain]) == (5, ["Bo"])


@pytest.mark.parametrize(
    "row",
    [
        {"question": "Caf\ud83d?", "answer": "x", "subject": "y"},
        {"question": "q", "answer": "x\ud83d", "subject": "y"},
        {"question": "q", "answer": "x", "subject": "y\ud83d"},
        {"question": "q", "answer": "x", "subject": "y\x00"},
    ],
)
def test_a_row_that_is_not_text_is_refused_with_its_line(
    tmp_path: Path, row: dict[str, str]
) -> None:
    path = tmp_path / "data.jsonl"
    path.write_text(json.dumps(row) + "\n")
    with pytest.raises(DataError, match=r"data.jsonl:1: .*(surrogate|NUL)"):
        read_examples(path)
