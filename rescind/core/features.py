"""Public, frozen feature maps that members agree on, and the integer rows that they give.

A row of features is a vector of integers of which the first is always 1. A map is a frozen
definition: the same text and, for `HiddenFeatures`, the same base model give the same row. Random
features: Rahimi and Recht 2007; signs of random projections: Charikar 2002.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import lru_cache
from typing import Annotated, Literal, Protocol, Self

import numpy as np
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rescind.core.delta import OutOfBounds, WrongShape
from rescind.core.errors import ConfigError, DataError
from rescind.core.frozen import Frozen
from rescind.core.ngrams import NgramFeatures

MOST_DIMENSIONS = 2**13
"""The most features of a row that a head can be solved for."""
_MOST_VALUE = 2**15 - 1
Value = Annotated[int, Field(ge=1, le=_MOST_VALUE)]


class FeaturesOfAnotherBase(ConfigError):
    """A feature map reads the hidden states of another base model."""

    code = "features-other-base"


class NeedsBase(DataError):
    """Features that only somebody with the base model in memory can compute."""

    code = "features-need-base"


class HiddenFeatures(Frozen):
    """Hidden states of the base model, averaged over the tokens of a text.

    For each agreed layer, each of `width` numbers is the mean over tokens times `scale`, less its
    center, rounded to the nearest integer and cut to the bound. The text, each run of white space as
    one space, is asked in the plain form of a prompt, whatever form the consortium trains with; tokens beyond `max_tokens` are left out,
    and so is the first, whose states are large and the same for all texts.

    The last bits of floats depend on the machine, the library and the other rows of a batch, so a
    value close to a tie may be rounded either way. `rescind.training.features` says how statistics
    stay exact all the same.

    Attributes:
        base_model_id: The base model.
        width: The size of its hidden states.
        layers: After which layers; 0 is the embeddings.
        scale: The units of one.
        bound: The largest absolute value.
        centers: Subtracted from each number, in units; none by default.
        max_tokens: The tokens of a text that are read.
    """

    kind: Literal["hidden"] = "hidden"
    base_model_id: Annotated[str, Field(pattern=r"^[0-9a-f]{64}$")]
    width: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS - 1)]
    layers: Annotated[tuple[Annotated[int, Field(ge=0)], ...], Field(min_length=1)]
    scale: Annotated[int, Field(ge=1, le=2**20)] = 16
    bound: Value = 127
    centers: tuple[Annotated[int, Field(ge=-(2**24), le=2**24)], ...] = ()
    max_tokens: Annotated[int, Field(ge=2, le=2**14)] = 256

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if list(self.layers) != sorted(set(self.layers)):
            raise ValueError("give the layers in ascending order, each once")
        if self.centers and len(self.centers) != self.dimensions - 1:
            raise ValueError(
                f"there are {len(self.centers)} centers for {self.dimensions - 1} numbers"
            )
        return self

    @property
    def dimensions(self) -> int:
        """The number of features."""
        return 1 + self.width * len(self.layers)

    @property
    def largest(self) -> int:
        """The largest absolute value of a feature."""
        return self.bound

    @property
    def largest_square(self) -> int:
        """The most that the squares of a row sum to."""
        return 1 + (self.dimensions - 1) * self.bound**2

    def rounded(self, means: NDArray[np.float64]) -> NDArray[np.int64]:
        """Return the rows of mean hidden states, (texts, width x layers).

        Raises:
            DataError: A state is not a number.
        """
        if not np.isfinite(means).all():
            raise DataError("the base model gives hidden states that are not numbers")
        centers = np.array(self.centers or (0,), dtype=np.int64)
        units = np.rint(np.clip(means * self.scale, -(2.0**40), 2.0**40)).astype(np.int64) - centers
        rows = np.ones((len(means), self.dimensions), dtype=np.int64)
        rows[:, 1:] = np.clip(units, -self.bound, self.bound)
        return rows


Plain = Annotated[NgramFeatures | HiddenFeatures, Field(discriminator="kind")]


class RandomFeatures(Frozen):
    """Random features of another map: non-linear functions of projections from an agreed seed.

    The signs of the projection are bits of SHAKE-256 (FIPS 202), so everything is integers and the
    same on every machine. With z the projection of a row, "relu" gives max(0, z) divided by 2^shift,
    rounded down and cut to the bound; "sign" gives 1 where z is 0 or more, else -1.

    Attributes:
        source: The map whose rows are projected.
        count: The number of projections.
        seed: The agreed seed.
        function: "relu" or "sign".
        shift: How many bits "relu" drops.
        bound: The largest value of "relu".
    """

    kind: Literal["random"] = "random"
    source: Plain
    count: Annotated[int, Field(ge=1, le=MOST_DIMENSIONS - 1)]
    seed: Annotated[int, Field(ge=0, le=2**63 - 1)] = 0
    function: Literal["relu", "sign"] = "relu"
    shift: Annotated[int, Field(ge=0, le=28)] = 0
    bound: Value = 127

    @property
    def dimensions(self) -> int:
        """The number of features."""
        return 1 + self.count

    @property
    def largest(self) -> int:
        """The largest absolute value of a feature."""
        return self.bound if self.function == "relu" else 1

    @property
    def largest_square(self) -> int:
        """The most that the squares of a row sum to."""
        return 1 + self.count * self.largest**2

    def projected(self, rows: NDArray[np.int64]) -> NDArray[np.int64]:
        """Return the rows for rows of the source."""
        # Exact in float64: at most 2^14 numbers of at most 2^15.
        signs = _signs(self.seed, self.source.dimensions, self.count)
        values = (rows.astype(np.float64) @ signs).astype(np.int64)
        result = np.ones((len(rows), self.dimensions), dtype=np.int64)
        if self.function == "sign":
            result[:, 1:] = np.where(values >= 0, 1, -1)
        else:
            result[:, 1:] = np.minimum(np.maximum(values, 0) >> self.shift, self.bound)
        return result


@lru_cache(maxsize=4)
def _signs(seed: int, rows: int, columns: int) -> NDArray[np.float64]:
    stream = hashlib.shake_256(f"rescind.random-features/1|{seed}|{rows}|{columns}".encode())
    words = np.frombuffer(stream.digest((rows * columns + 7) // 8), dtype=np.uint8)
    bits = np.unpackbits(words, count=rows * columns, bitorder="little")
    return (bits.astype(np.float64) * 2 - 1).reshape(rows, columns)


Part = Annotated[NgramFeatures | HiddenFeatures | RandomFeatures, Field(discriminator="kind")]


class JoinedFeatures(Frozen):
    """Several maps side by side, with one constant.

    Attributes:
        parts: The maps.
        factors: What each map's features are multiplied with, so that the ridge weighs maps of
            large and of small numbers alike; 1 by default.
    """

    kind: Literal["joined"] = "joined"
    parts: Annotated[tuple[Part, ...], Field(min_length=2, max_length=8)]
    factors: tuple[Annotated[int, Field(ge=1, le=2**12)], ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.factors and len(self.factors) != len(self.parts):
            raise ValueError(f"there are {len(self.factors)} factors for {len(self.parts)} parts")
        return self

    @property
    def weighted(self) -> tuple[tuple[Part, int], ...]:
        """Each part with its factor."""
        return tuple(zip(self.parts, self.factors or (1,) * len(self.parts), strict=True))

    @property
    def dimensions(self) -> int:
        """The number of features."""
        return 1 + sum(part.dimensions - 1 for part in self.parts)

    @property
    def largest(self) -> int:
        """The largest absolute value of a feature."""
        return max(part.largest * factor for part, factor in self.weighted)

    @property
    def largest_square(self) -> int:
        """The most that the squares of a row sum to."""
        return 1 + sum((part.largest_square - 1) * factor**2 for part, factor in self.weighted)


Features = Annotated[
    NgramFeatures | HiddenFeatures | RandomFeatures | JoinedFeatures, Field(discriminator="kind")
]


class HiddenSource(Protocol):
    """Computes the rows of `HiddenFeatures`; `rescind.training.features.HiddenRows` does."""

    def __call__(self, features: HiddenFeatures, texts: Sequence[str]) -> NDArray[np.int64]:
        """Return the rows of texts, (texts, dimensions)."""
        ...


def hidden_maps(features: Features) -> Iterator[HiddenFeatures]:
    """Yield the maps of hidden states in a map."""
    if isinstance(features, HiddenFeatures):
        yield features
    elif isinstance(features, RandomFeatures):
        yield from hidden_maps(features.source)
    elif isinstance(features, JoinedFeatures):
        for part in features.parts:
            yield from hidden_maps(part)


def check_base(features: Features, base_model_id: str) -> None:
    """Check that a map reads no other base model than a consortium's.

    Raises:
        FeaturesOfAnotherBase: It reads another.
    """
    for each in hidden_maps(features):
        if each.base_model_id != base_model_id:
            raise FeaturesOfAnotherBase(
                f"The feature map reads hidden states of the base model {each.base_model_id}, and "
                f"the base model here is {base_model_id}. Agree on a map of this base."
            )


def feature_rows(
    features: Features, texts: Sequence[str], hidden: HiddenSource | None = None
) -> NDArray[np.int64]:
    """Return the features of texts, (texts, dimensions).

    Args:
        features: The map.
        texts: The texts.
        hidden: Computes hidden states. A map of n-grams alone does not need it.

    Raises:
        NeedsBase: The map needs hidden states.
    """
    if isinstance(features, NgramFeatures):
        return features.of(texts)
    if isinstance(features, HiddenFeatures):
        if hidden is None:
            raise NeedsBase(
                "These features are made of hidden states of the base model, which was not loaded "
                "here. Load it and compute them with rescind.training.features."
            )
        return checked_rows(features, hidden(features, texts))
    if isinstance(features, RandomFeatures):
        return features.projected(feature_rows(features.source, texts, hidden))
    blocks = [np.ones((len(texts), 1), dtype=np.int64)]
    for part, factor in features.weighted:
        blocks.append(feature_rows(part, texts, hidden)[:, 1:] * factor)
    return np.hstack(blocks)


def checked_rows(features: Features, rows: NDArray[np.int64]) -> NDArray[np.int64]:
    """Return computed rows if a map can give them.

    Raises:
        WrongShape: They have another width, or are not integers.
        OutOfBounds: A number is too large, or a first one is not 1.
    """
    if rows.ndim != 2 or rows.shape[1] != features.dimensions or rows.dtype != np.int64:
        raise WrongShape(
            f"the feature rows have shape {rows.shape} and type {rows.dtype}, and the agreed map "
            f"gives {features.dimensions} numbers of int64 a row"
        )
    if np.any(rows[:, 0] != 1):
        raise OutOfBounds("a feature row does not begin with 1")
    largest = int(np.abs(rows[:, 1:]).max(initial=0))
    if largest > features.largest:
        raise OutOfBounds(
            f"a feature is {largest}, and the agreed map gives {features.largest} at most"
        )
    return rows
