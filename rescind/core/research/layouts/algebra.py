"""The served model of each LoRA layout, and what removal leaves of it, for one module.

1. An organization's delta of a round is a pair of integer factors (`Change`).
2. `State.totals` is the weighted sum of the deltas by qualified tensor name: linear in them, so it
   is what digests check.
3. `State.terms` is the served model, a sum of low-rank products, by owner. In every layout but
   FedEx-LoRA it is a function of the totals and of the initial factors.
4. `State.without` is the same function of the remaining organizations, with their weights.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, ClassVar

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import WEIGHT_ONE
from rescind.core.errors import ArtifactError
from rescind.core.layout import qualify, weights
from rescind.core.parts import SHARED
from rescind.core.research.layouts.factors import Factors, LowRank, dense
from rescind.core.totals import weighted_sum

Start = Callable[[str], Factors]
"""The initial factors of an owner, in units of 2^-fraction_bits (as `rescind.core.initial`)."""

Rule = Callable[[Sequence[str]], Mapping[str, int]]
"""Weights in basis points of the organizations in a round; depends only on which they are."""

Served = dict[str, tuple[LowRank, ...]]
"""The terms of each owner's served model."""


class FrozenFactor(ArtifactError):
    """A delta changes a factor that the layout freezes in that round."""

    code = "artifact-frozen-factor"


@dataclass(frozen=True, eq=False)
class Change:
    """One organization's delta in one round, in units of 2^-fraction_bits.

    Attributes:
        organization: Its address.
        delta: The factors; a frozen factor's delta is zero.
        private: The delta of its private ranks, in the split layout only.
    """

    organization: str
    delta: Factors
    private: Factors | None = None


@dataclass(frozen=True, eq=False)
class Round:
    """A round's changes. `number` counts from 1."""

    number: int
    changes: tuple[Change, ...]


@dataclass(frozen=True, eq=False)
class Part:
    """The share of one change in one owner's factors."""

    owner: str
    delta: Factors
    weight: int


def equal_shares(organizations: Sequence[str]) -> dict[str, int]:
    """Return equal shares of 10,000, as `weights` does."""
    return weights("shared", organizations)


@dataclass(frozen=True, eq=False)
class State:
    """A layout and the deltas that were registered in it."""

    layout: FactorLayout
    start: Start
    rounds: tuple[Round, ...] = ()
    rule: Rule = equal_shares

    def after(self, changes: Sequence[Change]) -> State:
        """Return the state with one more round; raise FrozenFactor or WrongShape."""
        number = self.rounds[-1].number + 1 if self.rounds else 1
        state = replace(self, rounds=(*self.rounds, Round(number, tuple(changes))))
        state.layout.check(state.rounds[-1])
        return state

    def without(self, organization: str) -> State:
        """Return the state of the remaining organizations, with each round weighted again."""
        removed = organization.lower()
        kept = (
            replace(
                round_,
                changes=tuple(c for c in round_.changes if c.organization.lower() != removed),
            )
            for round_ in self.rounds
        )
        return replace(self, rounds=tuple(kept))

    def before(self) -> State:
        """Return the state that the last round started from."""
        return replace(self, rounds=self.rounds[:-1])

    def weights(self, round_: Round) -> Mapping[str, int]:
        """Return the weights of a round."""
        return self.rule([change.organization for change in round_.changes])

    def parts(self) -> Iterator[Part]:
        """Yield every change's parts, padded to their owner's rank."""
        for round_ in self.rounds:
            share = self.weights(round_)
            for change in round_.changes:
                for part in self.layout.parts(round_, change, share.get(change.organization, 0)):
                    yield replace(part, delta=part.delta.fitted(self.start(part.owner)))

    def totals(self) -> dict[str, NDArray[np.int64]]:
        """Return the sum of weight x delta by OWNER/lora_A and OWNER/lora_B, int64.

        Raises:
            SumOverflow: The sum does not fit.
        """
        return weighted_sum((_tensors(part), part.weight) for part in self.parts())

    def owners(self) -> list[str]:
        """Return the owners of factors, sorted."""
        return sorted({part.owner for part in self.parts()})

    def pair(self, owner: str) -> Factors:
        """Return the owner's factors on the grid of aggregates: start x 10,000 + total."""
        start, totals = self.start(owner), self.totals()
        return Factors(
            start.a.astype(np.int64) * WEIGHT_ONE + totals.get(qualify(owner, "lora_A"), 0),
            start.b.astype(np.int64) * WEIGHT_ONE + totals.get(qualify(owner, "lora_B"), 0),
        )

    def terms(self) -> Served:
        """Return the served model of each owner (SHARED where all have one)."""
        return self.layout.terms(self)

    def product(self, *, fraction_bits: int) -> dict[str, NDArray[np.float64]]:
        """Return the served change of the base matrix, (out, in), before LoRA's alpha / rank."""
        return {
            owner: dense(terms, fraction_bits=fraction_bits)
            for owner, terms in self.terms().items()
            if terms
        }


