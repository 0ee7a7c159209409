"""Gaussian noise on the statistics that an organization posts, as an agreed parameter.

The unit of privacy is a person with at most `person_rows` rows in each task, with all of them or
without them. The squares of a row's features sum to at most the agreed `row_square` b, so a person
moves the posted numbers, the upper triangle of G and Q, by at most

    person_rows x sqrt((b^2 + min(b^2, b x largest^2)) / 2)    and    person_rows x sqrt(b)

in L2 norm. Each of the T tensors of a contribution gets noise of deviation m sqrt(T) x its
sensitivity, which is together as private as one release with multiplier m.

Noise is drawn once for each posting. The same statistics are posted with the same noise again and
spend nothing more. Changed statistics get fresh noise and spend again: under the same noise the
difference of the two postings would be exactly the rows that changed. `epsilon` covers `postings`
postings together; after those an organization posts no statistics of its rows any more. Whether
an organization posts at all is not covered.
"""

from __future__ import annotations

import hashlib
import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Annotated, Any, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rescind.core.errors import ConfigError, DataError
from rescind.core.frozen import Frozen
from rescind.core.gaussian import gaussian_epsilon, gaussian_multiplier, integer_noise
from rescind.core.statistics import GRAM, MOMENTS, Classes, RowStatistics, Tolerance

TENSORS_OF_A_TASK = 2
_TAIL = 10.0
"""Deviations that no Gaussian sum of an honest posting exceeds, but for 2^-75."""
_SPECTRAL_TAIL = 12.0
"""The same for the spectral norm of G's noise: exp(-12^2 / 4) is 2^-51."""


class NoiseSpent(DataError):
    """One more posting would spend more than the agreed epsilon."""

    code = "statistics-noise-spent"


class TooManyRowsOfAPerson(DataError):
    """A person has more rows than the noise is agreed for."""

    code = "statistics-person-rows"


class NoRowSquare(ConfigError):
    """A task with noise does not bound its rows."""

    code = "config-noise-row-square"


class GaussianNoise(Frozen):
    """Noise that members agree on.

    Attributes:
        epsilon: What all postings of one organization spend together.
        delta: The probability with which that may fail.
        postings: How many postings it covers.
        person_rows: The most rows of one person in each task.
    """

    epsilon: Annotated[float, Field(gt=0, le=100, allow_inf_nan=False)]
    delta: Annotated[float, Field(gt=0, le=1e-2)]
    postings: Annotated[int, Field(ge=1, le=1024)] = 4
    person_rows: Annotated[int, Field(ge=1, le=2**20)] = 1

    @model_validator(mode="after")
    def _noise_can_be_drawn(self) -> Self:
        gaussian_multiplier(self.epsilon, self.delta)
        return self

    @property
    def multiplier(self) -> float:
        """The deviation of one posting's noise, in units of its sensitivity."""
        return gaussian_multiplier(self.epsilon, self.delta) * math.sqrt(self.postings)

    def epsilon_after(self, postings: int) -> float:
        """Return the epsilon, at the agreed delta, of so many postings together."""
        if not postings:
            return 0.0
        return gaussian_epsilon(self.multiplier / math.sqrt(postings), self.delta)

    def gram_deviation(self, square: int, largest: int, tensors: int) -> int:
        """Return the deviation of the noise on a sum of phi phi', upper triangle.

        Args:
            square: The most that the squares of a row sum to.
            largest: The largest absolute value in a row.
            tensors: How many tensors with noise a contribution has in all.
        """
        # The upper triangle has the diagonal once, and everything else once instead of twice.
        row = math.sqrt((square**2 + min(square**2, square * largest**2)) / 2)
        return self._deviation(row, tensors)

    def moments_deviation(self, square: int, tensors: int) -> int:
        """Return the deviation of the noise on a sum of rows, each in one column."""
        return self._deviation(math.sqrt(square), tensors)

    def _deviation(self, row: float, tensors: int) -> int:
        return math.ceil(self.multiplier * math.sqrt(tensors) * self.person_rows * row)

    def deviations(self, classes: Classes, tensors: int = TENSORS_OF_A_TASK) -> dict[str, int]:
        """Return the deviation of the noise on each tensor of a task's statistics.

        Raises:
            NoRowSquare: The task does not bound its rows.
        """
        if classes.row_square is None:
            raise NoRowSquare(
                "noise needs row_square, the most that the squares of a row's features sum to. "
                "Agree on it for each task; longer rows are cut."
            )
        square, largest = classes.row_square, classes.features.largest
        return {
            GRAM: self.gram_deviation(square, largest, tensors),
            MOMENTS: self.moments_deviation(square, tensors),
        }


@dataclass(frozen=True)
class Posting:
    """A posting of an organization's statistics, to be kept with the secret of its noise.

    Attributes:
        number: From 1; noise is drawn for each number once.
        exact: The SHA-256 of the statistics without noise.
    """

    number: int
    exact: str


