"""An organization's summed ranks, measured on its data: one pass, without gradients."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from rescind.core import FloatTensors
from rescind.core.summed_ranks import RankStatistics, SummedRanks
from rescind.training.data import Example
from rescind.training.model.lora import LoraModel
from rescind.training.moments import Double, feature_moments


def rank_statistics(
    model: LoraModel,
    agreed: SummedRanks,
    tensors: FloatTensors,
    examples: Sequence[Example],
    *,
    max_length: int,
) -> RankStatistics:
    """Return the sums of an organization under its own adapter.

    Args:
        model: The base model.
        agreed: What the members agreed on.
        tensors: The shared A and the B that the organization trained alone, by bare name.
        examples: What it trained on.
        max_length: The most tokens of a pair.

    Raises:
        DataError: There is no example, or one is too long.
        NotFinite: A value is NaN or infinite.
    """
    factors = {name: tensors[f"{name}.lora_B"] for name in agreed.modules}
    return agreed.collect(_sums(model, agreed, tensors, examples, max_length), factors)


def public_statistics(
    model: LoraModel,
    agreed: SummedRanks,
    tensors: FloatTensors,
    examples: Sequence[Example],
    *,
    max_length: int,
) -> RankStatistics:
    """Return the sums over public text, whose outputs must not change.

    Another machine may round them otherwise, so a consortium agrees on the artifact and not on the
    text.

    Args:
        model: The base model.
        agreed: What the members agreed on.
        tensors: The shared A, by bare name; B counts as zero.
        examples: The public text.
        max_length: The most tokens of a pair.

    Raises:
        DataError: There is no example, or one is too long.
        NotFinite: A value is NaN or infinite.
    """
    bare = {
        name: np.zeros_like(value) if name.endswith(".lora_B") else value
        for name, value in tensors.items()
    }
    return agreed.collect(_sums(model, agreed, bare, examples, max_length))


def _sums(
    model: LoraModel,
    agreed: SummedRanks,
    tensors: FloatTensors,
    examples: Sequence[Example],
    max_length: int,
) -> dict[str, Double]:
    means, tokens = feature_moments(
        model, tensors, examples, max_length=max_length, positions=agreed.positions
    )
    return {name: mean * tokens for name, mean in means.items()}
