"""Sums over an organization's questions, from which a router is solved.

For questions with integer features z (the first of which is 1), organization i contributes

    A_i = sum of z z'    (dimensions, dimensions)
    b_i = sum of z       (dimensions,), in the column of its member number

Both add up over organizations, so the router of the sums without an organization is that of a run
that it was never in. They are `RowStatistics` whose classes are the members. Closed-form routers:
Fani et al. 2026 (DUME, arXiv 2603.29765).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rescind.core.artifact import encode, encoded_id
from rescind.core.delta import OutOfBounds
from rescind.core.errors import ArtifactError, ConfigError
from rescind.core.features import Features, HiddenSource, checked_rows, feature_rows
from rescind.core.frozen import Frozen
from rescind.core.ngrams import NgramFeatures
from rescind.core.statistics import EXACT, GRAM, MOMENTS, Classes, RowStatistics, Tolerance, check

ROUTER = "router"
ROUTER_GRAM, ROUTER_SUMS = f"{ROUTER}.{GRAM}", f"{ROUTER}.{MOMENTS}"
REFERENCE_ROWS = "rows"
LEAST_REFERENCE = 4
"""Half of the reference is learned from, half sets the threshold: two of each at the very least."""


class WrongReference(ArtifactError):
    """A reference that is not the one that the members agreed on."""

    code = "artifact-wrong-reference"


class RouterStatistics(Frozen):
    """The router that members agree on.

    Attributes:
        features: The feature map of questions.
        reference: The id of the public reference, an artifact of features (`reference_id`). It is
            agreed as integers because hidden states differ in their last bits between machines.
            None where members have not fixed one, as in experiments.
        false_rate: The share of the reference that may go to some block, 0..1.
        max_members: Columns of the sums, one for each member number.
        max_rows: The most questions of one organization.
        min_rows: The least; an organization with fewer posts no sums.
        row_square: The most that the squares of a question's features sum to; see `Classes`.
    """

    features: Features = NgramFeatures()
    reference: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")] | None = None
    false_rate: Annotated[float, Field(ge=0, lt=1)] = 0.05
    max_members: Annotated[int, Field(ge=2, le=1024)] = 64
    max_rows: Annotated[int, Field(ge=1, le=2**31)] = 2**16
    min_rows: Annotated[int, Field(ge=1)] = 1
    row_square: Annotated[int, Field(ge=2)] | None = None

    @model_validator(mode="after")
    def _columns_are_a_task(self) -> Self:
        # Its bounds and budget hold for a router, too.
        _ = self.columns
        return self

    @cached_property
    def columns(self) -> Classes:
        """The members as the classes of a task: everything that is agreed about its rows."""
        return Classes(
            features=self.features,
            labels=tuple(_column(number) for number in range(self.max_members)),
            max_rows=self.max_rows,
            min_rows=self.min_rows,
            row_square=self.row_square,
        )

    @property
    def norm_bound(self) -> float:
        """The L2 norm that one organization's tensors never exceed."""
        return self.columns.norm_bound

    def tensor_shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of an organization's tensors by bare name."""
        shapes = self.columns.shapes()
        return {ROUTER_GRAM: shapes[GRAM], ROUTER_SUMS: shapes[MOMENTS]}

    def collect(self, features: NDArray[np.int64], member: int) -> RowStatistics:
        """Return an organization's sums.

        Args:
            features: The features of its questions, (questions, dimensions).
            member: Its member number, from 0.

        Raises:
            ConfigError: The member number has no column.
            WrongShape: The features have another width than agreed.
            OutOfBounds: A feature is larger than agreed, or is not 1 where it is constant.
            DataError: There are more questions than agreed.
        """
        self._check_number(member)
        count = len(features)
        return self.columns.collect([""] * count, [_column(member)] * count, features)

    def tensors(self, statistics: RowStatistics) -> dict[str, NDArray[np.int64]]:
        """Return the tensors of sums by bare name."""
        return {ROUTER_GRAM: statistics.gram, ROUTER_SUMS: statistics.moments}

    def statistics(self, tensors: Mapping[str, NDArray[Any]]) -> RowStatistics:
        """Return the sums that tensors hold. `check_member` says whether they can be right."""
        return RowStatistics.of_tensors({GRAM: tensors[ROUTER_GRAM], MOMENTS: tensors[ROUTER_SUMS]})

    def check_member(
        self, statistics: RowStatistics, member: int, tolerance: Tolerance = EXACT
    ) -> None:
        """Check that an organization's sums can be those of its questions.

        Args:
            statistics: What the organization posted.
            member: Its member number.
            tolerance: How far agreed noise may have moved them.

        Raises:
            ConfigError: The member number has no column.
            OutOfBounds: It fills another member's column, or has more questions or larger features
                than agreed.
            WrongShape: The tensors have other shapes than agreed.
            NotRowSums: They are the sums of no rows.
        """
        self._check_number(member)
        check(statistics, self.columns, tolerance)
        filled = np.flatnonzero(np.abs(statistics.moments).max(axis=0) > tolerance.moments)
        foreign = [int(column) for column in filled if column != member]
        if foreign:
            raise OutOfBounds(
                f"the sums fill the column of member {foreign[0]}, and the organization is member "
                f"{member}: it may fill only its own"
            )

    def reference_rows(self, tensors: Mapping[str, NDArray[Any]]) -> NDArray[np.int64]:
        """Return the features of the public reference, (questions, dimensions), checked.

        Raises:
            WrongReference: It is not the agreed one, or too small to learn a threshold from.
            WrongShape: The features have another width than agreed.
            OutOfBounds: A feature is larger than agreed.
        """
        rows = tensors.get(REFERENCE_ROWS)
        if rows is None or len(tensors) != 1 or rows.ndim != 2:
            raise WrongReference(f"a reference holds one matrix, {REFERENCE_ROWS!r}")
        if self.reference is not None and (own := reference_id(rows)) != self.reference:
            raise WrongReference(
                f"the reference has id {own}, and the members agreed on {self.reference}"
            )
        if len(rows) < LEAST_REFERENCE:
            raise WrongReference(
                f"the reference has {len(rows)} questions: give at least {LEAST_REFERENCE}, better "
                "hundreds"
            )
        return self.columns.cut(checked_rows(self.features, rows.astype(np.int64)))

    def _check_number(self, member: int) -> None:
        if not 0 <= member < self.max_members:
            raise ConfigError(
                f"member {member} has no column in the router's sums, which have "
                f"{self.max_members}: agree on a larger max_members"
            )


def _column(member: int) -> str:
    return f"member {member:04d}"


def reference_tensors(features: NDArray[np.int64]) -> dict[str, NDArray[np.int32]]:
    """Return the tensors of a reference's artifact."""
    return {REFERENCE_ROWS: features.astype(np.int32)}


def reference_bytes(
    features: Features, questions: Sequence[str], hidden: HiddenSource | None = None
) -> bytes:
    """Return the artifact of a public reference.

    Args:
        features: The agreed map.
        questions: Public questions that belong to no organization, hundreds of them. Both halves are
            used, so they should be in no order.
        hidden: Computes hidden states, where the map reads them (rescind.training.features).

    Raises:
        NeedsBase: The map needs hidden states.
    """
    return encode(reference_tensors(feature_rows(features, questions, hidden)))


def reference_id(features: NDArray[Any]) -> str:
    """Return the id of the reference with these features."""
    return encoded_id(reference_tensors(features))
