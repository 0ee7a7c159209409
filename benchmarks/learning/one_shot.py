"""Arrangements of one exchange: each organization trains alone, and the results are combined once."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from benchmarks.conditions import clock
from benchmarks.consortium import Trainer, address
from benchmarks.learning.arrangements import Arrangement, Learned
from benchmarks.learning.mixture import TokenMixture
from benchmarks.learning.trainings import Setting, blocks_of, trained_history
from rescind.core import SHARED, ConsortiumParameters, FloatTensors, block, encode, materialize
from rescind.core.summed_ranks import RankStatistics, SummedRanks, check
from rescind.training import Assistant, LoraModel
from rescind.training.moments import input_moments
from rescind.training.rank_sums import public_statistics, rank_statistics
from rescind.training.serving.respond import OneNetwork
from rescind.training.summed_ranks import merge

RANKS = (16, 64, 256)
TASK_SHARE = 0.4
"""Factor of the sum of deltas in task arithmetic, which its authors found to do well
(Ilharco et al. 2023, arXiv 2212.04089)."""
OFF_DIAGONAL = 0.9
"""Factor of the entries off the diagonal in RegMean, as its authors set it."""

Dense = dict[str, NDArray[np.float64]]


def anchored(it: Setting) -> Learned:
    """Blocks behind the default router; half of each batch is public text, the other half as ever."""
    held = {
        name: [*rows, *(it.public[place % len(it.public)] for place in range(len(rows)))]
        for name, rows in it.held.items()
    }
    trainer, totals, uploads = blocks_of(replace(it, held=held, batch_size=2 * it.batch_size))
    assistant = Assistant(trainer.model, trainer.parameters, totals)
    moved = uploads + len(encode(totals)) * len(it.held)
    return Learned(lambda _: assistant, trainer.tokens, trainer.seconds, moved)


def _mixture(it: Setting, *, bayes: bool) -> Learned:
    trainer, totals, uploads = blocks_of(it)
    Assistant(trainer.model, trainer.parameters, totals)
    # With weights by likelihood the base is one of those that may answer.
    base: list[str | None] = [None] if bayes else []
    adapters = base + [f"block_{address(name)}" for name in it.held]
    network = OneNetwork(it.base, TokenMixture(trainer.model, adapters, bayes=bayes), it.max_length)
    moved = uploads + len(encode(totals)) * len(it.held)
    return Learned(lambda _: network, trainer.tokens, trainer.seconds, moved)


def mixture_by_likelihood(it: Setting) -> Learned:
    return _mixture(it, bayes=True)


def uniform_mixture(it: Setting) -> Learned:
    return _mixture(it, bayes=False)


@dataclass(frozen=True)
class _Alone:
    """The adapters that organizations trained alone. `tensors`: by name of the organization."""

    model: LoraModel
    parameters: ConsortiumParameters
    tensors: Mapping[str, FloatTensors]
    tokens: int
    seconds: float
    moved: int

    @property
    def scaling(self) -> float:
        return self.parameters.lora.alpha / self.parameters.lora.rank

    @property
    def modules(self) -> list[str]:
        return sorted({name.rpartition(".lora_")[0] for name in self.model.shapes})


def _blocks_alone(it: Setting) -> _Alone:
    trainer, totals, uploads = blocks_of(it)
    tensors = {name: _tensors(trainer, totals, address(name)) for name in it.held}
    return _Alone(
        trainer.model, trainer.parameters, tensors, trainer.tokens, trainer.seconds, uploads
    )


def _tensors(trainer: Trainer, totals: Mapping[str, Any], owner: str) -> FloatTensors:
    parameters = trainer.parameters
    return materialize(block(totals, owner), parameters.shapes, parameters=parameters, owner=owner)


def _frozen_alone(it: Setting, rank: int) -> _Alone:
    """Every organization's B on the same frozen A.

    The rate is that of FFA-LoRA at rank 16, and falls as the rank grows: the same step of each entry
    of B moves the output in proportion to the rank.
    """
    recipe = it.recipe(
        train_a=False,
        rank=rank,
        alpha=2 * rank,
        learning_rate=min(1.0, 3 * it.learning_rate * 16 / rank),
    )
    pair = recipe.parameters(it.base, it.seed)
    tensors, tokens, seconds, moved = {}, 0, 0.0, 0
    for name, rows in it.held.items():
        trainer, totals, uploads = trained_history(it, recipe, {name: rows}, pair)
        tensors[name] = _tensors(trainer, totals, SHARED)
        tokens, seconds, moved = (
            tokens + trainer.tokens,
            seconds + trainer.seconds,
            moved + uploads,
        )
    return _Alone(pair[1], pair[0], tensors, tokens, seconds, moved)


def _served(it: Setting, alone: _Alone, factors: FloatTensors, **more: Any) -> Learned:
    """One adapter for all: the frozen A with one B."""
    first = next(iter(alone.tensors.values()))
    alone.model.put("served", {**first, **factors})
    network = OneNetwork(it.base, alone.model.use("served"), it.max_length)
    down = len(it.held) * sum(4 * value.size for value in factors.values())
    return Learned(lambda _: network, alone.tokens, alone.seconds, alone.moved + down, **more)


def _frozen_local(rank: int) -> Arrangement:
    def run(it: Setting) -> Learned:
        """Every organization with its own B alone."""
        alone = _frozen_alone(it, rank)
        for name, tensors in alone.tensors.items():
            alone.model.put(address(name), tensors)

        def respondent(name: str) -> OneNetwork:
            return OneNetwork(it.base, alone.model.use(address(name)), it.max_length)

        return Learned(respondent, alone.tokens, alone.seconds, 0)

    return run


def _frozen_mean(rank: int) -> Arrangement:
    def run(it: Setting) -> Learned:
        """The mean of the B."""
        alone = _frozen_alone(it, rank)
        each = list(alone.tensors.values())
        names = [name for name in alone.model.shapes if name.endswith(".lora_B")]
        factors = {name: np.mean([tensors[name] for tensors in each], axis=0) for name in names}
        return _served(it, alone, factors)

    return run


def _summed(rank: int, *, public: bool) -> Arrangement:
    def run(it: Setting) -> Learned:
        """Summed ranks: B solved from the sums; then the first organization is removed."""
        alone = _frozen_alone(it, rank)
        agreed = SummedRanks.of_shapes(alone.parameters.shapes, ridge_bits=it.ridge_bits)
        began = clock()
        parts = [
            rank_statistics(
                alone.model, agreed, alone.tensors[name], rows, max_length=it.max_length
            )
            for name, rows in it.held.items()
        ]
        measuring = clock() - began
        for part in parts:
            check(part, agreed)
        first = next(iter(alone.tensors.values()))
        common = (
            public_statistics(alone.model, agreed, first, it.public, max_length=it.max_length)
            if public
            else None
        )
        together = RankStatistics.sum(parts)
        began = clock()
        merged = merge(together, agreed, common)
        solving = clock() - began
        sizes = [len(encode(part.tensors)) for part in parts]
        notes: dict[str, Any] = {
            "seconds_of_sums": measuring / len(parts),
            "seconds_of_solution": solving,
            "bytes_of_sums": sizes[0],
        }
        if len(parts) > 1:
            notes |= _removal(together, parts, agreed, common)
        found = _served(it, alone, merged.factors(), notes=notes)
        return replace(
            found, moved=found.moved - alone.moved + sum(sizes), seconds=found.seconds + measuring
        )

    return run


def _removal(
    together: RankStatistics,
    parts: list[RankStatistics],
    agreed: SummedRanks,
    public: RankStatistics | None,
) -> dict[str, Any]:
    """Remove the first organization; whether B is that of a run without it, and the seconds."""
    began = clock()
    after = merge(together.without(parts[0]), agreed, public).integers()
    seconds = clock() - began
    never = merge(RankStatistics.sum(parts[1:]), agreed, public).integers()
    return {"seconds_of_removal": seconds, "same_as_without": encode(after) == encode(never)}


class _DenseChange:
    """A change of the base's weights, which are the same bytes after `restore`."""

    def __init__(self, it: Setting, change: Dense, scaling: float) -> None:
        self._weights = {name: _weight(it, name) for name in change}
        self._kept = {name: weight.detach().clone() for name, weight in self._weights.items()}
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.add_(torch.from_numpy((scaling * change[name]).astype(np.float32)))

    def restore(self) -> None:
        with torch.no_grad():
            for name, weight in self._weights.items():
                weight.copy_(self._kept[name])


