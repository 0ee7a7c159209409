"""Learning curves that are fitted to traces of real runs.

A trace is a file of JSON lines: first {"format": "rescind.trace/1"}, then one `TraceRow` for each
organization and round. `rescind demo` and `rescind devnet up` write it as trace.jsonl in the run's
folder.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Annotated, Any

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, ValidationError

from rescind.core.errors import AgentError
from rescind.core.frozen import Frozen
from rescind.core.json_text import parse_json

Floats = NDArray[np.float64]
TRACE_FORMAT = "rescind.trace/1"


class TraceRow(Frozen):
    """One organization's part in one round.

    Attributes:
        organization: The organization's name.
        round: The round's number, from 1.
        effort: Share of the agreed local steps.
        data_fraction: Share of the private data.
        noise: Noise beyond the agreed one; 1.0 doubles the multiplier.
        statistics: Share of its rows whose statistics it posted.
        took_part: Whether it trained.
        quality_before: Share of its questions that its model answered right before the round.
        quality: The same after the round.
        score: Its score, 0 to 10,000.
        paid: Pay, in ether.
        compute_price: Cost of a round at full effort, in ether.
        quality_value: Value of a model that answers all of its questions, in ether.
    """

    organization: str
    round: Annotated[int, Field(ge=1)]
    effort: Annotated[float, Field(ge=0, le=1)]
    data_fraction: Annotated[float, Field(ge=0, le=1)]
    noise: Annotated[float, Field(ge=0)] = 0.0
    statistics: Annotated[float, Field(ge=0, le=1)] = 0.0
    took_part: bool
    quality_before: Annotated[float, Field(ge=0, le=1)]
    quality: Annotated[float, Field(ge=0, le=1)]
    score: Annotated[int, Field(ge=0, le=10_000)]
    paid: Annotated[float, Field(ge=0)]
    compute_price: Annotated[float, Field(ge=0)]
    quality_value: Annotated[float, Field(ge=0)]


class LearningCurve(Frozen):
    """A curve of quality by work: ceiling * (1 - exp(-(work / scale) ** shape)).

    Attributes:
        ceiling: Quality that is never exceeded.
        scale: Work, in full rounds, after which 1 - 1/e of the ceiling is reached.
        shape: Steepness. Above 1, answers come late and then all at once, as in real runs.
        data_exponent: A round on a share f of the data is f ** data_exponent of a full one.
        noise_loss: A round with extra noise n is 1 / (1 + noise_loss * n) of one without.
    """

    ceiling: Annotated[float, Field(gt=0, le=1)] = 1.0
    scale: Annotated[float, Field(gt=0, le=1e6)] = 1.0
    shape: Annotated[float, Field(ge=0.1, le=10)] = 1.0
    data_exponent: Annotated[float, Field(ge=0, le=10)] = 1.0
    noise_loss: Annotated[float, Field(ge=0, le=100)] = 1.0

    def work(self, effort: Floats, data_fraction: Floats, noise: Floats) -> Floats:
        """Return the work of a round at these levels, in full rounds, elementwise."""
        return effort * data_fraction**self.data_exponent / (1.0 + self.noise_loss * noise)

    def reached(self, work: Floats, scale: float | None = None) -> Floats:
        """Return the share of the ceiling that some work reaches, elementwise.

        Args:
            work: Work, in full rounds.
            scale: Replaces the curve's scale.
        """
        return -np.expm1(-((work / (scale or self.scale)) ** self.shape))


def write_trace(path: Path, rows: Iterable[TraceRow]) -> None:
    """Write a trace file."""
    lines = [json.dumps({"format": TRACE_FORMAT}), *(row.model_dump_json() for row in rows)]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")


def read_trace(path: Path) -> list[TraceRow]:
    """Read a trace.

    Raises:
        AgentError: The file has another format, an unknown key or a bad value. The message names
            file and line.
    """
    try:
        lines = path.read_text(encoding="utf-8").splitlines()
        version = parse_json(lines[0])["format"] if lines else None
    except OSError as error:
        raise AgentError(f"{path} cannot be read: {error.strerror}.") from error
    except (ValueError, KeyError, TypeError) as error:
        raise AgentError(f"{path} is not a trace file: {error}.") from error
    if version != TRACE_FORMAT:
        raise AgentError(
            f"{path} is a trace of format {version!r}, but this version reads {TRACE_FORMAT}. "
            "Record the run again."
        )
    rows = []
    for number, line in enumerate(lines[1:], 2):
        try:
            rows.append(TraceRow.model_validate_json(line))
        except ValidationError as error:
            first = error.errors()[0]
            field = ".".join(str(part) for part in first["loc"]) or "the line"
            raise AgentError(f"{path}, line {number}: {field}: {first['msg']}") from error
    if not rows:
        raise AgentError(f"{path} contains no rounds. Use the trace of a run with finished rounds.")
    return rows


def fit(rows: Sequence[TraceRow]) -> tuple[LearningCurve, float]:
    """Fit a curve to the organizations' qualities by least squares.

    `noise_loss` keeps its default where no round had noise, `data_exponent` where all used all
    data.

    Returns:
        The curve, and its root mean square error of quality.

    Raises:
        AgentError: Fewer than three rounds had training.
    """
    from scipy.optimize import least_squares

    parts, points = _points(rows)
    if len(points) < 3:
        raise AgentError(
            f"The trace has {len(points)} rounds with training; a curve needs at least 3."
        )
    quality = np.asarray(points)
    start = LearningCurve()
    # Without such rounds in the trace, any value of these two parameters would fit.
    noisy = any(n > 0 for history in parts for *_, n in history)
    partial = any(f < 1 for history in parts for _, f, _ in history)

    def curve_of(x: np.ndarray) -> LearningCurve:
        return LearningCurve(
            ceiling=float(x[0]),
            scale=float(x[1]),
            shape=float(x[2]),
            data_exponent=float(x[3]) if partial else start.data_exponent,
            noise_loss=float(x[4]) if noisy else start.noise_loss,
        )

    def residuals(x: np.ndarray) -> Any:
        curve = curve_of(x)
        return np.subtract([quality_after(curve, history) for history in parts], quality)

    # The start is a typical real curve; the bounds keep the search where the curve has a meaning.
    fitted = least_squares(
        residuals,
        [min(1.0, max(0.05, quality.max())), 3.0, 1.5, 1.0, 1.0],
        bounds=([1e-3, 1e-3, 0.1, 0.0, 0.0], [1.0, 1e3, 10.0, 10.0, 100.0]),
    )
    return curve_of(fitted.x), float(np.sqrt(np.mean(fitted.fun**2)))


def quality_after(curve: LearningCurve, rounds: Sequence[tuple[float, float, float]]) -> float:
    """Return the quality after training rounds, each an effort, a data fraction and a noise."""
    effort, fraction, noise = np.array(rounds, dtype=np.float64).T
    work = curve.work(effort, fraction, noise).sum()
    return curve.ceiling * float(curve.reached(work))


def _points(
    rows: Sequence[TraceRow],
) -> tuple[list[tuple[tuple[float, float, float], ...]], list[float]]:
    """Return the trained rounds up to each round with training, and the quality after it."""
    histories: dict[str, list[tuple[float, float, float]]] = {}
    parts, qualities = [], []
    for row in sorted(rows, key=lambda row: (row.organization, row.round)):
        if not row.took_part:
            continue
        history = histories.setdefault(row.organization, [])
        history.append((row.effort, row.data_fraction, row.noise))
        parts.append(tuple(history))
        qualities.append(row.quality)
    return parts, qualities
