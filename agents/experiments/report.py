"""What an experiment found: tables, plots as SVG, one page of HTML, and verdicts in words."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from rescind.agents.experiments.config import MINIMUM_SEEDS, Cell
from rescind.agents.experiments.plots import curves, points
from rescind.agents.experiments.statistics import Estimate, estimate
from rescind.agents.experiments.store import RunFolder, versions
from rescind.core.errors import AgentError

MEASURES: Mapping[str, str] = {
    "participation": "participation",
    "late_participation": "participation, last quarter",
    "effort": "effort of those",
    "data_fraction": "their share of data",
    "noise": "their noise",
    "quality": "quality at the end",
    "welfare": "social welfare (ether)",
    "price_of_anarchy": "price of anarchy",
    "exploitability": "exploitability (ether)",
    "net_of_first": "first organization's net (ether)",
    "fairness": "fairness (Jain)",
    "pay_follows_work": "pay follows work (rank)",
    "cheats_pay": "a cheat's pay to an honest one's",
}
_SHORT: Mapping[str, str] = {
    "participation": "take part",
    "effort": "effort",
    "data_fraction": "data",
    "quality": "quality",
    "welfare": "welfare",
    "price_of_anarchy": "anarchy",
    "exploitability": "exploit",
    "net_of_first": "first's net",
    "cheats_pay": "cheats",
}
_LEARNING = ("q-learning", "double-q", "sarsa", "bandit", "dqn")


@dataclass(frozen=True)
class Found:
    """One cell: `values` name -> a number for each seed."""

    cell: Cell
    values: Mapping[str, Sequence[float]]
    estimates: Mapping[str, Estimate]


def found_in(folder: RunFolder) -> list[Found]:
    """Every cell of the experiment that was run there. Raises AgentError where some are missing."""
    cells = folder.experiment().cells()
    missing = [cell for cell in cells if not folder.has(cell)]
    if missing:
        raise AgentError(
            f"{folder.root}: {len(missing)} of {len(cells)} cells are not there: "
            "run rescind agents sweep with the same --out"
        )
    return [_found(cell, folder) for cell in cells]


def write_report(found: Sequence[Found], folder: RunFolder) -> Path:
    """report.html and its SVG plots in the experiment's folder."""
    experiment = folder.experiment()
    private = any(it.cell.game.private for it in found)
    shown = [
        name
        for name in MEASURES
        if any(not math.isnan(it.estimates[name].iqm) for it in found)
        and (private or name != "noise")
    ]
    plots = _plots(folder, found, shown)
    pages = Environment(
        loader=PackageLoader("rescind.agents.experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = pages.get_template("report.html.j2").render(
        experiment=experiment,
        found=found,
        shown=shown,
        names=MEASURES,
        plots=plots,
        verdicts=verdicts(found),
        pay=_pay(found, folder),
        few=experiment.experiment.seeds < MINIMUM_SEEDS,
        minimum=MINIMUM_SEEDS,
        versions=versions(),
    )
    place = folder.root / "report.html"
    place.write_text(text, encoding="utf-8")
    return place


def as_text(found: Sequence[Found]) -> list[list[str]]:
    """The main measures without their intervals, for a terminal; a header first."""
    shown = [name for name in _SHORT if any(not math.isnan(f.estimates[name].iqm) for f in found)]
    axes = [name.split(".", 1)[1] for name in found[0].cell.point]
    rows = [["learner", *axes, *(_SHORT[name] for name in shown)]]
    for it in found:
        place = [str(value) for value in it.cell.point.values()]
        values = [it.estimates[name].iqm for name in shown]
        told = ["-" if math.isnan(value) else f"{value:.2f}" for value in values]
        rows.append([it.cell.learner.title, *place, *told])
    return rows


def verdicts(found: Sequence[Found]) -> list[str]:
    """Who beats whom on the first organization's net, game by game and seed by seed: only an interval
    of the difference that leaves out zero counts."""
    by_title: dict[str, list[Found]] = {}
    for it in found:
        by_title.setdefault(it.cell.learner.title, []).append(it)
    said = []
    for better, worse in _pairs(list(by_title)):
        strata = []
        for one in by_title[better]:
            other = next((o for o in by_title[worse] if o.cell.point == one.cell.point), None)
            if other is not None:
                mine, theirs = (np.array(f.values["net_of_first"]) for f in (one, other))
                strata.append(list(mine - theirs))
        if not strata:
            continue
        difference = estimate(strata)
        if difference.low > 0:
            word = "earns more than"
        elif difference.high < 0:
            word = "earns less than"
        else:
            word = "does not beat"
        said.append(f"{better} {word} {worse}: difference {difference} ether")
    return said


def _pairs(titles: Sequence[str]) -> list[tuple[str, str]]:
    """Learners against myopic, and DQN against the tabular ones, where they sat alike."""
    pairs = []
    for one in titles:
        name, _, others = one.partition(" among ")
        if name not in _LEARNING:
            continue
        for rival in titles:
            known, _, theirs = rival.partition(" among ")
            if theirs == others and (
                known == "myopic" or (name == "dqn" and known in _LEARNING and known != "dqn")
            ):
                pairs.append((one, rival))
    return pairs


def _found(cell: Cell, folder: RunFolder) -> Found:
    rows = folder.rows(cell, "measures")
    values = {
        name: [row[name] if row[name] is not None else math.nan for row in rows]
        for name in MEASURES
    }
    return Found(cell, values, {name: estimate([series]) for name, series in values.items()})


def _pay(found: Sequence[Found], folder: RunFolder) -> list[tuple[str, float, float]]:
    """For each cell, the interval that 95 % of an organization's pay of one round lies in, over all
    rounds of the evaluation."""
    result = []
    for it in found:
        rows = folder.rows(it.cell, "rounds")
        low, high = min(r["pay_low"] for r in rows), max(r["pay_high"] for r in rows)
        title = ", ".join(part for part in (it.cell.learner.title, it.cell.label) if part)
        result.append((title, low, high))
    return result


def _plots(
    folder: RunFolder, found: Sequence[Found], shown: Sequence[str]
) -> list[tuple[str, str]]:
    """(title, SVG) of each plot; each is written beside the report as well."""
    series: dict[str, dict[str, Any]] = {"participation": {}, "quality": {}, "training": {}}
    for it in found:
        title = ", ".join(part for part in (it.cell.learner.title, it.cell.label) if part)
        rounds = folder.rows(it.cell, "rounds")
        for name in ("participation", "quality"):
            series[name][title] = _series(rounds, "round", name)
        training = folder.rows(it.cell, "training")
        if training:
            series["training"][title] = _series(training, "episode", "welfare")
    made = [
        ("Participation over time", curves(series["participation"], "round", "participation")),
        ("Quality over time", curves(series["quality"], "round", "quality")),
    ]
    if series["training"]:
        made.append(
            ("Course of training", curves(series["training"], "episode", "social welfare (ether)"))
        )
    labels = [
        ", ".join(part for part in (it.cell.learner.title, it.cell.label) if part) for it in found
    ]
    for name in ("welfare", "price_of_anarchy", "exploitability", "cheats_pay"):
        if name in shown:
            estimates = [it.estimates[name] for it in found]
            made.append((MEASURES[name], points(labels, estimates, MEASURES[name])))
    for title, svg in made:
        place = title.lower().replace(" ", "-").replace("(", "").replace(")", "").replace("'", "")
        (folder.root / f"{place}.svg").write_text(svg, encoding="utf-8")
    return made


def _series(rows: Sequence[Mapping[str, Any]], x: str, y: str) -> list[tuple[float, Estimate]]:
    by_x: dict[float, list[float]] = {}
    for row in rows:
        by_x.setdefault(row[x], []).append(row[y])
    return [(at, estimate([values])) for at, values in sorted(by_x.items())]