def _weight(it: Setting, name: str) -> torch.nn.Parameter:
    layer: Any = it.base.model.get_submodule(name)
    weight: torch.nn.Parameter = layer.base_layer.weight
    return weight


def _merged(combine: Callable[[Setting, _Alone], Dense]) -> Arrangement:
    """Products of blocks, combined and added to the base."""

    def run(it: Setting) -> Learned:
        alone = _blocks_alone(it)
        began = clock()
        change = combine(it, alone)
        seconds = alone.seconds + clock() - began
        dense = _DenseChange(it, change, alone.scaling)
        network = OneNetwork(it.base, alone.model.use(None), it.max_length)
        down = len(it.held) * sum(4 * value.size for value in change.values())
        return Learned(lambda _: network, alone.tokens, seconds, alone.moved + down, dense.restore)

    return run


def _products(alone: _Alone, name: str) -> Dense:
    return {
        module: tensors[f"{module}.lora_B"].astype(np.float64) @ tensors[f"{module}.lora_A"]
        for tensors in [alone.tensors[name]]
        for module in alone.modules
    }


def _sum_of_products(it: Setting, alone: _Alone, share: float) -> Dense:
    each = [_products(alone, name) for name in it.held]
    return {
        module: share * np.sum([own[module] for own in each], axis=0) for module in alone.modules
    }


