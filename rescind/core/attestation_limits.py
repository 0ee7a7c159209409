"""Limits of what auditors measure before they attest a replay or a counter-training."""

from __future__ import annotations

from typing import Annotated

from pydantic import Field

from rescind.core.frozen import Frozen


class AttestationLimits(Frozen):
    """Limits of measurements that auditors make.

    The distances are L2 norms relative to the delta. docs/withdrawals.md has the measurements
    behind the defaults.

    Attributes:
        sample: The share of its rounds that each organization trains again before a witness, in
            (0, 1]; at least one round.
        float32: The largest distance between a delta and its repetition in float32.
        bfloat16: The same where either was trained in bfloat16.
        near: A delta this close to the one that it replaces was not trained again.
        forgotten: The least share of what the model knew of the withdrawn answers, in nats a token
            against a model that never saw them, that a counter-training must have taken away.
        membership: How far the AUC of the loss attack may be above that of the base model, or
            above 1/2.
    """

    sample: Annotated[float, Field(gt=0, le=1)] = 0.25
    float32: Annotated[float, Field(gt=0, lt=1)] = 1e-3
    bfloat16: Annotated[float, Field(gt=0, lt=1)] = 0.1
    near: Annotated[float, Field(ge=0, lt=1)] = 1e-6
    forgotten: Annotated[float, Field(ge=0, le=1)] = 0.5
    membership: Annotated[float, Field(ge=0, le=0.5)] = 0.2

    def distance(self, *precisions: str) -> float:
        """Return the largest distance between two trainings of these precisions."""
        return self.bfloat16 if "bfloat16" in precisions else self.float32
