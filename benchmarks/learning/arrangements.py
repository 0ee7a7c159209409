"""The couplings and layouts that are compared, each as: train on what everybody holds, then serve.

All get the same steps of each organization. Centralized training gets as many as all of them together.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import torch

from benchmarks.conditions import clock
from benchmarks.consortium import address
from benchmarks.learning.trainings import Setting, blocks_of, trained_history
from rescind.core import (
    SHARED,
    WEIGHT_ONE,
    Totals,
    add_totals,
    dequantize,
    encode,
    materialize,
    quantize,
    weighted_sum,
    weights,
)
from rescind.core.split_settings import SplitSettings
from rescind.training import (
    Assistant,
    Example,
    RoundTraining,
    round_seed,
    train_round,
)
from rescind.training.serving.respond import OneNetwork, Respondent
from rescind.training.split.train import contribute_split

Tensors = Mapping[str, Any]


@dataclass
class Learned:
    """`respondent`: who answers for an organization. `moved`: bytes over the wire in all, both ways.
    `close`: puts the base model back. `notes`: other figures for the results."""

    respondent: Callable[[str], Respondent]
    tokens: int
    seconds: float
    moved: int
    close: Callable[[], None] = lambda: None
    notes: Mapping[str, Any] = field(default_factory=dict)


Arrangement = Callable[[Setting], Learned]


def local(it: Setting) -> Learned:
    """Everybody alone: what an organization has without a consortium."""
    trainer, totals, _ = blocks_of(it)
    assistant = Assistant(trainer.model, trainer.parameters, totals)

    def respondent(name: str) -> Respondent:
        network = trainer.model.use(f"block_{address(name)}")
        return OneNetwork(assistant.base, network, it.max_length)

    return Learned(respondent, trainer.tokens, trainer.seconds, 0)


def blocks(it: Setting) -> Learned:
    """Isolated blocks behind the default router."""
    trainer, totals, uploads = blocks_of(it)
    assistant = Assistant(trainer.model, trainer.parameters, totals)
    moved = uploads + len(encode(totals)) * len(it.held)
    return Learned(lambda _: assistant, trainer.tokens, trainer.seconds, moved)


def centralized(it: Setting) -> Learned:
    """All data in one place, which the consortium exists to avoid."""
    rows = list(dict.fromkeys(row for held in it.held.values() for row in held))
    recipe = it.recipe(coupling="isolated", layout="blocks", steps=it.steps * len(it.held))
    trainer, totals, _ = trained_history(it, recipe, {"all": rows})
    assistant = Assistant(trainer.model, trainer.parameters, totals)
    network = OneNetwork(
        assistant.base, trainer.model.use(f"block_{address('all')}"), it.max_length
    )
    moved = sum(len(f"{row.question}{row.answer}".encode()) for row in rows)
    return Learned(lambda _: network, trainer.tokens, trainer.seconds, moved)


def _averaged(it: Setting, **changes: Any) -> Learned:
    trainer, totals, uploads = trained_history(it, it.recipe(**changes), dict(it.held))
    assistant = Assistant(trainer.model, trainer.parameters, totals)
    moved = uploads + it.rounds * len(it.held) * len(encode(totals))
    return Learned(lambda _: assistant, trainer.tokens, trainer.seconds, moved)


def fedit(it: Setting) -> Learned:
    return _averaged(it)


def ffa(it: Setting) -> Learned:
    """A frozen; three times the rate, because B alone has to do it."""
    return _averaged(it, train_a=False, learning_rate=min(1.0, 3 * it.learning_rate))


def rolora(it: Setting) -> Learned:
    return _averaged(it, alternate=True)


def flora(it: Setting) -> Learned:
    """Fresh factors for everybody in every round, stacked and merged into the base."""
    return _Merging(it, keeps_average=False).run()


def fedex(it: Setting) -> Learned:
    """FedIT, and what the product lacks merged into the base."""
    return _Merging(it, keeps_average=True).run()


class _Merging:
    """Layouts that change the base model's weights in every round."""

    def __init__(self, it: Setting, *, keeps_average: bool) -> None:
        self.it, self.keeps_average = it, keeps_average
        self.parameters, self.model = it.recipe().parameters(it.base, it.seed)
        self.names = sorted({name.rpartition(".lora_")[0] for name in self.model.shapes})
        self.scaling = self.parameters.lora.alpha / self.parameters.lora.rank
        self.original = {name: self._weight(name).detach().clone() for name in self.names}
        self.dense = {name: np.zeros(tuple(self.original[name].shape)) for name in self.names}
        self.tokens, self.seconds, self.moved = 0, 0.0, 0

    def run(self) -> Learned:
        it = self.it
        everybody = [address(name) for name in it.held]
        data = {address(name): rows for name, rows in it.held.items()}
        share = weights("shared", everybody)
        shared = self._start(SHARED)
        for number in range(1, it.rounds + 1):
            trained = {}
            for who in everybody:
                start = shared if self.keeps_average else self._start(f"{who}.{number}")
                trained[who] = self._train(who, number, start, data[who])
            ideal = self._sum(trained, share)
            if self.keeps_average:
                # What the average serves by itself was not in the base before and is not now.
                shared = self._average(trained, share)
                own = self._product(shared)
                for name in self.names:
                    self.dense[name] = self.dense[name] + ideal[name] - own[name]
            else:
                for name in self.names:
                    self.dense[name] = self.dense[name] + ideal[name]
            self._merge()
            one = sum(4 * value.size for value in shared.values())
            down = one * len(everybody) + (one if self.keeps_average else 0)
            self.moved += len(everybody) * (one + down)
        self.model.put("served", shared if self.keeps_average else self._start("nobody"))
        network = OneNetwork(it.base, self.model.use("served"), it.max_length)
        return Learned(lambda _: network, self.tokens, self.seconds, self.moved, self._restore)

    def _train(
        self, who: str, number: int, start: Tensors, examples: Sequence[Example]
    ) -> dict[str, Any]:
        it, began = self.it, clock()
        result = train_round(
            self.model,
            self.parameters,
            start,
            examples,
            RoundTraining(
                steps=it.steps, seed=round_seed(it.seed, who, number), settings=it.engine
            ),
        )
        self.seconds += clock() - began
        self.tokens += result.tokens
        it.say(f"round {number} {who[:8]} loss {result.first_loss:.3f} -> {result.last_loss:.3f}")
        update = {n: v.astype(np.float64) - start[n] for n, v in result.tensors.items()}
        bits = self.parameters.fraction_bits
        whole = quantize(update, None, fraction_bits=bits, clip_norm=self.parameters.clip_norm)
        moved = dequantize(weighted_sum([(whole.delta, WEIGHT_ONE)]), fraction_bits=bits)
        return {name: start[name] + moved[name] for name in start}

    def _start(self, owner: str) -> dict[str, Any]:
        parameters = self.parameters
        return materialize({}, parameters.shapes, parameters=parameters, owner=owner)

    def _product(self, tensors: Tensors) -> dict[str, Any]:
        return {
            name: tensors[f"{name}.lora_B"].astype(np.float64) @ tensors[f"{name}.lora_A"]
            for name in self.names
        }

    def _sum(self, trained: Mapping[str, Tensors], share: Mapping[str, int]) -> dict[str, Any]:
        total = {name: np.zeros_like(self.dense[name]) for name in self.names}
        for who, tensors in trained.items():
            for name, value in self._product(tensors).items():
                total[name] += share[who] / WEIGHT_ONE * value
        return total

    def _average(self, trained: Mapping[str, Tensors], share: Mapping[str, int]) -> dict[str, Any]:
        names = next(iter(trained.values()))
        return {
            name: sum(
                (share[who] / WEIGHT_ONE * tensors[name] for who, tensors in trained.items()),
                np.zeros_like(names[name]),
            ).astype(np.float32)
            for name in names
        }

    def _weight(self, name: str) -> torch.nn.Parameter:
        layer: Any = self.it.base.model.get_submodule(name)
        weight: torch.nn.Parameter = layer.base_layer.weight
        return weight

    def _merge(self) -> None:
        with torch.no_grad():
            for name in self.names:
                change = torch.from_numpy((self.scaling * self.dense[name]).astype(np.float32))
                self._weight(name).copy_(self.original[name] + change)

    def _restore(self) -> None:
        with torch.no_grad():
            for name in self.names:
                self._weight(name).copy_(self.original[name])


