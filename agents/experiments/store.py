"""The folder of a sweep: Parquet files of each finished cell, and the tables that join them.

    RUN/experiment.json                                the experiment as it was read
    RUN/cells/KEY.{measures,rounds,training}.parquet   the rows of one cell
    RUN/{measures,rounds,training}.parquet             the rows of all cells

The metadata of each Parquet file holds the experiment or cell ("rescind.experiment"), the versions
("rescind.versions") and a SHA-256 of the rows ("rescind.rows"), which is checked on reading.

A cell is done if it has its files, or its rows in the tables. Files are written whole, measures
last.
"""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from rescind.agents.experiments.config import Cell, Experiment
from rescind.agents.experiments.run import CellResult
from rescind.core import write_atomically
from rescind.core.errors import AgentError
from rescind.core.json_text import parse_json

TABLES = ("training", "rounds", "measures")
_PACKAGES = ("rescind", "numpy", "numba", "scipy", "stable-baselines3", "torch", "ray", "pyarrow")


@dataclass(frozen=True)
class RunFolder:
    """The folder of a sweep."""

    root: Path

    @property
    def cells(self) -> Path:
        """The folder of the cells' files."""
        return self.root / "cells"

    @property
    def _experiment_file(self) -> Path:
        return self.root / "experiment.json"

    def begin(self, experiment: Experiment) -> None:
        """Create the folder if needed, and keep the experiment in it.

        An experiment of the same name may have changed since: its unchanged cells are kept.

        Raises:
            AgentError: The folder holds another experiment, or cannot be written.
        """
        text = json.dumps(experiment.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        path = self._experiment_file
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            if path.exists() and path.read_text(encoding="utf-8") != text:
                name = parse_json(path.read_text(encoding="utf-8"))["experiment"]["name"]
                if name != experiment.experiment.name:
                    raise AgentError(
                        f"{self.root} holds experiment {name!r}. Use another folder: choose "
                        "another --out"
                    )
            write_atomically(path, text.encode())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AgentError(f"--out {self.root}: {error}") from error

    def experiment(self) -> Experiment:
        """Return the folder's experiment.

        Raises:
            AgentError: The folder does not hold one.
        """
        path = self._experiment_file
        try:
            return Experiment.model_validate_json(path.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AgentError(
                f"{path} is not an experiment: {error}. Give the folder of a sweep."
            ) from error

    def has(self, cell: Cell) -> bool:
        """Return whether the cell is done."""
        paths = [self._path(cell, table) for table in TABLES]
        return all(path.is_file() for path in paths) or bool(self._joined(cell, "measures"))

    def put(self, cell: Cell, result: CellResult) -> None:
        """Write the files of a finished cell."""
        for table in TABLES:
            rows: list[dict[str, Any]] = getattr(result, table)
            self._put(self._path(cell, table), rows, cell.document)

    def rows(self, cell: Cell, table: str) -> list[dict[str, Any]]:
        """Return the rows of a cell in one of TABLES; empty if it is not done.

        Raises:
            AgentError: The file was changed after it was written.
        """
        path = self._path(cell, table)
        return _read(path) if path.is_file() else self._joined(cell, table)

    def _path(self, cell: Cell, table: str) -> Path:
        return self.cells / f"{cell.key}.{table}.parquet"

    def _joined(self, cell: Cell, table: str) -> list[dict[str, Any]]:
        """Return a cell's rows from the tables of all cells: its own files may be deleted then."""
        path, added = self.root / f"{table}.parquet", _flat(cell).keys()
        rows = _read(path) if path.is_file() else []
        return [
            {name: value for name, value in row.items() if name not in added}
            for row in rows
            if row["cell"] == cell.key
        ]

    def join(self, experiment: Experiment) -> None:
        """Write the tables of all cells, each row with its cell's learner and point."""
        for table in TABLES:
            rows = [
                {**_flat(cell), **row}
                for cell in experiment.cells()
                for row in self.rows(cell, table)
            ]
            self._put(self.root / f"{table}.parquet", rows, experiment.model_dump(mode="json"))

    def _put(self, path: Path, rows: Sequence[Mapping[str, Any]], document: Any) -> None:
        content = pa.Table.from_pylist(list(rows))
        metadata = {
            "rescind.experiment": json.dumps(document, sort_keys=True),
            "rescind.versions": json.dumps(versions(), sort_keys=True),
            "rescind.rows": _hash(content.to_pylist()),
        }
        content = content.replace_schema_metadata(metadata)
        sink = pa.BufferOutputStream()
        pq.write_table(content, sink, compression="zstd")
        write_atomically(path, sink.getvalue().to_pybytes())


def _read(path: Path) -> list[dict[str, Any]]:
    """Read rows and check their hash: Parquet itself does not detect every changed byte."""
    try:
        content = pq.read_table(path)
        rows: list[dict[str, Any]] = content.to_pylist()
        stated_hash = (content.schema.metadata or {}).get(b"rescind.rows", b"").decode()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AgentError(f"{path} is not a result: {error}. Remove it and sweep again.") from error
    if stated_hash != _hash(rows):
        raise AgentError(f"{path} was changed after it was written. Remove it and sweep again.")
    return rows


def _hash(rows: Sequence[Mapping[str, Any]]) -> str:
    """Return the SHA-256 of the rows as JSON."""
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()


def versions() -> dict[str, str]:
    """Return the versions of Python and of the installed packages that results depend on."""
    result = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            result[name] = version(name)
        except PackageNotFoundError:
            continue
    return result


def _flat(cell: Cell) -> dict[str, Any]:
    """Return the columns that the joined tables add to a cell's rows."""
    point = {
        name: value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
        for name, value in cell.point.items()
    }
    return {"cell": cell.key, "learner": cell.learner.title, **point}