class FactorLayout(ABC):
    """How the organizations' factors become a served model."""

    name: ClassVar[str]

    def parts(self, round_: Round, change: Change, weight: int) -> list[Part]:  # noqa: ARG002
        """Return the parts of a change."""
        return [Part(SHARED, change.delta, weight)]

    @abstractmethod
    def terms(self, state: State) -> Served:
        """Return the served model of each owner."""

    def frozen(self, number: int) -> str:  # noqa: ARG002
        """Return which factors of the shared pair are frozen in a round: "", "a" or "b"."""
        return ""

    def check(self, round_: Round) -> None:
        """Check that a round leaves frozen factors alone; raise FrozenFactor."""
        frozen = self.frozen(round_.number)
        for change in round_.changes:
            if frozen and getattr(change.delta, frozen).any():
                raise FrozenFactor(
                    f"{change.organization} changes factor {frozen.upper()} in round "
                    f"{round_.number}, where {self.name} freezes it: its delta must be zero"
                )


class FedIT(FactorLayout):
    """A and B are averaged separately (Zhang et al. 2023, arXiv 2305.05644).

    Their product has the cross terms B_i A_j, so it is not the average of the products.
    """

    name = "fedit"

    def terms(self, state: State) -> Served:
        return {SHARED: (LowRank(state.pair(SHARED)),)}


class FFA(FedIT):
    """A stays at its shared start, B is averaged (FFA-LoRA, Sun et al. 2024, arXiv 2403.12313)."""

    name = "ffa"

    def frozen(self, number: int) -> str:  # noqa: ARG002
        return "a"


class RoLoRA(FedIT):
    """Odd rounds average B, even rounds A, and the other is frozen.

    Source: Chen et al. 2025, arXiv 2502.01755. B is first, since A has no gradient while B is zero.
    """

    name = "rolora"

    def frozen(self, number: int) -> str:
        return "a" if number % 2 else "b"


class FedExLoRA(FedIT):
    """FedIT with an exact correction (Singhal et al. 2024, arXiv 2410.09432).

    The difference between the average of the products and the product of the averages is added to
    the base model, here as factors of rank n r + r in each round.
    """

    name = "fedex"

    def terms(self, state: State) -> Served:
        residuals: list[LowRank] = []
        for index in range(len(state.rounds)):
            residuals += self.residual(replace(state, rounds=state.rounds[: index + 1]))
        return {SHARED: (LowRank(state.pair(SHARED)), *residuals)}

    def residual(self, state: State) -> list[LowRank]:
        """Return the sum of p_i B_i A_i - B A for the last round.

        Undistributed weight keeps the old pair.
        """
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
    """Every organization trains fresh factors in every round (Wang et al. 2024, arXiv 2409.05976).

    They are stacked and merged into the base model; ranks may differ. In the totals each pair has
    coordinates of its own at 10,000; its share is applied to one factor only when it is served.
    `start` is asked for `stack_owner`s.
    """

    name = "flora"

    def parts(self, round_: Round, change: Change, weight: int) -> list[Part]:  # noqa: ARG002
        return [Part(stack_owner(change.organization, round_.number), change.delta, WEIGHT_ONE)]

    def terms(self, state: State) -> Served:
        stack = [
            LowRank(
                _moved(_scaled(state.start(owner)), change.delta),
                state.weights(round_).get(change.organization, 0),
            )
            for round_ in state.rounds
            for change in round_.changes
            for owner in [stack_owner(change.organization, round_.number)]
        ]
        return {SHARED: tuple(stack)}


class Blocks(FactorLayout):
    """Each organization has its own pair, and a router chooses one; no pairs are added."""

    name = "blocks"

    def parts(self, round_: Round, change: Change, weight: int) -> list[Part]:  # noqa: ARG002
        return [Part(change.organization.lower(), change.delta, WEIGHT_ONE)]

    def terms(self, state: State) -> Served:
        return {owner: (LowRank(state.pair(owner)),) for owner in state.owners()}


class Split(FFA):
    """Shared ranks as in FFA-LoRA beside each organization's private ranks.

    [B_s B_i] [A_s; A_i] has no cross terms. SHARED is served to users of no particular
    organization.
    """

    name = "split"

    def parts(self, round_: Round, change: Change, weight: int) -> list[Part]:
        parts = super().parts(round_, change, weight)
        if change.private is not None:
            parts.append(Part(change.organization.lower(), change.private, WEIGHT_ONE))
        return parts

    def terms(self, state: State) -> Served:
        shared = LowRank(state.pair(SHARED))
        private = {owner: LowRank(state.pair(owner)) for owner in state.owners() if owner != SHARED}
        return {SHARED: (shared,)} | {owner: (shared, own) for owner, own in private.items()}


def stack_owner(organization: str, number: int) -> str:
    """Return the owner of the factors that an organization trains in one round of FLoRA."""
    return f"{organization.lower()}.{number}"


def _tensors(part: Part) -> dict[str, NDArray[Any]]:
    return {
        qualify(part.owner, "lora_A"): part.delta.a,
        qualify(part.owner, "lora_B"): part.delta.b,
    }


def _scaled(start: Factors) -> Factors:
    return Factors(start.a.astype(np.int64) * WEIGHT_ONE, start.b.astype(np.int64) * WEIGHT_ONE)


def _moved(pair: Factors, delta: Factors) -> Factors:
    """Return a pair on the grid of aggregates after one organization's whole delta."""
    fitted = _scaled(delta.fitted(pair))
    return Factors(pair.a + fitted.a, pair.b + fitted.b)


LAYOUTS: Mapping[str, FactorLayout] = {
    layout.name: layout
    for layout in (FedIT(), FFA(), FLoRA(), FedExLoRA(), RoLoRA(), Blocks(), Split())
}