def next_posting(noise: GaussianNoise, last: Posting | None, exact: bytes) -> Posting:
    """Return the posting of statistics: the last one again if they are the same, else a new one.

    Args:
        noise: What was agreed.
        last: The last posting of this organization, if any.
        exact: The artifact of all its statistics without noise.

    Raises:
        NoiseSpent: The agreed number of postings is used up.
    """
    content = hashlib.sha256(exact).hexdigest()
    if last is not None and last.exact == content:
        return last
    number = 1 if last is None else last.number + 1
    if number > noise.postings:
        raise NoiseSpent(
            f"You have posted your statistics {noise.postings} times, which the agreed epsilon "
            f"{noise.epsilon:g} covers. Post none from now on: take your statistics out."
        )
    return Posting(number, content)


def budget_record(noise: GaussianNoise, posting: Posting) -> dict[str, Any]:
    """Return the fields of the ledger's record of type `privacy-budget` for a new posting."""
    return {
        "epsilon": noise.epsilon_after(posting.number),
        "delta": noise.delta,
        "accountant": "gaussian",
        "unit": {"person_rows": noise.person_rows},
        "posting": posting.number,
        "noise_multiplier": noise.multiplier,
    }


def check_people(subjects: Sequence[str | None], noise: GaussianNoise) -> None:
    """Check that no person has more rows of a task than agreed.

    Args:
        subjects: The person that each row is about; a row of None is a unit of its own.
        noise: What was agreed.

    Raises:
        TooManyRowsOfAPerson: A person has more. The message names rows, not people.
    """
    counts = Counter(subject for subject in subjects if subject is not None)
    for person, count in counts.items():
        if count > noise.person_rows:
            rows = [n for n, each in enumerate(subjects, start=1) if each == person]
            raise TooManyRowsOfAPerson(
                f"rows {', '.join(map(str, rows[:5]))}{', ...' if count > 5 else ''} are about one "
                f"person, {count} in all, and the noise is agreed for at most {noise.person_rows}. "
                "Leave rows out, or agree on more."
            )


def add_noise(
    statistics: RowStatistics,
    deviations: Mapping[str, int],
    *,
    secret: bytes,
    posting: Posting,
    task: str,
) -> RowStatistics:
    """Return statistics with noise, the same for the same posting.

    Args:
        statistics: The exact sums.
        deviations: What `GaussianNoise.deviations` gives.
        secret: The node's secret of 32 bytes for this consortium.
        posting: The posting.
        task: The name of the task.
    """

    def noisy(name: str, tensor: NDArray[np.int64]) -> NDArray[np.int64]:
        label = f"{posting.number}/{task}/{name}"
        noise = integer_noise(secret, label, tensor.size, deviations[name])
        return tensor + noise.reshape(tensor.shape)

    return RowStatistics.of_tensors(
        {name: noisy(name, tensor) for name, tensor in statistics.tensors().items()}
    )


def tolerance(classes: Classes, deviations: Mapping[str, int]) -> Tolerance:
    """Return how far noise may move an organization's statistics.

    Honest ones are beyond it with a probability below 2^-48.
    """
    # Rounding to integers adds less than 1 to a deviation.
    gram, moments = deviations[GRAM] + 1.0, deviations[MOMENTS] + 1.0
    size, labels = classes.features.dimensions, len(classes.labels)
    # Expected spectral norms: 2 sqrt(n) of a symmetric matrix (Slepian), sqrt(m) + sqrt(n) of any
    # (Gordon); both are concentrated, with Lipschitz constants sqrt(2) and 1.
    spectrum = gram * (2 * math.sqrt(size) + _SPECTRAL_TAIL)
    spectrum += moments * (math.sqrt(size) + math.sqrt(labels) + 2 * _TAIL)
    return Tolerance(
        gram=_TAIL * gram,
        moments=_TAIL * moments,
        counts=_TAIL * math.hypot(math.sqrt(labels) * moments, gram),
        trace=_TAIL * math.sqrt(size) * gram,
        spectrum=math.ceil(spectrum),
        norm=math.hypot(
            gram * (math.sqrt(size * (size + 1) / 2) + _TAIL),
            moments * (math.sqrt(size * labels) + _TAIL),
        ),
    )


def lifted(statistics: RowStatistics, each: Tolerance, organizations: int) -> RowStatistics:
    """Return sums whose G is positive semidefinite again, so that a head can be solved.

    Every organization's G was checked to have no eigenvalue below -spectrum, so the sum has none
    below -spectrum x organizations.
    """
    size = statistics.dimensions
    gram = statistics.gram.copy()
    diagonal = np.cumsum([0, *range(size, 1, -1)])
    gram[diagonal] += each.spectrum * organizations
    return replace(statistics, gram=gram)
