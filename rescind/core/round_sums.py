"""A model seen by rounds: what the server optimizer makes of their sums, and the control variates.

The chain's adapter is the plain sum over all rounds, whatever the server optimizer: the contract checks
that. What is served, and what a round starts from, is a function of the same rounds in their order.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import groupby

import numpy as np
from numpy.typing import NDArray

from rescind.core.agreed_rules import ScaffoldRule
from rescind.core.control_variates import (
    Control,
    ControlRound,
    own_control,
    server_control,
)
from rescind.core.delta import IntTensors, Totals, add_totals
from rescind.core.hiding import is_hiding
from rescind.core.layout import SHARED, split_owner
from rescind.core.optimizers import FedAvg, serve
from rescind.core.parameters import ConsortiumParameters
from rescind.core.sums import Load, Term, adapter_totals


@dataclass(frozen=True)
class RoundSum:
    """`aggregate`: the weighted sum of a round's deltas, of `organizations`."""

    round_id: int
    organizations: tuple[str, ...]
    aggregate: Totals


@dataclass(frozen=True)
class Past:
    """What a round comes after: the sums of the rounds before, in their order, and the deltas of one
    organization in them, by round."""

    rounds: tuple[RoundSum, ...] = ()
    own: Mapping[int, IntTensors] = field(default_factory=dict)


def by_round(terms: Iterable[Term]) -> dict[int, tuple[Term, ...]]:
    """Ascending; 0: counter-deltas."""
    ordered = sorted(terms, key=lambda it: (it.round_id, it.organization.lower(), it.artifact_id))
    return {
        round_id: tuple(group) for round_id, group in groupby(ordered, key=lambda it: it.round_id)
    }


def sum_key(terms: Sequence[Term]) -> str:
    """One name for the sum of one round: SHA-256 of what is summed with which weight."""
    text = "\n".join(sorted(f"{it.artifact_id} {it.weight}" for it in terms))
    return hashlib.sha256(text.encode()).hexdigest()


def round_sum(round_id: int, terms: Sequence[Term], load: Load) -> RoundSum:
    return RoundSum(round_id, tuple(it.organization for it in terms), adapter_totals(terms, load))


def round_sums(terms: Iterable[Term], load: Load) -> tuple[RoundSum, ...]:
    """Counter-deltas left out."""
    groups = by_round(terms).items()
    return tuple(round_sum(number, its, load) for number, its in groups if number)


def uses_controls(parameters: ConsortiumParameters) -> bool:
    return isinstance(parameters.training.rule, ScaffoldRule)


def needs_rounds(parameters: ConsortiumParameters) -> bool:
    """Whether the sum of all rounds is not enough to train or to serve."""
    return parameters.server != FedAvg() or uses_controls(parameters)


def served(
    parameters: ConsortiumParameters, rounds: Iterable[RoundSum], counters: Totals | None = None
) -> dict[str, NDArray[np.int64]]:
    """The adapter that is served after these rounds: `rescind.core.optimizers.serve` of their sums, and
    then `counters`, the sum of the counter-deltas, which no optimizer touches.

    A tensor that was frozen in a round stays as it is, its moments included. Raises SumOverflow.
    """
    aggregates = [_moved(parameters, it) for it in rounds]
    adapter = serve(parameters.server, aggregates, fraction_bits=parameters.fraction_bits)
    return add_totals([adapter, counters]) if counters else adapter


def served_of(
    parameters: ConsortiumParameters, terms: Iterable[Term], load: Load
) -> dict[str, NDArray[np.int64]]:
    """The same from a model's terms and every delta in it."""
    known = list(terms)
    if parameters.server == FedAvg():
        return adapter_totals(known, load)
    counters = adapter_totals([it for it in known if not it.round_id], load)
    return served(parameters, round_sums(known, load), counters)


def controls(
    parameters: ConsortiumParameters, past: Past, organization: str, *, travel: float
) -> tuple[Control, Control]:
    """SCAFFOLD's c and c_i before the next round of a shared layout, by bare tensor name.

    N is the number of organizations that are in any of the rounds, so both are functions of what is in
    the model, and after a removal of what remains. `travel`: sum of the learning rates of one round's
    steps, the same for all. Raises ConfigError unless it is positive.
    """
    members = len({who.lower() for it in past.rounds for who in it.organizations})
    bits = parameters.fraction_bits
    known: list[ControlRound] = []
    own: Control = {}
    for it in past.rounds:
        if organization.lower() in {who.lower() for who in it.organizations}:
            before = server_control(known, members=members, fraction_bits=bits)
            mine = _kept(parameters, it.round_id, past.own[it.round_id])
            changed = own_control(own, before, mine, travel=travel, fraction_bits=bits)
            own = {**own, **changed}
        aggregate = _moved(parameters, it)
        known.append(ControlRound(_parameters_of(aggregate), len(it.organizations), travel))
    server = server_control(known, members=max(1, members), fraction_bits=bits)
    return _bare(server), _bare(own)


def _moved(parameters: ConsortiumParameters, it: RoundSum) -> Totals:
    frozen = parameters.frozen_in(it.round_id)
    if not frozen:
        return it.aggregate
    return {n: value for n, value in it.aggregate.items() if split_owner(n)[1] not in frozen}


def _kept(parameters: ConsortiumParameters, round_id: int, delta: IntTensors) -> IntTensors:
    frozen = parameters.frozen_in(round_id)
    return {
        name: value
        for name, value in delta.items()
        if split_owner(name)[1] not in frozen and not is_hiding(name)
    }


def _parameters_of(totals: Totals) -> Totals:
    return {name: value for name, value in totals.items() if not is_hiding(name)}


def _bare(control: Control) -> Control:
    prefix = f"{SHARED}/"
    return {name.removeprefix(prefix): value for name, value in control.items()}
