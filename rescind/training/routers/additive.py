"""Routing by sums: a linear map of the question's features, solved from what all members summed.

Each organization posts second moments and a sum of its questions' features
(rescind.core.router_statistics). The router is a function of their sums over the members, so it
costs one pass of the base for each question however many blocks there are, or none where features
are n-grams, and a removal leaves the terms out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.features import Features, feature_rows, hidden_maps
from rescind.core.router_statistics import REFERENCE_ROWS, RouterStatistics
from rescind.core.statistics import RowStatistics
from rescind.training.features import HiddenRows
from rescind.training.router_head import SCALE_BITS, RouterHead, members_of, solve_router
from rescind.training.routers.router import Blocks, Choice, RouterMisfit
from rescind.training.text.question import Question, question_text

_ONE = 2.0**SCALE_BITS


class AdditiveRouter:
    """A router that is solved from the sums of its members.

    A block answers if the question resembles its organization's questions more than public ones, by
    more than all but an agreed share of the public reference do. A block whose organization posted
    no sums never answers.

    Args:
        agreed: What the members agreed on.
        sums: The opened sums over all members; or each organization's own sums, by address. A router
            of the latter can drop an organization. One of the former gets new sums with the model
            that follows a removal.
        numbers: The member number of each organization in the sums, by address.
        reference: The features of the public reference, (questions, dimensions).

    Raises:
        WrongShape: The reference's features have another width than agreed.
        WrongReference: The reference is not the agreed one, or too small.
    """

    name = "additive"

    def __init__(
        self,
        agreed: RouterStatistics,
        sums: RowStatistics | Mapping[str, RowStatistics],
        numbers: Mapping[str, int],
        reference: NDArray[Any],
    ) -> None:
        self.agreed = agreed
        self._posted: dict[str, RowStatistics] | None = None
        if isinstance(sums, RowStatistics):
            self._total = sums
        else:
            self._posted = {name.lower(): own for name, own in sums.items()}
            self._total = _summed(agreed, [])
        self._numbers = {name.lower(): number for name, number in numbers.items()}
        self._reference = agreed.reference_rows({REFERENCE_ROWS: reference})
        self._blocks: Blocks | None = None
        self._held: tuple[str, ...] = ()
        self._head: RouterHead | None = None

    @property
    def measure(self) -> str:
        """The meaning of its scores, with their unit, as a phrase for people."""
        return "how much more the question resembles the organization's questions than public ones"

    @property
    def total(self) -> RowStatistics:
        """The sums that the router is solved from."""
        return self._total

    @property
    def organizations(self) -> tuple[str, ...]:
        """Organizations that can be chosen, lowercase and sorted."""
        return self._held

    def fit(self, blocks: Blocks) -> None:
        """Reset all state and prepare to choose among these blocks."""
        self._blocks = blocks
        if self._posted is not None:
            own = [self._posted[name] for name in blocks.blocks if name in self._posted]
            self._total = _summed(self.agreed, own)
        summed = members_of(self._total)
        self._held = tuple(
            name for name in sorted(blocks.blocks) if self._numbers.get(name) in summed
        )
        self._head = None

    def drop(self, organization: str) -> None:
        """Forget everything of an organization. An unknown one changes nothing.

        Raises:
            RouterMisfit: The router has the sums alone, and they hold the organization.
        """
        name = organization.lower()
        number = self._numbers.get(name)
        if number not in members_of(self._total):
            return
        if self._posted is None:
            raise RouterMisfit(
                f"The router's sums hold {name}, and it does not know its terms. Make the router "
                "from the sums without it."
            )
        self._total = self._total.without(self._posted.pop(name))
        del self._numbers[name]
        self._held = tuple(each for each in self._held if each != name)
        self._head = None

    def state(self) -> dict[str, NDArray[Any]]:
        """Return all numbers held besides the blocks themselves."""
        head = self.head()
        sums = {f"statistics/{n}": v for n, v in self.agreed.tensors(self._total).items()}
        return {
            **sums,
            "reference/rows": self._reference,
            "router/weights": head.weights,
            "router/threshold": np.array([head.threshold]),
        }

    def head(self) -> RouterHead:
        """Return the weights, solved when they are first used."""
        if self._head is None:
            self._head = solve_router(
                self.agreed, self._total, self._reference, self._numbers.values()
            )
        return self._head

    def route(self, questions: Sequence[Question]) -> list[Choice]:
        """Return one choice for each question, without the turns before it.

        Raises:
            RouterMisfit: The router has no blocks yet, or they are of another base model.
        """
        blocks = self._blocks
        if blocks is None:
            raise RouterMisfit("The additive router has no blocks yet: call fit first.")
        if not self._held or not questions:
            return [Choice(None, {}) for _ in questions]
        head = self.head()
        rows = question_features(self.agreed.features, blocks, questions)
        columns = [head.members.index(self._numbers[name]) for name in self._held]
        scores = head.scores(self.agreed.columns.cut(rows))[:, columns]
        rule = f"the best score of all but {self.agreed.false_rate:.0%} of public questions"
        return [self._choose(row, head.threshold, rule) for row in scores]

    def _choose(self, scores: NDArray[np.int64], threshold: int, rule: str) -> Choice:
        best = int(np.argmax(scores))
        own = {name: int(value) / _ONE for name, value in zip(self._held, scores, strict=True)}
        chosen = self._held[best] if scores[best] > threshold else None
        return Choice(chosen, own, threshold / _ONE, rule)


def question_features(
    features: Features, blocks: Blocks, questions: Sequence[Question]
) -> NDArray[np.int64]:
    """Return the features of questions, (questions, dimensions), by the bare base if they need it.

    Raises:
        FeaturesOfAnotherBase: They are hidden states of another base model.
    """
    hidden = None
    if any(True for _ in hidden_maps(features)):
        # The hidden states are those of the model with its blocks switched off.
        blocks.bare()
        hidden = HiddenRows(blocks.base)
    return feature_rows(features, [question_text(each) for each in questions], hidden)


def _summed(agreed: RouterStatistics, posted: Iterable[RowStatistics]) -> RowStatistics:
    shapes = agreed.columns.shapes().values()
    none = RowStatistics(*(np.zeros(shape, dtype=np.int64) for shape in shapes))
    return RowStatistics.sum([none, *posted])
