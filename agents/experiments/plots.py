"""Plots as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rescind.agents.experiments.statistics import Estimate

_STYLES = ("-", "--", ":", "-.")


def curves(
    series: Mapping[str, Sequence[tuple[float, Estimate]]], x_label: str, y_label: str
) -> str:
    """A line for each series through its interquartile means, its 95 % interval shaded."""
    figure, axes = _figure(8.0, 4.0)
    for place, (title, points_) in enumerate(series.items()):
        x = [at for at, _ in points_]
        style = _STYLES[place // 10 % len(_STYLES)]
        axes.plot(
            x,
            [e.iqm for _, e in points_],
            style,
            label=title,
            color=f"C{place % 10}",
            linewidth=1.6,
        )
        low, high = [e.low for _, e in points_], [e.high for _, e in points_]
        axes.fill_between(x, low, high, color=f"C{place % 10}", alpha=0.15, linewidth=0)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _svg(figure)


def points(labels: Sequence[str], estimates: Sequence[Estimate], title: str) -> str:
    """One row for each label: its interquartile mean and 95 % interval."""
    figure, axes = _figure(8.0, 0.9 + 0.32 * len(labels))
    for place, it in enumerate(estimates):
        if math.isnan(it.iqm):
            continue
        axes.plot([it.low, it.high], [place, place], color="C0", linewidth=2)
        axes.plot([it.iqm], [place], "o", color="C0", markersize=5)
    axes.set_yticks(range(len(labels)), labels, fontsize=8)
    axes.invert_yaxis()
    axes.set_xlabel(title)
    return _svg(figure)


def _figure(width: float, height: float) -> Any:
    from matplotlib.figure import Figure

    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.subplots()
    axes.spines[["top", "right"]].set_visible(False)
    axes.grid(alpha=0.25)
    return figure, axes


def _svg(figure: Any) -> str:
    import matplotlib as mpl

    out = io.StringIO()
    with mpl.rc_context({"svg.hashsalt": "rescind", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
