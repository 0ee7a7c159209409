"""The architecture page names only files and folders that exist."""

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs" / "architecture.md").read_text(encoding="utf-8")


def test_every_path_of_the_table_of_changes_exists() -> None:
    table = PAGE.split("### Where to change what")[1].split("\n\n")[1]
    rows = [line for line in table.splitlines()[2:] if line.startswith("|")]
    assert len(rows) == 10
    for row in rows:
        paths = re.findall(r"`([a-z_/]+\.py)`", row)
        assert paths, row
        for path in paths:
            assert (ROOT / path).is_file(), f"{path} does not exist: {row}"


def test_every_folder_of_the_layout_exists() -> None:
    folders = re.findall(r"`([a-z_/]+/)`", PAGE.split("## Layout")[1])
    assert len(folders) >= 14
    for folder in folders:
        assert (ROOT / folder).is_dir(), folder
