"""The agreed parameters of statistics: sums over rows that members contribute beside their blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from rescind.core.frozen import Frozen
from rescind.core.hiding import HIDING, HIDING_BOUND, HIDING_SHAPE
from rescind.core.names import hidden_character
from rescind.core.router_statistics import ROUTER, RouterStatistics
from rescind.core.statistics import GRAM, MOMENTS, Classes, Tolerance
from rescind.core.statistics_noise import TENSORS_OF_A_TASK, GaussianNoise, tolerance

TEXT = "{text}"
"""Stands for a row's text in the prompt of a task."""
TaskName = Annotated[str, Field(pattern=r"^[a-z][a-z0-9-]{0,31}$")]


class Task(Classes):
    """A task with labels, and the form in which its questions are asked.

    Attributes:
        prompt: The form of a question of the task, with {text} in the place of the row's text. A
            question of this form is answered by the task's head.
    """

    prompt: Annotated[str, Field(min_length=len(TEXT) + 1, max_length=1024)]

    @model_validator(mode="after")
    def _prompt_holds_text(self) -> Self:
        if hidden := hidden_character(self.prompt.replace("\n", "")):
            raise ValueError(f"the prompt {self.prompt!r} has {hidden}: remove it")
        if self.prompt.count(TEXT) != 1:
            raise ValueError(f"the prompt must hold {TEXT} once, in the place of the row's text")
        if self.prompt != self.prompt.strip() or self.prompt == TEXT:
            raise ValueError(
                f"the prompt needs words around {TEXT}, which tell its questions from all others, "
                "and no space at its ends"
            )
        return self

    def question(self, text: str) -> str:
        """Return the question that asks for a text's label."""
        return self.prompt.replace(TEXT, text.strip())

    def overlaps(self, other: Task) -> bool:
        """Return whether some question has the forms of both tasks."""
        (before, after), (start, end) = self.prompt.split(TEXT), other.prompt.split(TEXT)
        begins = before.startswith(start) or start.startswith(before)
        return begins and (after.endswith(end) or end.endswith(after))

    def text_of(self, question: str) -> str | None:
        """Return the text that a question asks about; None if it is not a question of the task."""
        before, after = self.prompt.split(TEXT)
        asked = question.strip()
        has_form = asked.startswith(before) and asked.endswith(after)
        text = asked[len(before) : len(asked) - len(after)].strip() if has_form else ""
        return text or None


class StatisticsParameters(Frozen):
    """Sums over rows that members contribute, and what is solved from them.

    Attributes:
        tasks: The tasks by name.
        ridge: How a head's ridge follows from the sums (rescind.training.ridges). "gcv" takes
            longer, and is what hidden features need.
        router: The router that is solved from sums over questions, if any; otherwise blocks are
            chosen by likelihood. The questions are those of the data that blocks are trained on.
        noise: One-time noise on what each organization contributes, if any.
    """

    tasks: Annotated[dict[TaskName, Task], Field(min_length=1, max_length=16)]
    ridge: Literal["trace", "gcv"] = "trace"
    router: RouterStatistics | None = None
    noise: GaussianNoise | None = None

    @model_validator(mode="after")
    def _router_is_named_apart(self) -> Self:
        if ROUTER in self.tasks:
            raise ValueError(f"{ROUTER!r} names the router's sums: give the task another name")
        return self

    @model_validator(mode="after")
    def _prompts_differ(self) -> Self:
        for name, task in self.tasks.items():
            for other_name, other in self.tasks.items():
                if name < other_name and task.overlaps(other):
                    raise ValueError(
                        f"a question of task {name!r} can have the form of task {other_name!r}, too: give "
                        "them prompts that differ in their words"
                    )
        return self

    @model_validator(mode="after")
    def _noise_has_bounds(self) -> Self:
        for name, classes in self.summed.items() if self.noise else ():
            if classes.row_square is None:
                raise ValueError(
                    f"noise needs row_square of {name!r}, the most that the squares of a row's "
                    "features sum to"
                )
        return self

    @model_validator(mode="after")
    def _ridge_can_be_chosen(self) -> Self:
        if self.noise is not None and self.ridge == "gcv":
            raise ValueError("noise needs ridge 'trace': cross-validation needs exact sums")
        return self

    @cached_property
    def summed(self) -> Mapping[str, Classes]:
        """Everything that sums are made of, by name: the tasks, and ROUTER where there is one."""
        router = {} if self.router is None else {ROUTER: self.router.columns}
        return {**self.tasks, **router}

    def deviations(self, name: str) -> dict[str, int]:
        """Return the deviation of the noise on each tensor of `summed`; zeros without noise."""
        if self.noise is None:
            return dict.fromkeys(TENSORS, 0)
        return self.noise.deviations(self.summed[name], TENSORS_OF_A_TASK * len(self.summed))

    def tolerance(self, name: str) -> Tolerance:
        """Return how far noise may move one organization's statistics of `summed`."""
        return tolerance(self.summed[name], self.deviations(name)) if self.noise else Tolerance()

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of one organization's tensors by bare name, hiding noise included."""
        shapes = {
            tensor_name(task, name): shape
            for task, classes in self.summed.items()
            for name, shape in classes.shapes().items()
        }
        return dict(sorted({**shapes, HIDING: HIDING_SHAPE}.items()))

    @property
    def dtype(self) -> Literal["I32", "I64"]:
        """The type of one organization's tensors: int32 where every entry fits."""
        largest = max(
            classes.max_rows * classes.features.largest**2 + self.tolerance(name).gram
            for name, classes in self.summed.items()
        )
        return "I32" if largest < 2**31 else "I64"

    @property
    def norm_bound(self) -> float:
        """The L2 norm that one organization's tensors never exceed, hiding noise included."""
        exact = math.hypot(*(classes.norm_bound for classes in self.summed.values()))
        noise = math.hypot(*(self.tolerance(name).norm for name in self.summed))
        return math.hypot(HIDING_BOUND, exact + noise)


def tensor_name(task: str, name: str) -> str:
    """Return the bare name of a task's tensor: GRAM or MOMENTS.

    Example:
        >>> tensor_name("intents", "gram")
        'intents.gram'
    """
    return f"{task}.{name}"


TENSORS = (GRAM, MOMENTS)
"""The tensors of a task."""
