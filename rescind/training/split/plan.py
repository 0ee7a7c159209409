"""The order and mode in which labelled data trains: a function of labels and a seed."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Literal, get_args

import numpy as np

from rescind.core.errors import ConfigError, DataError
from rescind.training.data import Example

Label = Literal["revocable", "public", "uncertain"]
Mode = Literal["forget", "retain", "default"]

_FORGET, _PUBLIC, _UNCERTAIN = 0, 1, 2


@dataclass(frozen=True)
class PlannedStep:
    """One step: its mode, and the indices of its batch's rows in the data (`indices`)."""

    mode: Mode
    indices: tuple[int, ...]


def labels_of(
    examples: Sequence[Example], labels: Sequence[Label | None] | Callable[[Example], Label | None]
) -> list[Label]:
    """Return one label for each example.

    Args:
        examples: The examples.
        labels: A list with a label for each, or a function of an example. None is "uncertain".

    Raises:
        DataError: A label is unknown, or the list has another length.
    """
    stated = [labels(e) for e in examples] if callable(labels) else list(labels)
    if len(stated) != len(examples):
        raise DataError(
            f"{len(examples)} examples have {len(stated)} labels. Give one for each example."
        )
    result: list[Label] = []
    for example, label in zip(examples, stated, strict=True):
        if label is not None and label not in get_args(Label):
            raise DataError(
                f"The label of {example.question[:60]!r} is {label!r}. Use one of "
                f"{', '.join(get_args(Label))}, or None for uncertain."
            )
        result.append(label or "uncertain")
    return result


def plan(
    labels: Sequence[Label],
    *,
    open_steps: int,
    revocable_steps: int,
    batch_size: int,
    retain_share: float,
    seed: int,
) -> tuple[PlannedStep, ...]:
    """Return the steps of a round, with the steps of each mode spread evenly.

    In each pass over the public examples, a fresh seeded choice of `retain_share` of them is for
    retain steps; the rest, with everything uncertain, is for default steps. Open steps are divided
    in that proportion. Without the forget steps, and with examples counted among those of their own
    label, the plan is the same whatever revocable examples there are.

    Raises:
        ConfigError: A number of steps is negative, or there is no data for them.
    """
    where = {
        label: [index for index, own in enumerate(labels) if own == label]
        for label in get_args(Label)
    }
    public, uncertain = where["public"], where["uncertain"]
    _check(open_steps, len(public) + len(uncertain), "open_steps", "public or uncertain")
    _check(revocable_steps, len(where["revocable"]), "revocable_steps", "revocable")
    retained = round(retain_share * len(public))
    others = len(public) - retained + len(uncertain)
    retain_steps = round(open_steps * retained / max(1, retained + others))
    retain = _retain_batches(public, retained, batch_size, seed)
    default = _default_batches(public, uncertain, retained, batch_size, seed)
    forget = _batches(_passes(where["revocable"], [seed, _FORGET]), batch_size)
    opened = [
        PlannedStep("retain", next(retain)) if first else PlannedStep("default", next(default))
        for first in _spread(retain_steps, open_steps - retain_steps)
    ]
    revoked = [PlannedStep("forget", next(forget)) for _ in range(revocable_steps)]
    return tuple(
        opened.pop(0) if first else revoked.pop(0) for first in _spread(open_steps, revocable_steps)
    )


def _check(steps: int, available: int, name: str, kind: str) -> None:
    if steps < 0:
        raise ConfigError(f"{name} is {steps}. It must be 0 or more.")
    if steps and not available:
        raise ConfigError(f"{name} is {steps}, but there is no {kind} example. Set it to 0.")


def _spread(ones: int, zeros: int) -> list[bool]:
    """Return `ones` times True among `zeros` times False, spread as evenly as possible."""
    total = ones + zeros
    return [(k + 1) * ones // total > k * ones // total for k in range(total)]


def _passes(members: Sequence[int], seed: Sequence[int]) -> Iterator[list[int]]:
    rng = np.random.default_rng(list(seed))
    while True:
        yield [members[index] for index in rng.permutation(len(members))]


def _retain_batches(
    public: Sequence[int], retained: int, size: int, seed: int
) -> Iterator[tuple[int, ...]]:
    passes = _passes(public, [seed, _PUBLIC])
    return _batches((order[:retained] for order in passes), size)


def _default_batches(
    public: Sequence[int], uncertain: Sequence[int], retained: int, size: int, seed: int
) -> Iterator[tuple[int, ...]]:
    rng = np.random.default_rng([seed, _UNCERTAIN])
    passes = _passes(public, [seed, _PUBLIC])

    def mixed() -> Iterator[list[int]]:
        for order in passes:
            rows = order[retained:] + list(uncertain)
            yield [rows[index] for index in rng.permutation(len(rows))]

    return _batches(mixed(), size)


def _batches(passes: Iterator[list[int]], size: int) -> Iterator[tuple[int, ...]]:
    """Yield batches of `size`, or of a whole pass where that is less. One may span two passes."""
    pending: list[int] = []
    for order in passes:
        pending += order
        full = min(size, len(order))
        while len(pending) >= full:
            yield tuple(pending[:full])
            pending = pending[full:]
