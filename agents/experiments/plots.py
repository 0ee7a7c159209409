"""Plots of estimates, as SVG text."""

from __future__ import annotations

import io
import math
from collections.abc import Mapping, Sequence
from typing import Any

from rescind.agents.experiments.statistics import Estimate

# matplotlib repeats its colours after ten series; the line style then tells them apart.
_COLOURS = 10
_STYLES = ("-", "--", ":", "-.")


def curves(
    series: Mapping[str, Sequence[tuple[float, Estimate]]], x_label: str, y_label: str
) -> str:
    """Plot each series as a line of interquartile means with its 95 % interval shaded.

    Args:
        series: Points of each series by its title.
        x_label: Label of the x axis.
        y_label: Label of the y axis.

    Returns:
        The <svg> element.
    """
    figure, axes = _figure(8.0, 4.0)
    for index, (title, points_) in enumerate(series.items()):
        x = [at for at, _ in points_]
        style = _STYLES[index // _COLOURS % len(_STYLES)]
        color = f"C{index % _COLOURS}"
        means = [e.iqm for _, e in points_]
        axes.plot(x, means, style, label=title, color=color, linewidth=1.6)
        low, high = [e.low for _, e in points_], [e.high for _, e in points_]
        axes.fill_between(x, low, high, color=color, alpha=0.15, linewidth=0)
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    axes.legend(fontsize=8, loc="center left", bbox_to_anchor=(1.01, 0.5), frameon=False)
    return _svg(figure)


def points(labels: Sequence[str], estimates: Sequence[Estimate], title: str) -> str:
    """Plot the interquartile mean and 95 % interval of each label as a row.

    Args:
        labels: Label of each row, from the top.
        estimates: Estimate of each row. A row that is not a number stays empty.
        title: Label of the x axis.

    Returns:
        The <svg> element.
    """
    # 0.32 inches a row keep labels of 8 points apart.
    figure, axes = _figure(8.0, 0.9 + 0.32 * len(labels))
    for row, estimate in enumerate(estimates):
        if math.isnan(estimate.iqm):
            continue
        axes.plot([estimate.low, estimate.high], [row, row], color="C0", linewidth=2)
        axes.plot([estimate.iqm], [row], "o", color="C0", markersize=5)
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
    # With a fixed salt and no date, the same results make the same file.
    with mpl.rc_context({"svg.hashsalt": "rescind", "svg.fonttype": "none"}):
        figure.savefig(out, format="svg", metadata={"Date": None})
    text = out.getvalue()
    return text[text.index("<svg") :]
