"""A model as sums of rounds: what the server optimizer makes of them, and the control variates.

The chain's adapter is the plain sum over all rounds, whatever the server optimizer: the contract
checks that. What is served, and what a round starts from, is a function of the same rounds in their
order.
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
from rescind.core.delta import IntTensors, Totals
from rescind.core.hiding import is_hiding
from rescind.core.layout import split_owner
from rescind.core.optimizers import FedAvg, serve
from rescind.core.parameters import ConsortiumParameters
from rescind.core.parts import SHARED
from rescind.core.sums import Load, Term, adapter_totals
from rescind.core.totals import add_totals


@dataclass(frozen=True)
class RoundSum:
    """The sum of one round.

    Attributes:
        round_id: The round; 0 for counter-deltas.
        organizations: The addresses of the organizations in it.
        aggregate: The weighted sum of their deltas.
    """

    round_id: int
    organizations: tuple[str, ...]
    aggregate: Totals


@dataclass(frozen=True)
class Past:
    """The past that a round builds on.

    Attributes:
        rounds: The sums of the rounds before, in their order.
        own: One organization's deltas in them, by round.
    """

    rounds: tuple[RoundSum, ...] = ()
    own: Mapping[int, IntTensors] = field(default_factory=dict)


def by_round(terms: Iterable[Term]) -> dict[int, tuple[Term, ...]]:
    """Return the terms of each round, ascending; round 0 holds the counter-deltas."""
    ordered = sorted(
        terms, key=lambda term: (term.round_id, term.organization.lower(), term.artifact_id)
    )
    return {
        round_id: tuple(group)
        for round_id, group in groupby(ordered, key=lambda term: term.round_id)
    }


def sum_key(terms: Sequence[Term]) -> str:
    """Return a name for the sum of one round: the SHA-256 of its artifacts and weights."""
    text = "\n".join(sorted(f"{term.artifact_id} {term.weight}" for term in terms))
    return hashlib.sha256(text.encode()).hexdigest()


def round_sum(round_id: int, terms: Sequence[Term], load: Load) -> RoundSum:
    """Return the sum of one round's terms."""
    organizations = tuple(term.organization for term in terms)
    return RoundSum(round_id, organizations, adapter_totals(terms, load))


def round_sums(terms: Iterable[Term], load: Load) -> tuple[RoundSum, ...]:
    """Return the sums of all rounds, ascending, without counter-deltas."""
    groups = by_round(terms).items()
    return tuple(round_sum(number, group, load) for number, group in groups if number)


def uses_controls(parameters: ConsortiumParameters) -> bool:
    """Return whether the agreed training rule needs control variates."""
    return isinstance(parameters.training.rule, ScaffoldRule)


def needs_rounds(parameters: ConsortiumParameters) -> bool:
    """Return whether the sum over all rounds is not enough to train or to serve."""
    return parameters.server != FedAvg() or uses_controls(parameters)


def served(
    parameters: ConsortiumParameters, rounds: Iterable[RoundSum], counters: Totals | None = None
) -> dict[str, NDArray[np.int64]]:
    """Return the adapter that is served after rounds.

    It is `rescind.core.optimizers.serve` of their sums, and then `counters`. A tensor that was
    frozen in a round stays as it is, its moments included.

    Args:
        parameters: The consortium's parameters.
        rounds: The sums of the rounds, in their order.
        counters: The sum of the counter-deltas, which no optimizer touches.

    Raises:
        SumOverflow: The adapter may not fit 64 bits.
    """
    aggregates = [_moved(parameters, round_) for round_ in rounds]
    adapter = serve(parameters.server, aggregates, fraction_bits=parameters.fraction_bits)
    return add_totals([adapter, counters]) if counters else adapter


def served_of(
    parameters: ConsortiumParameters, terms: Iterable[Term], load: Load
) -> dict[str, NDArray[np.int64]]:
    """Return the adapter that is served, from a model's terms and every delta in it."""
    term_list = list(terms)
    if parameters.server == FedAvg():
        return adapter_totals(term_list, load)
    counters = adapter_totals([term for term in term_list if not term.round_id], load)
    return served(parameters, round_sums(term_list, load), counters)


def controls(
    parameters: ConsortiumParameters, past: Past, organization: str, *, travel: float
) -> tuple[Control, Control]:
    """Return SCAFFOLD's c and c_i before the next round of a shared layout, by bare tensor name.

    N is the number of organizations that are in any of the rounds, so both are functions of what is
    in the model, and after a removal of what remains.

    Args:
        parameters: The consortium's parameters.
        past: The rounds before, with the organization's own deltas.
        organization: The address of the organization.
        travel: The sum of the learning rates of one round's steps, the same for all.

    Raises:
        ConfigError: `travel` is not positive.
    """
    members = len({name.lower() for round_ in past.rounds for name in round_.organizations})
    bits = parameters.fraction_bits
    rounds_so_far: list[ControlRound] = []
    own: Control = {}
    for round_ in past.rounds:
        if organization.lower() in {name.lower() for name in round_.organizations}:
            before = server_control(rounds_so_far, members=members, fraction_bits=bits)
            delta = _kept(parameters, round_.round_id, past.own[round_.round_id])
            changed = own_control(own, before, delta, travel=travel, fraction_bits=bits)
            own = {**own, **changed}
        aggregate = _moved(parameters, round_)
        rounds_so_far.append(
            ControlRound(_parameters_of(aggregate), len(round_.organizations), travel)
        )
    server = server_control(rounds_so_far, members=max(1, members), fraction_bits=bits)
    return _bare(server), _bare(own)


def _moved(parameters: ConsortiumParameters, round_: RoundSum) -> Totals:
    frozen = parameters.frozen_in(round_.round_id)
    if not frozen:
        return round_.aggregate
    return {n: value for n, value in round_.aggregate.items() if split_owner(n)[1] not in frozen}


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
