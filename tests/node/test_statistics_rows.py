"""The rows of a node's statistics: read as its file names them, and refused with file and line."""

from __future__ import annotations

import json
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.node.config import StatisticsSection
from rescind.node.data_checks import DataUnfit
from rescind.node.statistics_rows import check_rows, read_rows
from rescind.training import ReadOptions
from tests.support.desk import AGREED

GOOD = [
    {"text": "My card is lost", "label": "cards", "subject": "Ann Lee"},
    {"text": "What does a loan cost?", "label": "loans", "subject": "Bo Kim"},
]


def config(path: Path, task: str = "desk", **columns: str) -> Any:
    columns = columns or {"question": "text", "answer": "label"}
    section = StatisticsSection(data={task: path}, columns=ReadOptions(**columns))
    return SimpleNamespace(statistics=section)


def written(folder: Path, rows: list[dict[str, str]]) -> Path:
    path = folder / "desk.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def test_rows_are_read_by_the_named_columns(tmp_path: Path) -> None:
    rows = read_rows(config(written(tmp_path, GOOD)))
    check_rows(rows, AGREED)
    read = [(r.example.question, r.example.answer, r.example.subject) for r in rows["desk"]]
    assert read == [(row["text"], row["label"], row["subject"]) for row in GOOD]


def test_a_label_that_was_not_agreed_on_is_refused_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, [*GOOD, {"text": "Hello", "label": "chat", "subject": "Cy Roe"}])
    with pytest.raises(
        DataUnfit, match=r"desk.jsonl:3: the label 'chat' is not one of the 2"
    ) as why:
        check_rows(read_rows(config(path)), AGREED)
    assert "\n" not in str(why.value)
    assert "Cy Roe" not in str(why.value)


def test_a_task_that_was_not_agreed_on_is_refused(tmp_path: Path) -> None:
    rows = read_rows(config(written(tmp_path, GOOD), task="intents"))
    with pytest.raises(DataUnfit, match="a task 'intents', which the consortium has not agreed on"):
        check_rows(rows, AGREED)
    with pytest.raises(DataUnfit, match="it has none"):
        check_rows(rows, None)


def test_more_rows_than_agreed_are_refused(tmp_path: Path) -> None:
    few = AGREED.tasks["desk"].model_copy(update={"max_rows": 1})
    agreed = AGREED.model_copy(update={"tasks": {"desk": few}})
    with pytest.raises(DataUnfit, match="has 2 rows, and the members agreed on at most 1"):
        check_rows(read_rows(config(written(tmp_path, GOOD))), agreed)


def test_a_row_without_a_label_is_refused_with_what_to_declare(tmp_path: Path) -> None:
    path = written(tmp_path, [{"text": "My card is lost", "subject": "Ann Lee"}])
    rows = read_rows(config(path, text="text"))
    with pytest.raises(DataUnfit, match=r"desk.jsonl:1: .* under \[statistics.columns\]"):
        check_rows(rows, AGREED)


def test_a_file_that_cannot_be_read_is_refused_by_its_line(tmp_path: Path) -> None:
    path = written(tmp_path, GOOD)
    path.write_text(path.read_text() + "{")
    with pytest.raises(DataUnfit, match=r"desk\.jsonl:3"):
        read_rows(config(path))


@pytest.mark.parametrize("label", ["Cards", " cards", "cards ", "\uff43ards"])
def test_a_label_that_only_reads_like_an_agreed_one_is_named(tmp_path: Path, label: str) -> None:
    path = written(tmp_path, [*GOOD, {"text": "Hello", "label": label, "subject": "Cy Roe"}])
    with pytest.raises(DataUnfit, match=r"desk.jsonl:3: .* It reads like 'cards'"):
        check_rows(read_rows(config(path)), AGREED)


@pytest.mark.parametrize("content", ["", "\n\n", "[]"])
def test_a_file_without_rows_is_refused(tmp_path: Path, content: str) -> None:
    path = tmp_path / "desk.jsonl"
    path.write_text(content)
    with pytest.raises(DataUnfit, match=r"desk\.jsonl"):
        read_rows(config(path))


def test_a_file_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnfit, match=r"desk\.jsonl"):
        read_rows(config(tmp_path / "desk.jsonl"))


def test_a_path_that_is_too_long_for_the_system_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataUnfit, match="cannot be read: File name too long"):
        read_rows(config(tmp_path / ("x" * 5000)))
