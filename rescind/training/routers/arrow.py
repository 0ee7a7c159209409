"""Arrow routing (Ostapenko et al. 2024, arXiv 2405.11157), one choice for a whole question.

Research: no daemon uses this yet.

The top right singular vector v of a module's B A is the direction of input that the block acts on
most; |v x| / |x| says how much a token's input x to the module is of that kind. Arrow mixes
blocks for each token and layer; blocks trained apart must not be mixed
(docs/decisions/002-coupling.md), so here a question's score is the mean over its tokens and
modules, and one block answers all of it. The inputs are those of the bare base model: one forward
pass, whatever the number of blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from rescind.core import FloatTensors
from rescind.core.errors import ConfigError
from rescind.training.routers.hidden import module_inputs
from rescind.training.routers.router import Blocks, RouterMisfit
from rescind.training.routers.scoring import FALSE_RATE, Scores, ScoringRouter

_A, _B = ".lora_A", ".lora_B"

Directions = dict[str, NDArray[np.float64]]


class ArrowRouter(ScoringRouter):
    """A router that scores how strongly each block reacts to a question.

    With a reference, the score of each module is standardized: less its mean over the reference,
    divided by its standard deviation there. This compensates for every block's reaction to words
    that all questions have.

    Args:
        reference: Public questions; see ScoringRouter.
        false_rate: See ScoringRouter.
        directions: How many singular directions of each module count, each weighted with its
            singular value. 1 is Arrow; the rank of the blocks makes the score the size of what a
            block adds.

    Raises:
        ConfigError: `directions` is less than 1.
    """

    name = "arrow"

    def __init__(
        self,
        reference: Sequence[str] = (),
        *,
        false_rate: float = FALSE_RATE,
        directions: int = 1,
    ) -> None:
        super().__init__(reference, false_rate=false_rate)
        if directions < 1:
            raise ConfigError(f"directions is {directions}. Arrow needs 1 or more.")
        self.directions = directions
        self._held: dict[str, Directions] = {}
        self._usual: dict[str, NDArray[np.float64]] = {}

    @property
    def measure(self) -> str:
        """The meaning of its scores, with their unit, as a phrase for people."""
        if self._usual:
            return "reaction of the block's modules above the usual one, in standard deviations"
        return "mean reaction of the block's modules to a token of the question"

    def _clear(self) -> None:
        self._held, self._usual = {}, {}

    def _learn(self, blocks: Blocks, names: Sequence[str]) -> None:
        self._held = {n: singular_directions(blocks.tensors(n), self.directions) for n in names}
        if self._learned_from and names:
            raw = self._raw(blocks, names, self._learned_from)
            self._usual = {n: np.stack([v.mean(axis=1), v.std(axis=1)]) for n, v in raw.items()}

    def _forget(self, name: str) -> None:
        self._held.pop(name, None)
        self._usual.pop(name, None)

    def _state(self) -> dict[str, NDArray[np.float64]]:
        held = {
            f"{name}/{module}": value
            for name, modules in self._held.items()
            for module, value in modules.items()
        }
        return {**held, **{f"{name}/usual": value for name, value in self._usual.items()}}

    def _scores(self, blocks: Blocks, names: Sequence[str], questions: Sequence[str]) -> Scores:
        raw = self._raw(blocks, names, questions)
        if not self._usual:
            return {name: value.mean(axis=0) for name, value in raw.items()}
        result = {}
        for name, value in raw.items():
            mean, deviation = self._usual[name]
            result[name] = (
                (value - mean[:, None]) / np.maximum(deviation, np.finfo(float).tiny)[:, None]
            ).mean(axis=0)
        return result

    def _raw(
        self, blocks: Blocks, names: Sequence[str], questions: Sequence[str]
    ) -> dict[str, NDArray[np.float64]]:
        """Return the reaction of each module of each block, (modules, questions)."""
        modules = sorted(self._held[names[0]])
        result = {name: np.empty((len(modules), len(questions))) for name in names}
        for indices, mask, inputs in module_inputs(blocks.base, blocks.bare(), modules, questions):
            for row, module in enumerate(modules):
                tokens = inputs[module].astype(np.float64)
                lengths = np.maximum(np.linalg.norm(tokens, axis=2), np.finfo(float).tiny)
                for name in names:
                    seen = np.linalg.norm(tokens @ self._held[name][module].T, axis=2) / lengths
                    result[name][row, indices] = (seen * mask).sum(axis=1) / mask.sum(axis=1)
        return result


def singular_directions(tensors: FloatTensors, count: int) -> Directions:
    """Return each module's top right singular vectors of B A, times their singular values.

    Each entry is (count, in). A module whose B is zero has zeros. B A is never formed: with A^T = Q
    R (QR), B A = (B R^T) Q^T, and Q has orthonormal columns.

    Raises:
        RouterMisfit: A module has an A and no B.
    """
    result = {}
    for name in sorted(tensors):
        if not name.endswith(_A):
            continue
        module = name.removesuffix(_A)
        if module + _B not in tensors:
            raise RouterMisfit(f"The block has {name!r} and no {module + _B!r}. Give both factors.")
        q, r = np.linalg.qr(tensors[name].astype(np.float64).T)
        _, sizes, right = np.linalg.svd(
            tensors[module + _B].astype(np.float64) @ r.T, full_matrices=False
        )
        kept = min(count, len(sizes))
        result[module] = sizes[:kept, None] * (right[:kept] @ q.T)
    return result
