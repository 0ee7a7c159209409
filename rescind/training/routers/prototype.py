"""Routing by prototypes: the nearest mean of what organizations ask.

Research: no daemon uses this yet.

An organization posts the mean hidden state of its questions, under the bare base model, with its
block. A question goes to the organization whose mean is most alike by cosine. One forward pass,
whatever the number of blocks.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import DataError
from rescind.training.data import Example
from rescind.training.model.base import Base
from rescind.training.routers.hidden import mean_hidden
from rescind.training.routers.router import Blocks, RouterMisfit
from rescind.training.routers.scoring import FALSE_RATE, Scores, ScoringRouter

LAYER = 0
"""The layer whose hidden states are averaged. 0, the embeddings, was best with the shipped base
model, where names distinguish organizations (docs/routers.md)."""


def prototypes(
    base: Base,
    bare: Any,
    examples: Sequence[Example],
    *,
    layer: int = LAYER,
    per_subject: bool = False,
) -> NDArray[np.float64]:
    """Return an organization's prototypes: the mean hidden state of its questions, (1, width).

    Args:
        base: The base model.
        bare: The base model without any block.
        examples: The organization's examples.
        layer: See LAYER.
        per_subject: Return one mean for each subject instead, (subjects, width). That separates
            questions far better, and shows everyone whose data it is.

    Raises:
        DataError: There are no examples.
    """
    if not examples:
        raise DataError(
            "There are no examples to average. Give the examples that the block was trained on."
        )
    hidden = mean_hidden(base, bare, [e.question for e in examples], layer=layer)
    if not per_subject:
        return np.array(hidden.mean(axis=0, keepdims=True))
    subjects = np.array([e.subject for e in examples])
    return np.stack(
        [hidden[subjects == subject].mean(axis=0) for subject in dict.fromkeys(subjects)]
    )


class PrototypeRouter(ScoringRouter):
    """A router whose score is the cosine with the nearest of an organization's means.

    With a reference, hidden states are centred on its mean and whitened with its shrunk covariance
    (Ledoit and Wolf 2004), so that what all questions have in common does not count. `fit` raises
    RouterMisfit for a block whose organization posted nothing, or a mean of another width.

    Args:
        posted: Each organization's prototypes, by address.
        reference: Public questions; see ScoringRouter.
        false_rate: See ScoringRouter.
        layer: The layer that the prototypes were computed at.
    """

    name = "prototypes"

    def __init__(
        self,
        posted: Mapping[str, NDArray[np.float64]],
        reference: Sequence[str] = (),
        *,
        false_rate: float = FALSE_RATE,
        layer: int = LAYER,
    ) -> None:
        super().__init__(reference, false_rate=false_rate)
        self.layer = layer
        self._held = {name.lower(): np.array(value) for name, value in posted.items()}
        self._centre: NDArray[np.float64] | None = None
        self._whitener: NDArray[np.float64] | None = None

    @property
    def measure(self) -> str:
        """The meaning of its scores, with their unit, as a phrase for people."""
        return "cosine of the question with the nearest mean that the organization posted"

    def post(self, organization: str, means: NDArray[np.float64]) -> None:
        """Replace an organization's prototypes. They count from the next `fit` on."""
        self._held[organization.lower()] = np.array(means)

    def _clear(self) -> None:
        self._centre, self._whitener = None, None

    def _learn(self, blocks: Blocks, names: Sequence[str]) -> None:
        missing = sorted(set(names) - set(self._held))
        if missing:
            raise RouterMisfit(
                f"{len(missing)} organizations have a block and posted no prototypes, for example "
                f"{missing[0]}. Each must post its prototypes with its block."
            )
        self._held = {name: self._held[name] for name in names}
        if self._learned_from:
            hidden = self._hidden(blocks, self._learned_from)
            self._centre = hidden.mean(axis=0)
            from sklearn.covariance import LedoitWolf

            covariance = LedoitWolf().fit(hidden).covariance_
            self._whitener = np.linalg.inv(np.linalg.cholesky(covariance))

    def _forget(self, name: str) -> None:
        self._held.pop(name, None)

    def _state(self) -> dict[str, NDArray[np.float64]]:
        held = {f"{name}/prototypes": value for name, value in self._held.items()}
        if self._centre is not None and self._whitener is not None:
            held |= {"reference/centre": self._centre, "reference/whitener": self._whitener}
        return held

    def _hidden(self, blocks: Blocks, questions: Sequence[str]) -> NDArray[np.float64]:
        return mean_hidden(blocks.base, blocks.bare(), questions, layer=self.layer)

    def _scores(self, blocks: Blocks, names: Sequence[str], questions: Sequence[str]) -> Scores:
        hidden = self._unit(self._hidden(blocks, questions))
        result = {}
        for name in names:
            posted = self._held[name]
            if posted.ndim != 2 or posted.shape[1] != hidden.shape[1]:
                raise RouterMisfit(
                    f"{name} posted prototypes of shape {posted.shape}, and the base model's "
                    f"hidden states have width {hidden.shape[1]}: expected (means, "
                    f"{hidden.shape[1]})."
                )
            result[name] = (hidden @ self._unit(posted).T).max(axis=1)
        return result

    def _unit(self, states: NDArray[np.float64]) -> NDArray[np.float64]:
        if self._centre is not None and self._whitener is not None:
            states = (states - self._centre) @ self._whitener.T
        lengths = np.linalg.norm(states, axis=1, keepdims=True)
        return np.array(states / np.maximum(lengths, np.finfo(float).tiny))
