"""What each layout makes of the registered deltas of one LoRA module, and what removal leaves.

1. An organization's delta of a round is a pair of integer factors (`Change`).
2. `State.totals` is the weighted sum of the deltas by qualified tensor name: linear in them, so it is
   what digests check.
3. `State.terms` is the served model, a sum of low-rank products, by owner. In every layout but
   FedEx-LoRA it is a function of the totals and of where factors start.
4. `State.without` is the same function of what remains, with the weights of who remains.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import WEIGHT_ONE, weighted_sum
from rescind.core.errors import ArtifactError
from rescind.core.layout import SHARED, qualify, weights
from rescind.core.research.layouts.factors import Factors, LowRank, dense

Start = Callable[[str], Factors]
"""Where the factors of an owner start, in units of 2^-fraction_bits (as `rescind.core.initial`)."""

Rule = Callable[[Sequence[str]], Mapping[str, int]]
"""Weights in basis points of the organizations in a round; a function of who they are only."""

Served = dict[str, tuple[LowRank, ...]]


class FrozenFactor(ArtifactError):
    code = "artifact-frozen-factor"


@dataclass(frozen=True, eq=False)
class Change:
    """One organization's delta in one round, in units of 2^-fraction_bits.

    `private`: of its private ranks, in the split layout only. A frozen factor's delta is zero.
    """

    organization: str
    delta: Factors
    private: Factors | None = None


@dataclass(frozen=True, eq=False)
class Round:
    """`number` counts from 1."""

    number: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """What one change adds to one owner's factors."""

    owner: str
    delta: Factors
    weight: int


def equal_shares(organizations: Sequence[str]) -> dict[str, int]:
    return weights("shared", organizations)


@dataclass(frozen=True, eq=False)
class State:
    """A layout and the deltas that were registered in it."""

    layout: FactorLayout
    start: Start
    rounds: tuple[Round, ...] = ()
    rule: Rule = equal_shares

    def after(self, changes: Sequence[Change]) -> State:
        """With one more round. Raises FrozenFactor, WrongShape."""
        number = self.rounds[-1].number + 1 if self.rounds else 1
        state = replace(self, rounds=(*self.rounds, Round(number, tuple(changes))))
        state.layout.check(state.rounds[-1])
        return state

    def without(self, organization: str) -> State:
        """Everybody else's deltas as they are, each round weighted by the rule for who remains."""
        gone = organization.lower()
        kept = (
            replace(it, changes=tuple(c for c in it.changes if c.organization.lower() != gone))
            for it in self.rounds
        )
        return replace(self, rounds=tuple(kept))

    def before(self) -> State:
        """The state that the last round started from."""
        return replace(self, rounds=self.rounds[:-1])

    def weights(self, it: Round) -> Mapping[str, int]:
        return self.rule([change.organization for change in it.changes])

    def parts(self) -> Iterator[Part]:
        for it in self.rounds:
            share = self.weights(it)
            for change in it.changes:
                for part in self.layout.parts(it, change, share.get(change.organization, 0)):
                    yield replace(part, delta=part.delta.fitted(self.start(part.owner)))

    def totals(self) -> dict[str, NDArray[np.int64]]:
        """Sum of weight x delta by OWNER/lora_A and OWNER/lora_B, int64. Raises SumOverflow."""
        return weighted_sum((_tensors(part), part.weight) for part in self.parts())

    def owners(self) -> list[str]:
        return sorted({part.owner for part in self.parts()})

    def pair(self, owner: str) -> Factors:
        """The owner's factors on the grid of aggregates: start x 10,000 + total."""
        start, totals = self.start(owner), self.totals()
        return Factors(
            start.a.astype(np.int64) * WEIGHT_ONE + totals.get(qualify(owner, "lora_A"), 0),
            start.b.astype(np.int64) * WEIGHT_ONE + totals.get(qualify(owner, "lora_B"), 0),
        )

    def terms(self) -> Served:
        """The served model of each owner (SHARED where all have one)."""
        return self.layout.terms(self)

    def product(self, *, fraction_bits: int) -> dict[str, NDArray[np.float64]]:
        """The served change of the base model's matrix, (out, in), before LoRA's alpha / rank."""
        return {
            owner: dense(terms, fraction_bits=fraction_bits)
            for owner, terms in self.terms().items()
            if terms
        }


class FactorLayout(ABC):
    name: ClassVar[str]

    def parts(self, it: Round, change: Change, weight: int) -> list[Part]:  # noqa: ARG002
        return [Part(SHARED, change.delta, weight)]

    @abstractmethod
    def terms(self, state: State) -> Served: ...

    def frozen(self, number: int) -> str:  # noqa: ARG002
        """Which factors of the shared pair may not change in this round: "", "a" or "b"."""
        return ""

    def check(self, it: Round) -> None:
        still = self.frozen(it.number)
        for change in it.changes:
            if still and getattr(change.delta, still).any():
                raise FrozenFactor(
                    f"{change.organization} changes factor {still.upper()} in round {it.number}, "
                    f"where {self.name} has it frozen: its delta must be zero"
                )