def split(it: Setting) -> Learned:
    """Half of the ranks shared, half private. Facts are revocable, skills uncertain."""
    recipe = it.recipe(coupling="isolated", layout="blocks", rank=2 * (it.rank // 2))
    parameters, model = recipe.parameters(it.base, it.seed)
    settings = SplitSettings(shared_rank=it.rank // 2)
    everybody = {address(name): rows for name, rows in it.held.items()}
    label: Any = "revocable" if it.private else "uncertain"
    totals: Totals = {}
    tokens, seconds, moved = 0, 0.0, 0
    residuals: dict[str, Any] = {who: {} for who in everybody}
    for number in range(1, it.rounds + 1):
        given = {}
        for who, rows in everybody.items():
            given[who] = contribute_split(
                model,
                parameters,
                settings,
                who,
                totals,
                rows,
                [label] * len(rows),
                residuals[who],
                open_steps=0 if it.private else it.steps,
                revocable_steps=it.steps if it.private else 0,
                seed=round_seed(it.seed, who, number),
            )
            seconds += given[who].result.seconds
            it.say(f"round {number} {who[:8]} loss {given[who].result.losses[-1]:.3f}")
        shared = {who: c.shared.delta for who, c in given.items() if c.shared is not None}
        own = {who: c.own.delta for who, c in given.items() if c.own is not None}
        for who, it_ in given.items():
            residuals[who] = {
                part: getattr(it_, part).residual
                for part in ("shared", "own")
                if getattr(it_, part) is not None
            }
        share = weights("shared", list(shared))
        terms = [(delta, share[who]) for who, delta in shared.items()]
        terms += [(delta, WEIGHT_ONE) for delta in own.values()]
        totals = add_totals([totals, weighted_sum(terms)])
        moved += sum(len(encode(delta)) for delta in [*shared.values(), *own.values()])
        moved += len(everybody) * len(encode(totals))
    assistant = Assistant(model, parameters, totals, split=settings)
    return Learned(lambda _: assistant, tokens, seconds, moved)


REPEATED: Mapping[str, Arrangement] = {
    "local only": local,
    "centralized": centralized,
    "blocks": blocks,
    "FedIT": fedit,
    "FFA-LoRA": ffa,
    "RoLoRA": rolora,
    "FLoRA": flora,
    "FedEx-LoRA": fedex,
    "split": split,
}
