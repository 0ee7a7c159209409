"""Write report.html: one self-contained page about a run."""

from __future__ import annotations

import io
from pathlib import Path

import matplotlib
from jinja2 import Environment, FileSystemLoader, StrictUndefined, select_autoescape
from matplotlib.figure import Figure

from rescind.core import write_private
from rescind.devnet.layout import RunFolder
from rescind.devnet.summary import SkillSummary, Summary, without_of

_STAGES = (
    ("before", "before withdrawal", "#4568c9"),
    ("after", "after removal", "#2f8f5b"),
    ("replay", "run without it", "#b9c2cf"),
)


def write_report(run: RunFolder, summary: Summary) -> None:
    """Write report.html into the run's folder."""
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=select_autoescape(default=True),
        undefined=StrictUndefined,
    )
    page = environment.get_template("report.html.j2").render(
        summary=summary,
        score_plot=_scores(summary),
        skill_plot=_skill(summary.evaluation.skill) if summary.evaluation.skill else "",
        time_plot=_times(summary),
        certificate=run.certificate.name,
        left_out=without_of(summary.coupling, summary.withdrawal.organization),
    )
    write_private(run.root / "report.html", page.encode())


def _scores(summary: Summary) -> str:
    names = [n for n, score in summary.evaluation.before.items() if score is not None]
    figure = Figure(figsize=(9, 3.4), layout="constrained")
    axes = figure.subplots()
    width = 0.26
    for position, (stage, label, colour) in enumerate(_STAGES):
        scores = getattr(summary.evaluation, stage)
        axes.bar(
            [i + (position - 1) * width for i in range(len(names))],
            [100 * (scores[n] or 0.0) for n in names],
            width,
            label=label,
            color=colour,
        )
    axes.set_xticks(range(len(names)), [n.replace("_", " ") for n in names])
    axes.set_ylabel("right answers, %")
    axes.set_ylim(0, 105)
    axes.legend(frameon=False, ncols=3, loc="upper center", bbox_to_anchor=(0.5, 1.16))
    return _svg(figure)


def _skill(skill: SkillSummary) -> str:
    bars = (
        ("alone", skill.alone, "#b9c2cf"),
        ("together", skill.together, "#4568c9"),
        ("after removal", skill.after, "#2f8f5b"),
        ("run without it", skill.replay, "#b9c2cf"),
    )
    figure = Figure(figsize=(9, 1.9), layout="constrained")
    axes = figure.subplots()
    axes.barh([n for n, _, _ in bars], [100 * s for _, s, _ in bars], color=[c for _, _, c in bars])
    axes.set_xlim(0, 105)
    axes.set_xlabel(f"{skill.task} found, %")
    axes.invert_yaxis()
    return _svg(figure)


def _times(summary: Summary) -> str:
    figure = Figure(figsize=(9, 1.7), layout="constrained")
    axes = figure.subplots()
    values = [summary.withdrawal.removal_seconds, summary.withdrawal.replay_seconds]
    axes.barh(["removal", "replay"], values, color=["#2f8f5b", "#b9c2cf"])
    axes.set_xscale("log")
    axes.set_xlim(min(values) / 3, max(values) * 6)
    axes.set_xlabel("seconds, logarithmic")
    for position, value in enumerate(values):
        axes.text(value * 1.1, position, f"{value:.2f} s", va="center")
    axes.invert_yaxis()
    return _svg(figure)


def _svg(figure: Figure) -> str:
    for axes in figure.axes:
        axes.spines[["top", "right"]].set_visible(False)
        axes.patch.set_alpha(0)
    figure.patch.set_alpha(0)
    buffer = io.StringIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "rescind"}):
        figure.savefig(
            buffer, format="svg", metadata=dict.fromkeys(("Creator", "Date", "Format", "Type"))
        )
    text = buffer.getvalue()
    return text[text.index("<svg") :]
