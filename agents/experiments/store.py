"""An experiment's folder: one set of Parquet files for each finished cell, and the tables made of them.

    RUN/experiment.json            what is run: the experiment as it was read
    RUN/cells/KEY.{measures,rounds,training}.parquet
    RUN/{measures,rounds,training}.parquet    of all cells

Each file's metadata has the experiment or cell ("rescind.experiment"), the versions ("rescind.versions") and
a SHA-256 of the rows ("rescind.rows"), which is checked when they are read.

A cell that has its files, or its rows in the tables, is done: files are written whole, measures last.
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

TABLES = ("training", "rounds", "measures")
_PACKAGES = ("rescind", "numpy", "numba", "scipy", "stable-baselines3", "torch", "ray", "pyarrow")


@dataclass(frozen=True)
class RunFolder:
    root: Path

    @property
    def cells(self) -> Path:
        return self.root / "cells"

    def begin(self, experiment: Experiment) -> None:
        """Raises AgentError when the folder is another experiment's."""
        told = json.dumps(experiment.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
        place = self.root / "experiment.json"
        try:
            self.cells.mkdir(parents=True, exist_ok=True)
            if place.exists() and place.read_text(encoding="utf-8") != told:
                name = json.loads(place.read_text(encoding="utf-8"))["experiment"]["name"]
                if name != experiment.experiment.name:
                    raise AgentError(
                        f"{self.root} holds experiment {name!r}. Use another folder: choose another --out"
                    )
            write_atomically(place, told.encode())
        except (OSError, ValueError, KeyError, TypeError) as error:
            raise AgentError(f"--out {self.root}: {error}") from error

    def experiment(self) -> Experiment:
        place = self.root / "experiment.json"
        try:
            return Experiment.model_validate_json(place.read_text(encoding="utf-8"))
        except (OSError, ValueError) as error:
            raise AgentError(
                f"{place} is not an experiment: {error}. Give the folder of a sweep."
            ) from error

    def has(self, cell: Cell) -> bool:
        paths = [self.cells / f"{cell.key}.{table}.parquet" for table in TABLES]
        return all(path.is_file() for path in paths) or bool(self._joined(cell, "measures"))

    def put(self, cell: Cell, result: CellResult) -> None:
        for table in TABLES:
            rows: list[dict[str, Any]] = getattr(result, table)
            self._put(self.cells / f"{cell.key}.{table}.parquet", rows, cell.document)

    def rows(self, cell: Cell, table: str) -> list[dict[str, Any]]:
        path = self.cells / f"{cell.key}.{table}.parquet"
        return _read(path) if path.is_file() else self._joined(cell, table)

    def _joined(self, cell: Cell, table: str) -> list[dict[str, Any]]:
        """From the tables of all cells, which are enough to go on and to report."""
        path, own = self.root / f"{table}.parquet", {*_flat(cell)}
        rows = _read(path) if path.is_file() else []
        return [
            {name: value for name, value in row.items() if name not in own}
            for row in rows
            if row["cell"] == cell.key
        ]

    def join(self, experiment: Experiment) -> None:
        """Write the tables of all cells, each row with its place in the sweep and its learner."""
        for table in TABLES:
            rows = [
                {**_flat(cell), **row}
                for cell in experiment.cells()
                for row in self.rows(cell, table)
            ]
            self._put(self.root / f"{table}.parquet", rows, experiment.model_dump(mode="json"))

    def _put(self, path: Path, rows: Sequence[Mapping[str, Any]], document: Any) -> None:
        content = pa.Table.from_pylist(list(rows))
        told = {
            "rescind.experiment": json.dumps(document, sort_keys=True),
            "rescind.versions": json.dumps(versions(), sort_keys=True),
            "rescind.rows": _hash(content.to_pylist()),
        }
        content = content.replace_schema_metadata(told)
        sink = pa.BufferOutputStream()
        pq.write_table(content, sink, compression="zstd")
        write_atomically(path, sink.getvalue().to_pybytes())


def _read(path: Path) -> list[dict[str, Any]]:
    """Raises AgentError for a file that is not as it was written: Parquet itself does not tell."""
    try:
        content = pq.read_table(path)
        rows: list[dict[str, Any]] = content.to_pylist()
        told = (content.schema.metadata or {}).get(b"rescind.rows", b"").decode()
    except (OSError, ValueError, pa.ArrowException) as error:
        raise AgentError(f"{path} is not a result: {error}. Remove it and sweep again.") from error
    if told != _hash(rows):
        raise AgentError(f"{path} was changed after it was written. Remove it and sweep again.")
    return rows


def _hash(rows: Sequence[Mapping[str, Any]]) -> str:
    """SHA-256 of the rows as JSON."""
    return hashlib.sha256(json.dumps(list(rows)).encode()).hexdigest()


def versions() -> dict[str, str]:
    found = {"python": platform.python_version(), "machine": platform.machine()}
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _flat(cell: Cell) -> dict[str, Any]:
    point = {
        name: value if isinstance(value, (str, int, float, bool)) else json.dumps(value)
        for name, value in cell.point.items()
    }
    return {"cell": cell.key, "learner": cell.learner.title, **point}
