"""What a router is: it picks the block that answers a question, and forgets whom it is told to."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.core.errors import TrainingError
from rescind.training.model.base import Base


class RouterMisfit(TrainingError):
    """A router was given what it cannot route by."""

    code = "router-misfit"


@dataclass(frozen=True)
class Choice:
    """`organization`: whose block answers, None when nobody's does. `scores`: each block's, by
    organization, in the router's own units; greater is likelier chosen."""

    organization: str | None
    scores: dict[str, float]


class Blocks(Protocol):
    """The blocks that a router chooses among, on one base model.

    A network is valid until the next one is asked for: they share weights.
    """

    @property
    def base(self) -> Base: ...

    @property
    def blocks(self) -> tuple[str, ...]:
        """Lowercase addresses of the organizations that have a block."""
        ...

    def network(self, organization: str | None) -> Any:
        """The model with that block, or, for None, what answers when nobody's block does."""
        ...

    def bare(self) -> Any:
        """The base model alone."""
        ...

    def tensors(self, organization: str) -> FloatTensors:
        """The block's own LoRA tensors by bare name: A (rank, in), B (out, rank)."""
        ...


class Router(Protocol):
    """Everything that a router holds belongs to one organization each, or to nobody.

    After `drop` its state and every choice are those of a router that never had the organization.
    """

    name: str

    @property
    def organizations(self) -> tuple[str, ...]:
        """Those it can choose, lowercase and sorted."""
        ...

    def fit(self, blocks: Blocks) -> None:
        """Make ready to choose among these blocks; whatever was held before is gone."""
        ...

    def route(self, questions: Sequence[str]) -> list[Choice]:
        """One choice for each question. Raises RouterMisfit before `fit`."""
        ...

    def drop(self, organization: str) -> None:
        """Forget everything of an organization; one that is not held changes nothing."""
        ...

    def state(self) -> dict[str, NDArray[np.float64]]:
        """All numbers held, besides the blocks themselves, by "organization/name"."""
        ...


def state_bytes(router: Router) -> int:
    """Bytes that a router holds besides the blocks themselves."""
    return sum(value.nbytes for value in router.state().values())
