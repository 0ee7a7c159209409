"""Figures that an auditor's tool measures on a model before and after a counter-training."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from rescind.core import ConsortiumParameters, Totals


@dataclass(frozen=True)
class ModelPair:
    """A model before and after a counter-delta.

    Attributes:
        parameters: What the consortium agreed on.
        owner: The owner of the block that the counter-delta changes.
        before: What is served of that owner without the counter-delta.
        after: What is served with it.
        change_norm: L2 norm of the counter-delta, in parameter units.
    """

    parameters: ConsortiumParameters
    owner: str
    before: Totals
    after: Totals
    change_norm: float


@dataclass(frozen=True)
class ModelFigures:
    """Measurements of a counter-training. Losses are in nats a token of the withdrawn answers.

    Attributes:
        verdict: The guard's verdict on the model with the counter-delta; "ok" or what it found.
        why: Each limit of the guard that was passed.
        loss_before: Loss of the model without the counter-delta.
        loss_after: Loss of the model with it.
        never_taught: Loss of a model that never saw the answers.
        withdrawn: Number of withdrawn pairs.
        kept: Number of pairs to keep; 0 if none were given.
        unseen: Number of unseen pairs; 0 if none were given.
        auc: AUC of the loss attack on the model with the counter-delta, against unseen pairs.
        auc_base: The same on the base model, which never saw either.
        auc_error: Standard error of the AUC at chance.
    """

    verdict: str
    why: str
    loss_before: float
    loss_after: float
    never_taught: float
    withdrawn: int
    kept: int
    unseen: int
    auc: float | None = None
    auc_base: float | None = None
    auc_error: float | None = None

    @property
    def known(self) -> float:
        """How much better the model knew the answers than one that never saw them."""
        return self.never_taught - self.loss_before

    @property
    def forgotten(self) -> float:
        """The share of `known` that the counter-delta took away; above 1 if more."""
        return (self.loss_after - self.loss_before) / self.known


Measure = Callable[[ModelPair], ModelFigures]
"""Measures a pair of models; it needs torch and the withdrawn texts."""
