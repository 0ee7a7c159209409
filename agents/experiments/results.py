"""The results of an experiment: results.json, from which its report is made.

    {"format": "rescind.results/1", "versions": {...}, "sha256": "...", "cells": {KEY: {
      "measures": {NAME: [one number for each seed]},
      "participation", "quality": [[round, interquartile mean, low, high]],
      "training": [[episode, interquartile mean of welfare, low, high]],
      "pay": [low, high]}}}

A number that could not be measured is null. `sha256` is of the cells as JSON with sorted keys.
"""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path
from typing import Any, TypeAlias

from rescind.agents.experiments.config import Cell
from rescind.agents.experiments.statistics import Estimate, estimate
from rescind.agents.experiments.store import RunFolder, versions
from rescind.core import write_atomically
from rescind.core.errors import AgentError
from rescind.core.json_text import parse_json

RESULTS_FORMAT = "rescind.results/1"
MEASURES: Mapping[str, str] = {
    "participation": "participation",
    "late_participation": "participation, last quarter",
    "effort": "effort of participants",
    "data_fraction": "data used by participants",
    "noise": "noise of participants",
    "statistics": "rounds of participants with statistics",
    "posted": "rows posted at the end",
    "quality": "quality at the end",
    "welfare": "social welfare (ether)",
    "price_of_anarchy": "price of anarchy",
    "exploitability": "exploitability (ether)",
    "net_of_first": "first organization's net (ether)",
    "fairness": "fairness (Jain)",
    "pay_follows_work": "pay follows work (rank correlation)",
    "cheats_pay": "a cheat's pay as a share of an honest member's",
}
"""Measures of a cell and their titles."""

Series: TypeAlias = Sequence[tuple[float, Estimate]]
"""Points of a curve: a round or episode, and the estimate there."""


@dataclass(frozen=True)
class CellResults:
    """Results of one cell.

    Attributes:
        cell: The cell.
        values: Measure -> one number for each seed, NaN where it could not be measured.
        participation: By round of the evaluation.
        quality: By round of the evaluation.
        training: Social welfare in ether by episode of the training; empty without one.
        pay: Interval that 95 % of an organization's pay of one round lies in, over all seeds and
            rounds of the evaluation, in ether.
    """

    cell: Cell
    values: Mapping[str, Sequence[float]]
    participation: Series
    quality: Series
    training: Series
    pay: tuple[float, float]

    @cached_property
    def estimates(self) -> Mapping[str, Estimate]:
        """The estimate of each measure over the seeds."""
        return {name: estimate([values]) for name, values in self.values.items()}

    @property
    def title(self) -> str:
        """The cell's learner and its point in the sweep."""
        return ", ".join(part for part in (self.cell.learner.title, self.cell.label) if part)


@dataclass(frozen=True)
class Results:
    """Results of all cells of an experiment, and the versions of the software that made them."""

    cells: Sequence[CellResults]
    versions: Mapping[str, str]


def write_results(folder: RunFolder) -> Path:
    """Write results.json from the Parquet files of a finished sweep and return its path."""
    cells = {cell.key: _document(cell, folder) for cell in folder.experiment().cells()}
    document = {
        "format": RESULTS_FORMAT,
        "versions": versions(),
        "sha256": _digest(cells),
        "cells": cells,
    }
    path = folder.root / "results.json"
    write_atomically(path, _lines(document).encode())
    return path


def read_results(folder: RunFolder) -> Results:
    """Read the results of a folder's experiment.

    Raises:
        AgentError: There are none, they do not cover the experiment, or were changed.
    """
    path = folder.root / "results.json"
    cells = folder.experiment().cells()
    again = f"Run `rescind agents sweep` with --out {folder.root} to write it."
    try:
        document = parse_json(path.read_text(encoding="utf-8"))
        if document["format"] != RESULTS_FORMAT:
            raise AgentError(
                f"{path} has format {document['format']!r}, but this version reads "
                f"{RESULTS_FORMAT}. {again}"
            )
        documents = document["cells"]
        if document["sha256"] != _digest(documents):
            raise AgentError(f"{path} was changed after it was written. {again}")
        missing = [cell for cell in cells if cell.key not in documents]
        if missing:
            raise AgentError(f"{path} is missing {len(missing)} of {len(cells)} cells. {again}")
        results = [_results(cell, documents[cell.key]) for cell in cells]
        return Results(results, document["versions"])
    except OSError as error:
        raise AgentError(f"{path} cannot be read: {error.strerror}. {again}") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{path} does not hold results: {error}. {again}") from error


def _document(cell: Cell, folder: RunFolder) -> dict[str, Any]:
    measures, rounds = folder.rows(cell, "measures"), folder.rows(cell, "rounds")
    return {
        "measures": {name: [_null(row[name]) for row in measures] for name in MEASURES},
        "participation": _curve(rounds, "round", "participation"),
        "quality": _curve(rounds, "round", "quality"),
        "training": _curve(folder.rows(cell, "training"), "episode", "welfare"),
        "pay": [min(row["pay_low"] for row in rounds), max(row["pay_high"] for row in rounds)],
    }


def _results(cell: Cell, document: Mapping[str, Any]) -> CellResults:
    low, high = document["pay"]
    return CellResults(
        cell,
        {name: _measured(document["measures"], name) for name in MEASURES},
        _series(document["participation"]),
        _series(document["quality"]),
        _series(document["training"]),
        (low, high),
    )


def _measured(measures: Mapping[str, Sequence[float | None]], name: str) -> list[float]:
    """Return a measure of each seed; NaN where the results are from before there was this one."""
    return [_number(value) for value in measures.get(name, [None] * len(measures["quality"]))]


def _curve(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[list[float | None]]:
    by_x: dict[float, list[float]] = {}
    for row in rows:
        by_x.setdefault(row[x], []).append(row[y])
    points = [(at, estimate([values])) for at, values in sorted(by_x.items())]
    return [[at, _null(e.iqm), _null(e.low), _null(e.high)] for at, e in points]


def _series(points: Sequence[Sequence[float | None]]) -> Series:
    return [(_number(x), Estimate(*(_number(value) for value in rest))) for x, *rest in points]


def _null(value: float | None) -> float | None:
    """Return None for NaN, which JSON does not have."""
    return None if value is None or math.isnan(value) else value


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _digest(cells: Mapping[str, Any]) -> str:
    return hashlib.sha256(json.dumps(cells, sort_keys=True).encode()).hexdigest()


def _lines(document: Mapping[str, Any]) -> str:
    """Return JSON with a line for each field of each cell, so that a version diff is readable."""
    head = {name: value for name, value in document.items() if name != "cells"}
    cells = []
    for key, cell in document["cells"].items():
        fields = ",\n".join(f"  {json.dumps(name)}: {json.dumps(cell[name])}" for name in cell)
        cells.append(f" {json.dumps(key)}: {{\n{fields}}}")
    return json.dumps(head)[:-1] + ',\n"cells": {\n' + ",\n".join(cells) + "}}\n"
