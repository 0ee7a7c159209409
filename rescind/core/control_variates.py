"""Control variates of SCAFFOLD, option II (Karimireddy et al. 2020, arXiv 1910.06378), from deltas.

With x the model that a round starts from, y_i what organization i's K steps of size lr make of it
and delta_i = y_i - x:

    c_i+ = c_i - c + (x - y_i) / (K lr) = c_i - c - delta_i / (K lr)
    c+   = c + (1 / N) sum over S of (c_i+ - c_i)
         = (1 - |S| / N) c - (|S| / N) mean over S of delta_i / (K lr)

S are the organizations in the round and N the number of all members. So c is a function of the
round aggregates, and c_i one of i's own deltas and c: nothing is sent, registered or trusted beyond
the deltas themselves, and control variates without a withdrawn organization are recomputed from
what remains.

`travel` is K lr, or the sum of the learning rates of the K steps where they differ. It must be the
same for all organizations in a round. Control variates are float64, in parameter units over
learning rate.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import WEIGHT_ONE, IntTensors, Totals
from rescind.core.errors import ConfigError

Control = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True)
class ControlRound:
    """A round, as far as control variates depend on it.

    Attributes:
        aggregate: Its weighted sum.
        participants: How many organizations are in it.
        travel: The sum of the learning rates of its steps.
    """

    aggregate: Totals
    participants: int
    travel: float


def own_control(
    own: Control, server: Control, delta: IntTensors, *, travel: float, fraction_bits: int
) -> dict[str, NDArray[np.float64]]:
    """Return c_i after a round in which the organization registered a delta.

    Args:
        own: c_i before. A missing tensor is zero.
        server: c before. A missing tensor is zero.
        delta: The organization's delta.
        travel: The sum of the learning rates of the round's steps.
        fraction_bits: The fixed-point resolution.

    Raises:
        ConfigError: `travel` is not positive.
    """
    _check_travel(travel)
    scale = float(2**fraction_bits) * travel
    result = {}
    for name in sorted(delta):
        value = delta[name] / scale
        zeros = np.zeros(value.shape)
        result[name] = own.get(name, zeros) - server.get(name, zeros) - value
    return result


def server_control(
    rounds: Iterable[ControlRound], *, members: int, fraction_bits: int
) -> dict[str, NDArray[np.float64]]:
    """Return c after rounds, in their order; it is zero before the first.

    A round's aggregate weighs each of n deltas by 10,000 // n, and their mean is the aggregate over
    the sum of these weights, which may be less than 10,000. So c is exactly the mean of all c_i.

    Raises:
        ConfigError: A round has more participants than there are members, or none.
    """
    control: dict[str, NDArray[np.float64]] = {}
    for round_ in rounds:
        _check_travel(round_.travel)
        if not 0 < round_.participants <= members:
            raise ConfigError(
                f"a round has {round_.participants} participants among {members} members: "
                "it must have at least one and at most all"
            )
        share = round_.participants / members
        weight = round_.participants * (WEIGHT_ONE // round_.participants)
        scale = float(2**fraction_bits) * weight * round_.travel
        for name in sorted(round_.aggregate):
            value = round_.aggregate[name] / scale
            before = control.get(name, np.zeros(value.shape))
            control[name] = (1.0 - share) * before - share * value
    return control


def _check_travel(travel: float) -> None:
    if not travel > 0:
        raise ConfigError(
            f"travel is {travel}, but the learning rates of a round's steps sum to more than 0"
        )
