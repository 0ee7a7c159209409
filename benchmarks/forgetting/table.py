"""From results to one table and plots: python -m benchmarks.forgetting.table NAME

Figures are means over the seeds with the half width of a 95 % interval by Student's t; a row of one
seed has none.
"""

from __future__ import annotations

import argparse
import json
import math
import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from scipy.stats import t as student

from benchmarks.forgetting.run import RESULTS

Result = Mapping[str, Any]
Pick = Callable[[Result], float | None]


@dataclass(frozen=True)
class Column:
    """`digits`: of the decimal fraction."""

    title: str
    pick: Pick
    digits: int = 2


def _path(*keys: str) -> Pick:
    def pick(result: Result) -> float | None:
        value: Any = result
        for key in keys:
            value = value.get(key) if isinstance(value, Mapping) else None
        return None if value is None else float(value)

    return pick


def _log_p(result: Result) -> float | None:
    p = _path("forget_quality", "p")(result)
    return None if p is None else math.log10(max(p, 1e-300))


def _megabytes(result: Result) -> float | None:
    moved = _path("cost", "bytes_moved")(result)
    return None if moved is None else moved / 1e6


def _worst_prompt(result: Result) -> float | None:
    return _path("attacks", "prompts", "gap")(result)


MAIN = (
    Column("forget prob.", _path("scores", "forget", "probability")),
    Column("forget ROUGE-L", _path("scores", "forget", "rouge_l_recall")),
    Column("retain prob.", _path("scores", "retain", "probability")),
    Column("KS to replay", _path("forget_quality", "statistic")),
    Column("log10 p", _log_p, 1),
    Column("utility", _path("utility"), 3),
    Column("selectivity", _path("selectivity", "value")),
    Column("shared kept", _path("shared", "details", "kept")),
    Column("ES gap", _path("gaps", "extraction_strength", "value")),
    Column("privleak", _path("privleak", "value"), 0),
    Column("CPU s", _path("cost", "seconds"), 0),
    Column("MB moved", _megabytes, 1),
)
ATTACKS = (
    Column("LOSS AUC", _path("attacks", "loss", "value")),
    Column("ZLib", _path("attacks", "zlib", "value")),
    Column("Min-K%", _path("attacks", "min_k", "value")),
    Column("Min-K%++", _path("attacks", "min_k_plus_plus", "value")),
    Column("Reference", _path("attacks", "reference", "value")),
    Column("GradNorm", _path("attacks", "grad_norm", "value")),
    Column("before/after", _path("attacks", "nll_difference", "value")),
    Column("relearned, gap", _path("attacks", "relearning", "gap")),
    Column("4/8 bit, gap", _path("attacks", "quantization", "gap")),
    Column("prompts, gap", _worst_prompt),
    Column("token ban, gap", _path("attacks", "token_ban", "gap")),
)


def read(folder: Path) -> dict[str, dict[str, list[Result]]]:
    """Results by coupling and row, one for each seed."""
    found: dict[str, dict[str, list[Result]]] = {}
    for path in sorted(folder.glob("*/seed-*/*.json")):
        coupling = path.parts[-3]
        rows = found.setdefault(coupling, {})
        rows.setdefault(path.stem, []).append(json.loads(path.read_text(encoding="utf-8")))
    return found


def spread(values: Sequence[float]) -> tuple[float, float | None]:
    """Mean, and half width of its 95 % interval where there is more than one value."""
    mean = float(np.mean(values))
    if len(values) < 2:
        return mean, None
    error = float(np.std(values, ddof=1)) / math.sqrt(len(values))
    return mean, float(student.ppf(0.975, len(values) - 1)) * error


def cell(results: Sequence[Result], column: Column) -> str:
    known = [v for v in map(column.pick, results) if v is not None and math.isfinite(v)]
    if not known:
        return "-"
    mean, half = spread(known)
    text = f"{mean:.{column.digits}f}"
    return text if half is None else f"{text} ± {half:.{column.digits}f}"