class FedIT(FactorLayout):
    """A and B are averaged apart (Zhang et al. 2023, arXiv 2305.05644). Their product has the cross
    terms B_i A_j, so it is not the average of the products."""

    name = "fedit"

    def terms(self, state: State) -> Served:
        return {SHARED: (LowRank(state.pair(SHARED)),)}


class FFA(FedIT):
    """A stays at its shared start, B is averaged (FFA-LoRA, Sun et al. 2024, arXiv 2403.12313)."""

    name = "ffa"

    def frozen(self, number: int) -> str:  # noqa: ARG002
        return "a"


class RoLoRA(FedIT):
    """Odd rounds average B, even rounds A, the other stands still (Chen et al. 2025, arXiv
    2502.01755). B is first, since A has no gradient while B is zero."""

    name = "rolora"

    def frozen(self, number: int) -> str:
        return "a" if number % 2 else "b"


class FedExLoRA(FedIT):
    """FedIT, and what its product lacks of the average of the products is added to the base model
    (Singhal et al. 2024, arXiv 2410.09432), here as factors of rank n r + r in each round."""

    name = "fedex"

    def terms(self, state: State) -> Served:
        residuals: list[LowRank] = []
        for place in range(len(state.rounds)):
            residuals += self.residual(replace(state, rounds=state.rounds[: place + 1]))
        return {SHARED: (LowRank(state.pair(SHARED)), *residuals)}

    def residual(self, state: State) -> list[LowRank]:
        """Sum of p_i B_i A_i - B A for the last round; what nobody weighs stays where it was."""
        last, before = state.rounds[-1], state.before().pair(SHARED)
        share = state.weights(last)
        terms = [
            LowRank(_moved(before, change.delta), share.get(change.organization, 0))
            for change in last.changes
        ]
        rest = WEIGHT_ONE - sum(term.scale for term in terms)
        if rest:
            terms.append(LowRank(before, rest))
        return [*terms, LowRank(state.pair(SHARED), -WEIGHT_ONE)]


class FLoRA(FactorLayout):
    """Every organization trains fresh factors in every round; they are stacked and merged into the
    base model (Wang et al. 2024, arXiv 2409.05976). Ranks may differ.

    In the totals each pair has coordinates of its own at 10,000; its share is applied when it is
    served, to one factor only. `start` is asked for `stack_owner`s.
    """

    name = "flora"

    def parts(self, it: Round, change: Change, weight: int) -> list[Part]:  # noqa: ARG002
        return [Part(stack_owner(change.organization, it.number), change.delta, WEIGHT_ONE)]

    def terms(self, state: State) -> Served:
        stack = [
            LowRank(
                _moved(_scaled(state.start(owner)), change.delta),
                state.weights(it).get(change.organization, 0),
            )
            for it in state.rounds
            for change in it.changes
            for owner in [stack_owner(change.organization, it.number)]
        ]
        return {SHARED: tuple(stack)}


class Blocks(FactorLayout):
    """Each organization has a pair of its own, and a router chooses one; nothing is added up."""

    name = "blocks"

    def parts(self, it: Round, change: Change, weight: int) -> list[Part]:  # noqa: ARG002
        return [Part(change.organization.lower(), change.delta, WEIGHT_ONE)]

    def terms(self, state: State) -> Served:
        return {owner: (LowRank(state.pair(owner)),) for owner in state.owners()}


class Split(FFA):
    """Shared ranks as in FFA-LoRA beside each organization's private ranks: [B_s B_i] [A_s; A_i] has
    no cross terms. SHARED is what is served for nobody's ranks in particular."""

    name = "split"

    def parts(self, it: Round, change: Change, weight: int) -> list[Part]:
        parts = super().parts(it, change, weight)
        if change.private is not None:
            parts.append(Part(change.organization.lower(), change.private, WEIGHT_ONE))
        return parts

    def terms(self, state: State) -> Served:
        shared = LowRank(state.pair(SHARED))
        private = {owner: LowRank(state.pair(owner)) for owner in state.owners() if owner != SHARED}
        return {SHARED: (shared,)} | {owner: (shared, own) for owner, own in private.items()}


def stack_owner(organization: str, number: int) -> str:
    """Owner of the factors that an organization trains in one round of FLoRA."""
    return f"{organization.lower()}.{number}"


def _tensors(part: Part) -> dict[str, NDArray[Any]]:
    return {
        qualify(part.owner, "lora_A"): part.delta.a,
        qualify(part.owner, "lora_B"): part.delta.b,
    }


def _scaled(start: Factors) -> Factors:
    return Factors(start.a.astype(np.int64) * WEIGHT_ONE, start.b.astype(np.int64) * WEIGHT_ONE)


def _moved(pair: Factors, delta: Factors) -> Factors:
    """A pair on the grid of aggregates after a whole delta: what one organization trained."""
    fitted = _scaled(delta.fitted(pair))
    return Factors(pair.a + fitted.a, pair.b + fitted.b)


LAYOUTS: Mapping[str, FactorLayout] = {
    layout.name: layout
    for layout in (FedIT(), FFA(), FLoRA(), FedExLoRA(), RoLoRA(), Blocks(), Split())
}
