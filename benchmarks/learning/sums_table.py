"""The tables of benchmarks.learning.sums."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from benchmarks.forgetting.table import spread

Line = Mapping[str, Any]
_SHARES = ("alone", "together", "after a removal")
_PEERS = ("ridge in floats", "logistic regression")
_KEYS = ("task", "features", "base", "ridge")
_MISSING = "-"
"""Stands for what an earlier run did not record."""
_COSTS = ("a row", "collect", "check", "ridge", "solve", "verify", "remove", "remove a person")


def page(lines: Sequence[Line]) -> str:
    """Return three tables: what is right, what others make of the same features, what it costs."""
    return "\n".join([*_shares(lines), "", *_peers(lines), "", *_costs(lines)]) + "\n"


def _shares(lines: Sequence[Line]) -> list[str]:
    same_bytes = ("as in one place", "as without")
    titles = [*_KEYS, *_SHARES, "ridge / trace rule's", *same_bytes]
    rows = [_row(titles), "|---" * len(titles) + "|"]
    for key, own in _groups(lines, _KEYS).items():
        cells = [_cell([line[column] for line in own]) for column in _SHARES]
        times = {f"{line['times trace']:.2g}" for line in own if "times trace" in line}
        same = [_agreeing(own, name) for name in ("same as in one place", "same as without")]
        rows.append(_row([*key, *cells, ", ".join(sorted(times)) or _MISSING, *same]))
    return rows


def _peers(lines: Sequence[Line]) -> list[str]:
    rows = [_row(["task", "features", "base", "ridge", "sums", *_PEERS]), "|---" * 7 + "|"]
    measured = [line for line in lines if _PEERS[0] in line]
    for key, own in _groups(measured, _KEYS).items():
        cells = [_cell([line[column] for line in own]) for column in ("together", *_PEERS)]
        rows.append(_row([*key, *cells]))
    return rows


def _costs(lines: Sequence[Line]) -> list[str]:
    titles = [
        "task",
        "features",
        "base",
        "ridge",
        "numbers",
        "MB",
        *(f"{name}, s" for name in _COSTS),
    ]
    rows = [_row(titles), "|---" * len(titles) + "|"]
    for key, own in _groups(lines, _KEYS).items():
        size = [str(own[0].get("dimensions", _MISSING)), f"{own[0]['bytes'] / 1e6:.1f}"]
        seconds = [_seconds([line["seconds"] for line in own], name) for name in _COSTS]
        rows.append(_row([*key, *size, *seconds]))
    return rows


def _agreeing(lines: Sequence[Line], name: str) -> str:
    known = [line[name] for line in lines if name in line]
    return f"{sum(known)} of {len(known)}" if known else _MISSING


def _seconds(lines: Sequence[Line], name: str) -> str:
    known = [line[name] for line in lines if name in line]
    return f"{np.mean(known):.2g}" if known else _MISSING


def _groups(lines: Sequence[Line], keys: Sequence[str]) -> dict[tuple[str, ...], list[Line]]:
    groups: dict[tuple[str, ...], list[Line]] = {}
    for line in lines:
        groups.setdefault(tuple(str(line[key]) for key in keys), []).append(line)
    return groups


def _row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _cell(values: Sequence[float]) -> str:
    mean, half = spread(values)
    return f"{mean:.3f}" + ("" if half is None or math.isnan(half) else f" ± {half:.3f}")
