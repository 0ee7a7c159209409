"""The tables of benchmarks.learning.vocabulary."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from benchmarks.forgetting.table import spread

Line = Mapping[str, Any]
_FORMS = ("probabilities", "logits", "log-odds", "without base")
_PEERS = ("local only", "B alone, rank 64", "blocks", "centralized")


def page(lines: Sequence[Line], peers: Sequence[Line]) -> str:
    """Return the tables: whole answers beside peers, each form, labels, and what it costs."""
    return "\n".join(
        [_answers(lines, peers), _forms(lines), _labels(lines), _costs(lines)],
    )


def _answers(lines: Sequence[Line], peers: Sequence[Line]) -> str:
    columns: dict[str, Callable[[Line], float | None]] = {
        "base alone": lambda line: line["base_alone"]["whole"],
        "alone": lambda line: (line["alone_on_own"] or line["alone"])["whole"],
        "together": lambda line: line["together"]["whole"],
        "after a removal": lambda line: line["after_a_removal"]["whole"],
    }
    titles = [
        "task",
        "base",
        "pairs each",
        "numbers",
        "seeds",
        "n",
        *columns,
        *_PEERS,
        "as without",
    ]
    rows = []
    for key, own in _groups(lines).items():
        task, base, pairs, _ = key
        cells = [_cell([pick(line) for line in own]) for pick in columns.values()]
        for name in _PEERS:
            # Two files may have the same cell.
            held = {
                line["seed"]: line["right"]
                for line in peers
                if (line["task"], line["base"], line["arrangement"]) == (task, base, name)
                and "right" in line
                and pairs == "all"
            }
            cells.append(_cell(list(held.values())))
        same = sum(line["same_as_without"] and line["same_without_person"] for line in own)
        size = max(line["dimensions"] for line in own)
        rows.append(
            [task, base[:8], pairs, size, len(own), own[0]["n"], *cells, f"{same} of {len(own)}"]
        )
    return _table(titles, rows)


def _forms(lines: Sequence[Line]) -> str:
    """The test answers right with each form, at the gamma, map and ridge that the odd pairs choose."""
    maps = list(dict.fromkeys(row["map"] for line in lines for row in line["variants"]))
    rows = []
    for key, own in _groups(lines).items():
        for name in maps:
            cells = [_cell([_best(line, name, form) for line in own]) for form in _FORMS]
            rows.append([key[0], key[1][:8], key[2], name, *cells])
    return _table(["task", "base", "pairs each", "map", *_FORMS], rows)


def _best(line: Line, name: str, form: str) -> float:
    wanted = [row for row in line["variants"] if (row["map"], row["form"]) == (name, form)]
    return float(max(wanted, key=lambda row: row["odd"])["whole"])


def _labels(lines: Sequence[Line]) -> str:
    rows = []
    for key, own in _groups([line for line in lines if line["trie"]]).items():
        trie = [
            _cell([line["trie"][name][way] for line in own])
            for way in ("steps", "likeliest")
            for name in ("base", "alone", "together")
        ]
        heads = [
            _cell([line["label_head"][name] for line in own]) for name in ("alone", "together")
        ]
        asked = own[0]["trie"]["n"]
        rows.append([key[0], key[1][:8], len(own), asked, *trie, own[0]["n"], *heads])
    ways = [
        f"{way}: {name}" for way in ("steps", "likeliest") for name in ("base", "alone", "together")
    ]
    heads = ["n of heads", "label head: alone", "label head: together"]
    return _table(["task", "base", "seeds", "n", *ways, *heads], rows)


def _costs(lines: Sequence[Line]) -> str:
    rows = []
    for key, own in _groups(lines).items():
        numbers = [
            _cell([line[name] for line in own])
            for name in ("seconds_to_collect", "seconds_to_solve", "seconds_to_remove")
        ]
        one = own[0]
        sizes = [one["positions"], one["tokens_in_use"], one["dimensions"]]
        chosen = ", ".join(
            dict.fromkeys(
                f"{c['map']} {c['rule']} {c['form']} {c['gamma']:g}"
                for c in (line["chosen"] for line in own)
            )
        )
        rows.append(
            [
                key[0],
                key[1][:8],
                key[2],
                chosen,
                *sizes,
                f"{one['bytes_of_sums'] / 1e6:.1f}",
                *numbers,
            ]
        )
    titles = ["task", "base", "pairs each", "chosen", "positions", "tokens", "numbers", "MB"]
    return _table([*titles, "collect, s", "solve, s", "remove, s"], rows)


def _groups(lines: Sequence[Line]) -> dict[tuple[str, str, str, int], list[Line]]:
    groups: dict[tuple[str, str, str, int], list[Line]] = {}
    for line in lines:
        pairs = str(line["pairs"] or "all")
        groups.setdefault((line["task"], line["base"], pairs, line["random"]), []).append(line)
    return groups


def _cell(values: Sequence[float | None]) -> str:
    known = [value for value in values if value is not None]
    if not known:
        return "-"
    mean, half = spread(known)
    return f"{mean:.2f}" if half is None else f"{mean:.2f} ± {half:.2f}"


def _table(titles: Sequence[str], rows: Sequence[Sequence[Any]]) -> str:
    lines = [titles, *rows]
    shown = [f"| {' | '.join(map(str, line))} |" for line in lines]
    return "\n".join([shown[0], "|---" * len(titles) + "|", *shown[1:]]) + "\n"
