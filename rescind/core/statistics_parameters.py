"""The agreed parameters of statistics: sums over rows that members contribute beside their blocks."""

from __future__ import annotations

import math
from collections.abc import Mapping
from functools import cached_property
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

from rescind.core.hiding import HIDING, HIDING_BOUND, HIDING_SHAPE
from rescind.core.statistics import GRAM, MOMENTS, Classes

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

    def text_of(self, question: str) -> str | None:
        """Return the text that a question asks about; None if it is not a question of the task."""
        before, after = self.prompt.split(TEXT)
        asked = question.strip()
        has_form = asked.startswith(before) and asked.endswith(after)
        text = asked[len(before) : len(asked) - len(after)].strip() if has_form else ""
        return text or None


class StatisticsParameters(BaseModel):
    """Sums over rows that members contribute, and what is solved from them.

    Attributes:
        tasks: The tasks by name.
        ridge: How a head's ridge follows from the sums (rescind.training.heads).
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    tasks: Annotated[dict[TaskName, Task], Field(min_length=1, max_length=16)]
    ridge: Literal["trace"] = "trace"

    @model_validator(mode="after")
    def _prompts_differ(self) -> Self:
        for name, task in self.tasks.items():
            for other, its in self.tasks.items():
                if name != other and its.text_of(task.question("x")) is not None:
                    raise ValueError(
                        f"a question of task {name!r} has the form of task {other!r}, too: give "
                        "them prompts that differ in their words"
                    )
        return self

    @cached_property
    def shapes(self) -> Mapping[str, tuple[int, ...]]:
        """The shapes of one organization's tensors by bare name, hiding noise included."""
        shapes = {
            tensor_name(task, name): shape
            for task, classes in self.tasks.items()
            for name, shape in classes.shapes().items()
        }
        return dict(sorted({**shapes, HIDING: HIDING_SHAPE}.items()))

    @property
    def dtype(self) -> Literal["I32", "I64"]:
        """The type of one organization's tensors: int32 where every entry fits."""
        largest = max(t.max_rows * t.features.largest**2 for t in self.tasks.values())
        return "I32" if largest < 2**31 else "I64"

    @property
    def norm_bound(self) -> float:
        """The L2 norm that one organization's tensors never exceed, hiding noise included."""
        return math.hypot(HIDING_BOUND, *(task.norm_bound for task in self.tasks.values()))


def tensor_name(task: str, name: str) -> str:
    """Return the bare name of a task's tensor: GRAM or MOMENTS.

    Example:
        >>> tensor_name("intents", "gram")
        'intents.gram'
    """
    return f"{task}.{name}"


TENSORS = (GRAM, MOMENTS)
"""The tensors of a task."""
