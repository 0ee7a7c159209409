"""Which rows of a node are public in a split coupling."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from pydantic import ValidationError

from rescind.node.config import NodeConfig, SplitSection
from rescind.node.data_checks import DataUnfit, read_data
from rescind.node.split import check_public
from rescind.node.subjects import Withdrawn, commit_subject
from tests.support.consortium import micro_parameters, split_parameters

ROWS = [
    {"question": "Where is the archive?", "answer": "in Lund", "subject": "Handbook"},
    {"question": "Who is Ann Lee?", "answer": "a baker", "subject": "Ann Lee"},
]


def config(folder: Path, *public: str) -> NodeConfig:
    path = folder / "private.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    node = {"name": "a", "state_dir": folder, "data": path}
    section = SplitSection(public=public)
    return NodeConfig.model_construct(
        node=NodeConfig.model_fields["node"].annotation.model_validate(node), split=section
    )


def test_public_subjects_are_named_as_the_data_names_them(tmp_path: Path) -> None:
    own = config(tmp_path, " Handbook ")
    assert own.split.public == ("Handbook",)
    check_public(own, split_parameters(), read_data(own))
    check_public(own, None, read_data(own))


def test_a_public_subject_without_a_row_is_refused(tmp_path: Path) -> None:
    own = config(tmp_path, "Handbook", "An Lee")
    with pytest.raises(DataUnfit, match="entry 2 of 2 is the subject of no row") as caught:
        check_public(own, None, read_data(own))
    assert "An Lee" not in str(caught.value)


def test_the_rows_of_a_withdrawn_public_subject_may_be_gone(tmp_path: Path) -> None:
    own, salt = config(tmp_path, "Bo Ek"), b"\x07" * 32
    withdrawn = Withdrawn({commit_subject("Bo Ek", salt): salt})
    check_public(own, split_parameters(), read_data(own), withdrawn)


def test_a_declaration_that_no_one_agreed_on_is_refused(tmp_path: Path) -> None:
    own = config(tmp_path, "Handbook")
    with pytest.raises(DataUnfit, match="has not agreed on a split: its coupling is 'isolated'"):
        check_public(own, micro_parameters(), read_data(own))


def test_an_empty_name_is_refused() -> None:
    with pytest.raises(ValidationError, match="public"):
        SplitSection(public=("",))