def _regmean(it: Setting, alone: _Alone) -> Dense:
    """RegMean (Jin et al. 2023, arXiv 2212.09849): sum W_i G_i (sum G_i)^-1, as change of the base."""
    products: Dense = {}
    grams: Dense = {}
    for name, rows in it.held.items():
        means, tokens = input_moments(
            alone.model, alone.tensors[name], rows, max_length=it.max_length, positions="all"
        )
        own = _products(alone, name)
        for module, mean in means.items():
            gram = tokens * mean
            gram = OFF_DIAGONAL * gram + (1 - OFF_DIAGONAL) * np.diag(np.diag(gram))
            grams[module] = grams.get(module, 0.0) + gram
            products[module] = products.get(module, 0.0) + own[module] @ gram
    solved = {}
    for module in alone.modules:
        solution: Any = np.linalg.lstsq(grams[module], products[module].T, rcond=None)[0]
        solved[module] = solution.T
    return solved


ONE_SHOT: Mapping[str, Arrangement] = {
    "anchored blocks": anchored,
    "mixture by likelihood": mixture_by_likelihood,
    "uniform mixture": uniform_mixture,
    "one-shot mean": _merged(lambda it, alone: _sum_of_products(it, alone, 1 / len(it.held))),
    "task arithmetic": _merged(lambda it, alone: _sum_of_products(it, alone, TASK_SHARE)),
    "RegMean": _merged(_regmean),
    **{f"B alone, rank {rank}": _frozen_local(rank) for rank in RANKS},
    **{f"mean of B, rank {rank}": _frozen_mean(rank) for rank in RANKS},
    **{f"summed ranks, {rank}": _summed(rank, public=False) for rank in RANKS},
    **{f"summed ranks, {rank}, public": _summed(rank, public=True) for rank in RANKS},
}
