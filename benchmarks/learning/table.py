"""From results to one table: python -m benchmarks.learning.table

Means over seeds, with the half width of a 95 % interval by Student's t where there are several.
`--less ROW OTHER` prints how many points of whole answers a row is above another, paired by seed.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections import Counter, defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from benchmarks.forgetting.table import spread
from benchmarks.learning.catalog import ARRANGEMENTS
from benchmarks.learning.run import PLAN, RESULTS

Line = Mapping[str, Any]


def page(lines: Sequence[Line]) -> str:
    found: dict[tuple[str, int], dict[str, list[Line]]] = defaultdict(lambda: defaultdict(list))
    for line in lines:
        found[line["task"], line["organizations"]][line["arrangement"]].append(line)
    columns = [
        (task, n) for task in PLAN for n in PLAN[task]["organizations"] if (task, n) in found
    ]
    head = ["arrangement", *(f"{task}, {n}" for task, n in columns), "seeds", "MB moved", "time"]
    rows = [f"| {' | '.join(head)} |", "|" + "---|" * len(head)]
    for name in _present(lines):
        cells = [_cell(found[column][name]) for column in columns]
        mine = [line for column in columns for line in found[column][name] if line["cost"]]
        cells += [_seeds(mine), _share(mine, "bytes_moved", 1e6), _share(mine, "seconds", 1)]
        rows.append(f"| {name} | {' | '.join(cells)} |")
    return "\n".join(rows) + "\n"


def costs(lines: Sequence[Line]) -> str:
    """Return a table of the cost of summed ranks, a row for each rank and task; empty where there are none."""
    heads = ("MB of one", "sums of one, s", "solution, s", "removal, s", "same bytes as without")
    rows = [f"| arrangement | task | {' | '.join(heads)} |", "|---" * 7 + "|"]
    for name in _present(lines):
        for task in PLAN:
            notes = [
                line["notes"]
                for line in lines
                if (line["task"], line["arrangement"]) == (task, name) and "notes" in line
            ]
            if notes:
                rows.append(f"| {name} | {task} | {_costs(notes)} |")
    return "\n".join(rows) + "\n" if len(rows) > 2 else ""


def differences(lines: Sequence[Line], name: str, other: str) -> str:
    """Return how many points of whole answers one row is above another, by task, paired by seed."""
    rows = [f"| {name} less {other} | points | seeds |", "|---" * 3 + "|"]
    right: dict[tuple[str, int], dict[tuple[str, int], float]] = defaultdict(dict)
    for line in lines:
        if "right" in line:
            cell = right[line["task"], line["organizations"]]
            cell[line["arrangement"], line["seed"]] = line["right"]
    for (task, count), cell in sorted(right.items()):
        seeds = [seed for row, seed in cell if row == name and (other, seed) in cell]
        if seeds:
            points = [100 * (cell[name, seed] - cell[other, seed]) for seed in seeds]
            mean, half = spread(points)
            around = "" if half is None else f" ± {half:.1f}"
            rows.append(f"| {task}, {count} | {mean:.1f}{around} | {len(seeds)} |")
    return "\n".join(rows) + "\n"


def _costs(notes: Sequence[Line]) -> str:
    size = f"{notes[0]['bytes_of_sums'] / 1e6:.1f}"
    keys = ("seconds_of_sums", "seconds_of_solution", "seconds_of_removal")
    means = [f"{spread([note[key] for note in notes])[0]:.2f}" for key in keys]
    same = sum(note["same_as_without"] for note in notes)
    return " | ".join([size, *means, f"{same} of {len(notes)}"])


def _present(lines: Sequence[Line]) -> list[str]:
    known = {line["arrangement"] for line in lines}
    return [name for name in ARRANGEMENTS if name in known]


def _cell(lines: Sequence[Line]) -> str:
    """Whole answers right, and tokens right in brackets."""
    known = [line for line in lines if "right" in line]
    if not known:
        return next((str(line["failed"]) for line in lines), "-")
    mean, half = spread([line["right"] for line in known])
    tokens, _ = spread([line["tokens_right"] for line in known])
    around = "" if half is None else f" ± {half:.2f}"
    return f"{mean:.2f}{around} ({tokens:.2f})"


def _seeds(lines: Sequence[Line]) -> str:
    """Return how many seeds a row has; the fewest and the most where its cells differ."""
    counts = Counter((line["task"], line["organizations"]) for line in lines).values()
    return (
        " to ".join(str(count) for count in sorted({min(counts), max(counts)})) if counts else "-"
    )


def _share(lines: Sequence[Line], key: str, unit: float) -> str:
    """Mean over the cells of a row."""
    values = [line["cost"][key] / unit for line in lines]
    return f"{spread(values)[0]:.1f}" if values else "-"


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument("--less", nargs=2, metavar=("ROW", "OTHER"), choices=list(ARRANGEMENTS))
    arguments = parser.parse_args()
    if not arguments.results.exists():
        sys.exit(f"{arguments.results} is not there: run benchmarks.learning.run first")
    lines = [json.loads(it) for it in arguments.results.read_text(encoding="utf-8").splitlines()]
    if arguments.less:
        sys.stdout.write(differences(lines, *arguments.less))
        return
    sys.stdout.write(page(lines))
    if any("notes" in line for line in lines):
        sys.stdout.write("\n" + costs(lines))


if __name__ == "__main__":
    main()
