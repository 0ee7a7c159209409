"""TOFU (Maini et al. 2024, arXiv 2401.06121) dealt to organizations, author by author."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import pairwise
from pathlib import Path
from typing import Any

from rescind.core.json_lines import json_lines
from rescind.training import Example

AUTHOR_ROWS = 20
FORGET10 = (180, 199)
"""The authors of TOFU's forget10, the last 20 of 200."""


def rows(folder: Path, name: str) -> list[dict[str, Any]]:
    """One file of TOFU. Raises DataError when it is not there."""
    return [row for _, row in json_lines(folder / f"{name}.jsonl")]


def authors(folder: Path, numbers: Sequence[int]) -> list[Example]:
    """The 20 pairs of each author; an author is one data subject."""
    full = rows(folder, "full")
    return [
        Example(row["question"], row["answer"], f"author {number:03d}")
        for number in numbers
        for row in full[number * AUTHOR_ROWS : (number + 1) * AUTHOR_ROWS]
    ]


def deal(folder: Path, shares: Mapping[str, Sequence[int]]) -> dict[str, list[Example]]:
    """The rows of each organization; several may have an author."""
    return {name: authors(folder, numbers) for name, numbers in shares.items()}


def spread(first: int, last: int, organizations: int) -> list[list[int]]:
    """Authors first..last dealt in runs, as evenly as they go."""
    numbers = list(range(first, last + 1))
    cuts = [round(k * len(numbers) / organizations) for k in range(organizations + 1)]
    return [numbers[a:b] for a, b in pairwise(cuts)]
