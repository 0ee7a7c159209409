"""Server optimizers: the served adapter as a function of the sequence of round aggregates.

x_(t+1) = x_t + step_t, where delta_t is the round's aggregate in parameter units and

    FedAvg      step = lr delta                                    (McMahan et al. 2017, 1602.05629)
    FedAvgM     m = momentum m + delta,            step = lr m     (Hsu et al. 2019, 1909.06335)
    FedAdagrad  v = v + delta^2                                    (Reddi et al. 2021, 2003.00295,
    FedAdam     v = beta2 v + (1 - beta2) delta^2                   Algorithm 2)
    FedYogi     v = v - (1 - beta2) delta^2 sign(v - delta^2)

and in the last three m = beta1 m + (1 - beta1) delta, step = lr m / (sqrt(v) + tau), with m = 0 and
v = tau^2 before the first round and no bias correction.

Everything is elementwise float64 with +, -, *, / and sqrt only, which IEEE 754 rounds in one way,
so that every holder of the aggregates computes the same served adapter. A step is rounded to the
grid of aggregates, 2^-fraction_bits / 10,000, so the served adapter is integers like any other.

A tensor that a round's aggregate does not have (the block of an organization that sat out, a frozen
factor) stays as it is in that round, its moments included. Noise that hides a digest is summed as
it is.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Annotated, Literal

import numpy as np
from numpy.typing import NDArray
from pydantic import Field

from rescind.core.delta import (
    WEIGHT_ONE,
    SumOverflow,
    Totals,
)
from rescind.core.frozen import Frozen
from rescind.core.hiding import is_hiding
from rescind.core.totals import add_totals

Floats = NDArray[np.float64]
LearningRate = Annotated[float, Field(gt=0, le=100)]
Decay = Annotated[float, Field(ge=0, lt=1)]
Tau = Annotated[float, Field(gt=0, le=1)]

_LARGEST_STEP = 2.0**62
"""A float64 below this fits int64 with room for one sum."""


class _Optimizer(Frozen):
    @property
    def initial_second(self) -> float:
        """The second moment before the first round."""
        return 0.0

    @abstractmethod
    def step(self, delta: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
        """Return the step and both moments after it; all in parameter units, of one shape."""


class FedAvg(_Optimizer):
    """The weighted mean of the deltas, times `learning_rate`; with 1.0 exactly the integer sum."""

    name: Literal["fedavg"] = "fedavg"
    learning_rate: LearningRate = 1.0

    def step(self, delta: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
        return self.learning_rate * delta, first, second


class FedAvgM(_Optimizer):
    """Momentum without dampening.

    A delta that repeats counts 1 / (1 - momentum) times in the end, so the default learning rate
    makes it count once.
    """

    name: Literal["fedavgm"] = "fedavgm"
    learning_rate: LearningRate = 0.1
    momentum: Decay = 0.9

    def step(self, delta: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
        first = self.momentum * first + delta
        return self.learning_rate * first, first, second


class _Adaptive(_Optimizer):
    """Adaptive steps. `learning_rate` is about the largest change of one parameter in one round."""

    learning_rate: LearningRate = 0.01
    beta1: Decay = 0.9
    tau: Tau = 1e-3

    @property
    def initial_second(self) -> float:
        return self.tau * self.tau

    @abstractmethod
    def accumulate(self, second: Floats, square: Floats) -> Floats:
        """Return the second moment after a round with this squared delta."""

    def step(self, delta: Floats, first: Floats, second: Floats) -> tuple[Floats, Floats, Floats]:
        first = self.beta1 * first + (1.0 - self.beta1) * delta
        second = self.accumulate(second, delta * delta)
        return self.learning_rate * first / (np.sqrt(second) + self.tau), first, second


class FedAdagrad(_Adaptive):
    """Steps only ever shrink. Adagrad has no momentum, so `beta1` is 0 by default."""

    name: Literal["fedadagrad"] = "fedadagrad"
    beta1: Decay = 0.0

    def accumulate(self, second: Floats, square: Floats) -> Floats:
        return second + square


class FedAdam(_Adaptive):
    """The second moment is a moving average."""

    name: Literal["fedadam"] = "fedadam"
    beta2: Decay = 0.99

    def accumulate(self, second: Floats, square: Floats) -> Floats:
        return self.beta2 * second + (1.0 - self.beta2) * square


class FedYogi(_Adaptive):
    """As FedAdam, but v moves by no more than (1 - beta2) delta^2 in a round."""

    name: Literal["fedyogi"] = "fedyogi"
    beta2: Decay = 0.99

    def accumulate(self, second: Floats, square: Floats) -> Floats:
        return second - (1.0 - self.beta2) * square * np.sign(second - square)


ServerOptimizer = Annotated[
    FedAvg | FedAvgM | FedAdagrad | FedAdam | FedYogi, Field(discriminator="name")
]


@dataclass(frozen=True)
class ServerState:
    """The state after some rounds; everything by tensor name.

    Attributes:
        adapter: The served adapter, on the grid of aggregates.
        first: The first moments, float64, in parameter units.
        second: The second moments, float64, in parameter units squared.
    """

    adapter: Totals = field(default_factory=dict)
    first: Mapping[str, Floats] = field(default_factory=dict)
    second: Mapping[str, Floats] = field(default_factory=dict)


def advance(
    server: ServerOptimizer, state: ServerState, aggregate: Totals, *, fraction_bits: int
) -> ServerState:
    """Return the state after one more round.

    Args:
        server: The optimizer.
        state: The state before.
        aggregate: The round's weighted sum.
        fraction_bits: The fixed-point resolution.

    Raises:
        SumOverflow: The served adapter may not fit 64 bits.
        WrongShape: A tensor changes its shape.
    """
    unit = float(2**fraction_bits) * WEIGHT_ONE
    plain = server == FedAvg()
    steps: dict[str, NDArray[np.int64]] = {}
    first, second = dict(state.first), dict(state.second)
    for name in sorted(aggregate):
        value = aggregate[name]
        if plain or is_hiding(name):
            steps[name] = value
            continue
        zeros = np.zeros(value.shape)
        step, first[name], second[name] = server.step(
            value.astype(np.float64) / unit,
            first.get(name, zeros),
            second.get(name, zeros + server.initial_second),
        )
        steps[name] = _on_grid(name, step * unit)
    return ServerState(add_totals([state.adapter, steps]), first, second)


def server_state(
    server: ServerOptimizer, aggregates: Iterable[Totals], *, fraction_bits: int
) -> ServerState:
    """Return the state after all of `aggregates`, in the order of their rounds."""
    state = ServerState()
    for aggregate in aggregates:
        state = advance(server, state, aggregate, fraction_bits=fraction_bits)
    return state


def serve(
    server: ServerOptimizer, aggregates: Iterable[Totals], *, fraction_bits: int
) -> dict[str, NDArray[np.int64]]:
    """Return the adapter that is served after rounds with these aggregates, in their order.

    It is int64 in units of 2^-fraction_bits / 10,000: what `dequantize`, `materialize` and `encode`
    take. Removal of an organization is this function of the aggregates without it.
    """
    return dict(server_state(server, aggregates, fraction_bits=fraction_bits).adapter)


def _on_grid(name: str, step: Floats) -> NDArray[np.int64]:
    if step.size and not float(np.max(np.abs(step))) < _LARGEST_STEP:
        raise SumOverflow(
            f"the server's step of {name!r} does not fit 64 bits: lower server.learning_rate"
        )
    return np.rint(step).astype(np.int64)
