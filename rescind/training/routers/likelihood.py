"""Routing by likelihood: the block under which the question is most likely answers it.

A block that was trained on the question's subject finds the question far more likely than the base
does. The router costs one forward pass of the question for each block and one for the base, and
keeps no state besides the blocks.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from numpy.typing import NDArray

from rescind.training.engine.batches import (
    batches_of,
    pad,
    token_losses,
)
from rescind.training.model.base import Base
from rescind.training.routers.router import Blocks, Choice, RouterMisfit
from rescind.training.text.question import Question

MARGIN = 6.5
"""Nats by which a block must find a whole question more likely than the base does. Measured gains
were 7.2 to 11.4 for questions that a block was trained on, and at most 5.5 for held-out people
(docs/decisions/002-coupling.md), with the tiny base. docs/routers.md has those of a chat base."""

SHARE = 0.25
"""The least share of the base's loss on a question that a block must remove. It leaves text unlike
all training data to the base. With a chat base 0.4 keeps more strangers out (docs/routers.md)."""

_BATCH = 64
"""Rows in one forward pass, which needs no gradients."""


class LikelihoodRouter:
    """A router by gain: a question's log-likelihood under a block, less that of the base.

    Args:
        margin: Least gain in nats.
        share: Least gain as a share of the base's loss on the question.
    """

    name = "likelihood"

    def __init__(self, *, margin: float = MARGIN, share: float = SHARE) -> None:
        self.margin = margin
        self.share = share
        self._blocks: Blocks | None = None
        self._held: tuple[str, ...] = ()

    @property
    def measure(self) -> str:
        """The meaning of its scores, with their unit, as a phrase for people."""
        return "nats by which the question is likelier under the block than under the base"

    @property
    def organizations(self) -> tuple[str, ...]:
        """Organizations that can be chosen, lowercase and sorted."""
        return self._held

    def fit(self, blocks: Blocks) -> None:
        """Prepare to choose among these blocks."""
        self._blocks = blocks
        self._held = tuple(sorted(blocks.blocks))

    def drop(self, organization: str) -> None:
        """Stop choosing an organization's block."""
        self._held = tuple(name for name in self._held if name != organization.lower())

    def state(self) -> dict[str, NDArray[np.float64]]:
        """Return no numbers: the router keeps none."""
        return {}

    def route(self, questions: Sequence[Question]) -> list[Choice]:
        """Return one choice for each question. Raises RouterMisfit before `fit`."""
        blocks = self._blocks
        if blocks is None:
            raise RouterMisfit("The likelihood router has no blocks yet: call fit first.")
        if not self._held:
            return [Choice(None, {}) for _ in questions]
        alone = prompt_losses(blocks.base, blocks.network(None), questions)
        losses = np.stack(
            [prompt_losses(blocks.base, blocks.network(name), questions) for name in self._held]
        )
        gains = alone[None, :] - losses
        return [self._choose(gains[:, index], alone[index]) for index in range(len(questions))]

    def _choose(self, gains: NDArray[np.float64], alone: float) -> Choice:
        best = int(np.argmax(gains))
        needed = max(self.margin, self.share * alone)
        scores = {name: float(gains[row]) for row, name in enumerate(self._held)}
        chosen = self._held[best] if gains[best] > needed else None
        rule = f"the larger of {self.margin:g} nats and {self.share:.0%} of the base's {alone:.2f} nats"
        return Choice(chosen, scores, float(needed), rule, float(alone))


@torch.inference_mode()
def prompt_losses(
    base: Base, network: object, questions: Sequence[Question]
) -> NDArray[np.float64]:
    """Return the negative log-likelihood of each whole prompt in nats, (questions,).

    What a chat template writes before the question is the same for all questions and is not counted:
    a block that has seen it often would gain on every question, also on those of others.
    """
    rows = [base.encoder.prompt(question) for question in questions]
    result: list[float] = []
    for indices in batches_of(base, [len(row.tokens) for row in rows], _BATCH):
        batch = [rows[index] for index in indices]
        tokens, mask, labels = pad(base, batch, prompt_in_loss=True)
        result += token_losses(network, tokens, mask, labels).sum(dim=1).tolist()
    return np.array(result, dtype=np.float64)