def table(
    rows: Mapping[str, Sequence[Result]], columns: Sequence[Column], order: Sequence[str]
) -> str:
    shown = [row for row in order if row in rows]
    lines = [
        "| row | seeds | " + " | ".join(column.title for column in columns) + " | said of itself |",
        "|" + "---|" * (len(columns) + 3),
    ]
    for row in shown:
        results = rows[row]
        cells = [cell(results, column) for column in columns]
        lines.append(f"| {row} | {len(results)} | " + " | ".join(cells) + f" | {_said(results)} |")
    return "\n".join(lines)


def _said(results: Sequence[Result]) -> str:
    """The guard's verdicts, or why the row failed."""
    words = [str(r.get("failed") or r.get("report", {}).get("verdict") or "") for r in results]
    return ", ".join(dict.fromkeys(word for word in words if word))


def page(found: Mapping[str, Mapping[str, Sequence[Result]]]) -> str:
    parts = []
    for coupling, rows in found.items():
        first = next(iter(rows.values()))[0]
        order = first["conditions"]["config"]["rows"][coupling]
        order = [*order, *sorted(set(rows) - set(order))]
        parts += [
            f"## {coupling}",
            table(rows, MAIN, order),
            *(
                [table(rows, ATTACKS, order)]
                if any(r.get("attacks") for it in rows.values() for r in it)
                else []
            ),
            _conditions(first["conditions"]),
        ]
    return "\n\n".join(parts) + "\n"


def _conditions(conditions: Mapping[str, Any]) -> str:
    versions = ", ".join(f"{name} {number}" for name, number in conditions["versions"].items())
    n = ", ".join(f"{name} {count}" for name, count in conditions["n"].items())
    return (
        f"{conditions['machine']}; Python {conditions['python']}, {versions}; base model of "
        f"{conditions['base_parameters'] / 1e6:.1f} M parameters ({conditions['base'][:16]}); n: {n}."
    )


def plot(found: Mapping[str, Mapping[str, Sequence[Result]]], path: Path) -> None:
    """Forgetting against keeping, and against time: a replay is where all should be."""
    figure = Figure(figsize=(12, 4.2 * len(found)), layout="constrained")
    for line, (coupling, rows) in enumerate(found.items()):
        for place, (title, pick) in enumerate(
            (
                ("probability of the retain answers", _path("scores", "retain", "probability")),
                ("CPU seconds", _path("cost", "seconds")),
            )
        ):
            axes = figure.add_subplot(len(found), 2, 2 * line + place + 1)
            for row, results in rows.items():
                points = [(pick(r), _path("forget_quality", "statistic")(r)) for r in results]
                known = [(x, y) for x, y in points if x is not None and y is not None]
                if not known:
                    continue
                x, y = np.mean(known, axis=0)
                axes.plot(
                    x, y, "o" if row != "replay" else "*", markersize=6 if row != "replay" else 14
                )
                axes.annotate(row, (x, y), fontsize=7, xytext=(4, 3), textcoords="offset points")
            axes.set_xlabel(title)
            axes.set_ylabel("KS distance to the replay (0: alike)")
            axes.set_title(coupling)
            if place:
                axes.set_xscale("symlog", linthresh=1.0)
            else:
                axes.set_xlim(-0.05, 1.05)
            axes.invert_yaxis()
            axes.grid(alpha=0.3)
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("name", help="of the configuration, as in its file")
    parser.add_argument("--results", type=Path, default=RESULTS)
    arguments = parser.parse_args()
    folder = arguments.results / arguments.name
    found = read(folder)
    if not found:
        sys.exit(f"{folder} holds no results: run benchmarks.forgetting.run first")
    (folder / "table.md").write_text(page(found), encoding="utf-8")
    plot(found, folder / "plot.svg")
    sys.stdout.write(page(found))


if __name__ == "__main__":
    main()
