"""The interface of routers, which choose the block that answers a question."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.core.errors import TrainingError
from rescind.training.model.base import Base
from rescind.training.text.question import Question


class RouterMisfit(TrainingError):
    """A router was given blocks or data that it cannot route by."""

    code = "router-misfit"


@dataclass(frozen=True)
class Choice:
    """A router's choice for one question.

    Attributes:
        organization: The owner of the block that answers, None when no block does.
        scores: Each block's score by organization, in the router's own units. The largest wins.
        threshold: The score that a block must exceed to answer. None if any score will do.
        rule: How the threshold was set, as a phrase for people.
        base_loss: Negative log-likelihood of the question under the base, in nats. None if the
            router does not compare with the base.
    """

    organization: str | None
    scores: dict[str, float]
    threshold: float | None = None
    rule: str = ""
    base_loss: float | None = None


class Blocks(Protocol):
    """The blocks that a router chooses among, on one base model.

    A network is valid until the next one is asked for: they share weights.
    """

    @property
    def base(self) -> Base:
        """The base model."""
        ...

    @property
    def blocks(self) -> tuple[str, ...]:
        """Lowercase addresses of the organizations that have a block."""
        ...

    def network(self, organization: str | None) -> Any:
        """Return the model with a block, or for None the one that answers when no block does."""
        ...

    def bare(self) -> Any:
        """Return the base model alone."""
        ...

    def tensors(self, organization: str) -> FloatTensors:
        """Return the block's own LoRA tensors by bare name: A (rank, in), B (out, rank)."""
        ...


class Router(Protocol):
    """A router, whose state belongs to single organizations or to none.

    After `drop` its state and every choice are those of a router that never had the organization.

    Attributes:
        name: The router's name.
    """

    name: str

    @property
    def measure(self) -> str:
        """The meaning of its scores, with their unit, as a phrase for people."""
        ...

    @property
    def organizations(self) -> tuple[str, ...]:
        """Organizations that can be chosen, lowercase and sorted."""
        ...

    def fit(self, blocks: Blocks) -> None:
        """Reset all state and prepare to choose among these blocks."""
        ...

    def route(self, questions: Sequence[Question]) -> list[Choice]:
        """Return one choice for each question. Raises RouterMisfit before `fit`."""
        ...

    def drop(self, organization: str) -> None:
        """Forget everything of an organization. An unknown one changes nothing."""
        ...

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all numbers held besides the blocks themselves, by "owner/name"."""
        ...


def state_bytes(router: Router) -> int:
    """Return how many bytes a router holds besides the blocks themselves."""
    return sum(value.nbytes for value in router.state().values())
