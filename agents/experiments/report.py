"""Reports of an experiment: an HTML page with tables, plots and verdicts, and a terminal table."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
from jinja2 import Environment, PackageLoader, StrictUndefined

from rescind.agents.experiments.config import MINIMUM_SEEDS
from rescind.agents.experiments.plots import curves, points
from rescind.agents.experiments.results import MEASURES, CellResults, Results
from rescind.agents.experiments.statistics import estimate
from rescind.agents.experiments.store import RunFolder

# Column titles for terminals, short enough for nine columns in a line.
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


def write_report(results: Results, folder: RunFolder) -> Path:
    """Write report.html and its SVG plots into the experiment's folder; return the page's path."""
    experiment, cells = folder.experiment(), results.cells
    private = any(result.cell.game.private for result in cells)
    # Noise beyond what was agreed on is open only where rounds are private.
    shown = [name for name in _measured(cells, MEASURES) if private or name != "noise"]
    plots = _plots(cells, shown)
    for title, svg in plots:
        (folder.root / f"{_file_name(title)}.svg").write_text(svg, encoding="utf-8")
    pages = Environment(
        loader=PackageLoader("rescind.agents.experiments", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    text = pages.get_template("report.html.j2").render(
        experiment=experiment,
        results=cells,
        shown=shown,
        names=MEASURES,
        plots=plots,
        verdicts=verdicts(cells),
        few=experiment.experiment.seeds < MINIMUM_SEEDS,
        minimum=MINIMUM_SEEDS,
        versions=results.versions,
    )
    path = folder.root / "report.html"
    path.write_text(text, encoding="utf-8")
    return path


def as_text(results: Results) -> list[list[str]]:
    """Return the main measures without intervals as rows for a terminal, a header first."""
    shown = _measured(results.cells, _SHORT)
    axes = [name.split(".", 1)[1] for name in results.cells[0].cell.point]
    rows = [["learner", *axes, *(_SHORT[name] for name in shown)]]
    for result in results.cells:
        point = [str(value) for value in result.cell.point.values()]
        values = [result.estimates[name].iqm for name in shown]
        cells = ["-" if math.isnan(value) else f"{value:.2f}" for value in values]
        rows.append([result.cell.learner.title, *point, *cells])
    return rows


def verdicts(results: Sequence[CellResults]) -> list[str]:
    """Return which learners beat which on the first organization's net, in words.

    Learners are compared game by game and seed by seed. A learner beats another only if the
    interval of the difference leaves out zero.
    """
    by_title: dict[str, list[CellResults]] = {}
    for result in results:
        by_title.setdefault(result.cell.learner.title, []).append(result)
    lines = []
    for learner, rival in _pairs(list(by_title)):
        strata = _differences(by_title[learner], by_title[rival])
        if not strata:
            continue
        difference = estimate(strata)
        if difference.low > 0:
            verdict = "earns more than"
        elif difference.high < 0:
            verdict = "earns less than"
        else:
            verdict = "does not beat"
        lines.append(f"{learner} {verdict} {rival}: difference {difference} ether")
    return lines


def _differences(
    results: Sequence[CellResults], rivals: Sequence[CellResults]
) -> list[list[float]]:
    """Return the difference of net for each seed, one list for each game that both played."""
    strata = []
    for result in results:
        rival = next((r for r in rivals if r.cell.point == result.cell.point), None)
        if rival is not None:
            own, other = (np.array(r.values["net_of_first"]) for r in (result, rival))
            strata.append(list(own - other))
    return strata


def _pairs(titles: Sequence[str]) -> list[tuple[str, str]]:
    """Return learners paired with myopic, and DQN with the tabular ones, among the same others."""
    pairs = []
    for title in titles:
        name, _, others = title.partition(" among ")
        if name not in _LEARNING:
            continue
        for rival in titles:
            rival_name, _, rival_others = rival.partition(" among ")
            tabular = rival_name in _LEARNING and rival_name != "dqn"
            if rival_others == others and (rival_name == "myopic" or (name == "dqn" and tabular)):
                pairs.append((title, rival))
    return pairs


def _measured(results: Sequence[CellResults], names: Mapping[str, str]) -> list[str]:
    """Return the measures that have a value in some cell."""
    return [n for n in names if any(not math.isnan(r.estimates[n].iqm) for r in results)]


def _plots(results: Sequence[CellResults], shown: Sequence[str]) -> list[tuple[str, str]]:
    """Return title and SVG of each plot."""
    participation = {result.title: result.participation for result in results}
    quality = {result.title: result.quality for result in results}
    training = {result.title: result.training for result in results if result.training}
    plots = [
        (
            "Participation over time",
            curves(participation, "round", "participation (share of members)"),
        ),
        ("Quality over time", curves(quality, "round", "quality (0 to 1)")),
    ]
    if training:
        welfare = curves(training, "training episode", "social welfare (ether)")
        plots.append(("Welfare during training", welfare))
    labels = [result.title for result in results]
    for name in ("welfare", "price_of_anarchy", "exploitability", "cheats_pay"):
        if name in shown:
            estimates = [result.estimates[name] for result in results]
            plots.append((MEASURES[name], points(labels, estimates, MEASURES[name])))
    return plots


def _file_name(title: str) -> str:
    """Return a plot's title as a file name: lower case, hyphens, no parentheses or quotes."""
    return title.lower().replace(" ", "-").translate(str.maketrans("", "", "()'"))
