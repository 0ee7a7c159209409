"""Summed ranks: sums from which one LoRA factor B is solved for all organizations.

All share a frozen A (rank, in) and write u = A x for the features that a module's A makes of a token.
An organization trains its factor B_i (out, rank) alone, from zero, and then sums over its tokens:

    H_i = sum of u u'    (rank, rank)
    N_i = B_i H_i        (out, rank)

    B = (sum of N_i) (sum of H_i + H_public + ridge I)^-1

B is the least-squares merge: on every organization's tokens it comes as close as one matrix can to
the outputs of that organization's own B_i. H_public is the same sum over public text, whose outputs
must not change, so it has no N. No B_i has seen another, so the sums without an organization are
those of a run that it was never in. RegMean (Jin et al. 2023, arXiv 2212.09849) in the space of a
shared A (LoRM, Salami et al. 2025, arXiv 2410.17961), with A frozen as in FFA-LoRA (Sun et al. 2024,
arXiv 2403.12313).

The sums are integers in units of 2^-fraction_bits, H and N alike, so that B has no unit.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Self

import numpy as np
import scipy.linalg
from numpy.typing import NDArray
from pydantic import Field, model_validator

from rescind.core.delta import (
    WEIGHT_ONE,
    NotFinite,
    OutOfBounds,
    WrongShape,
    l2_norm,
)
from rescind.core.errors import ArtifactError
from rescind.core.frozen import Frozen
from rescind.core.positions import Positions
from rescind.core.security import DigestBudgetExceeded, check_budget
from rescind.core.totals import add_totals

GRAM, PRODUCTS = "gram", "products"

FloatArrays = Mapping[str, NDArray[Any]]


class NotRankSums(ArtifactError):
    """Summed ranks that are the sums of no tokens and no factor."""

    code = "artifact-not-rank-sums"


class SummedRanks(Frozen):
    """Summed ranks that members agree on.

    Attributes:
        modules: The shape (out, rank) of B of each module, by its name. All have the same rank.
        fraction_bits: H and N are in units of 2^-fraction_bits.
        clip_norm: The L2 norm of one organization's sums that is never exceeded, in sums over
            tokens. Longer ones are scaled down as a whole, so that the organization weighs less and
            its B stays the same.
        factor_norm: The most that the L2 norm of one organization's B can be, over all modules.
        ridge_bits: The ridge is 2^-ridge_bits of the mean of H's diagonal.
        positions: The tokens that are summed over.
    """

    modules: Annotated[dict[str, tuple[int, int]], Field(min_length=1)]
    fraction_bits: Annotated[int, Field(ge=0, le=32)] = 12
    clip_norm: Annotated[float, Field(gt=0, le=2.0**40)] = 2.0**26
    factor_norm: Annotated[float, Field(gt=0, le=2.0**20)] = 256.0
    ridge_bits: Annotated[int, Field(ge=0, le=30)] = 10
    positions: Positions = "all"

    @model_validator(mode="after")
    def _one_rank(self) -> Self:
        if min(min(shape) for shape in self.modules.values()) < 1:
            raise ValueError("a module has a side of length 0: give shapes (out, rank)")
        if len({rank for _, rank in self.modules.values()}) != 1:
            raise ValueError("the modules have different ranks: A has one rank everywhere")
        return self

    @model_validator(mode="after")
    def _digest_binds(self) -> Self:
        # The budget also keeps every entry far below 2^63.
        try:
            check_budget(self.norm_bound * WEIGHT_ONE)
        except DigestBudgetExceeded as error:
            raise ValueError(f"{error}; here these are clip_norm and fraction_bits") from error
        return self

    @classmethod
    def of_shapes(cls, shapes: Mapping[str, tuple[int, ...]], **settings: Any) -> Self:
        """Return the agreement for LoRA tensors by bare name (`ConsortiumParameters.shapes`)."""
        modules = {
            name.removesuffix(".lora_B"): shape
            for name, shape in shapes.items()
            if name.endswith(".lora_B")
        }
        return cls.model_validate({"modules": modules, **settings})

    @property
    def rank(self) -> int:
        """The rank of A."""
        return next(iter(self.modules.values()))[1]

    @property
    def norm_bound(self) -> float:
        """The L2 norm that one organization's integers never exceed."""
        return self.clip_norm * 2.0**self.fraction_bits

    def shapes(self) -> dict[str, tuple[int, ...]]:
        """Return the shapes of the tensors of `RankStatistics`, by bare name."""
        triangle = self.rank * (self.rank + 1) // 2
        shapes: dict[str, tuple[int, ...]] = {}
        for name, shape in self.modules.items():
            shapes[f"{name}.{GRAM}"] = (triangle,)
            shapes[f"{name}.{PRODUCTS}"] = shape
        return dict(sorted(shapes.items()))

    def collect(self, moments: FloatArrays, factors: FloatArrays | None = None) -> RankStatistics:
        """Return the integers of an organization, or of public text.

        Args:
            moments: Sums over tokens of u u', (rank, rank), by module.
            factors: The organization's B, (out, rank), by module; None stands for public text.

        Raises:
            NotFinite: A value is NaN or infinite.
            WrongShape: A module is missing, unexpected, or has another shape.
        """
        _check_floats(moments, dict.fromkeys(self.modules, (self.rank, self.rank)))
        chosen = factors or {name: np.zeros(shape) for name, shape in self.modules.items()}
        _check_floats(chosen, self.modules)
        grams = {name: np.asarray(value, np.float64) for name, value in moments.items()}
        exact = _tensors(grams, chosen)
        # Rounding moves each entry by half a unit at most.
        room = self.norm_bound - np.sqrt(sum(value.size for value in exact.values()))
        unit = 2.0**self.fraction_bits
        scale = unit * min(1.0, room / max(l2_norm(exact) * unit, 1.0))
        whole = {name: np.rint(value * scale) for name, value in grams.items()}
        # N is B times the integers of H, not of the exact sums: B is what they give back.
        tensors = _tensors(whole, chosen)
        return RankStatistics({name: _whole(tensors[name]) for name in sorted(tensors)})


@dataclass(frozen=True, eq=False)
class ModuleSums:
    """The sums of one module, as a system for a solver: (H + ridge I) B' = N'.

    Attributes:
        gram: The upper triangle of H, row by row, int64 (rank (rank + 1) / 2,).
        moments: N', int64 (rank, out).
    """

    gram: NDArray[np.int64]
    moments: NDArray[np.int64]

    @property
    def dimensions(self) -> int:
        """The rank."""
        return len(self.moments)

    @property
    def trace(self) -> int:
        """The trace of H."""
        return int(np.trace(self.full_gram()))

    def full_gram(self) -> NDArray[np.int64]:
        """Return H, symmetric, int64 (rank, rank)."""
        full = np.zeros((self.dimensions, self.dimensions), dtype=np.int64)
        full[np.triu_indices(self.dimensions)] = self.gram
        return full + np.triu(full, 1).T

    def ridge(self, ridge_bits: int) -> int:
        """Return the agreed ridge: 2^-ridge_bits of the mean of H's diagonal, at least 1."""
        return max(1, self.trace // (self.dimensions << ridge_bits))


@dataclass(frozen=True, eq=False)
class RankStatistics:
    """The sums of all modules.

    Attributes:
        tensors: MODULE.gram, the upper triangle of H, and MODULE.products, N; int32 or int64.
    """

    tensors: Mapping[str, NDArray[Any]]

    def module(self, name: str) -> ModuleSums:
        """Return the sums of one module."""
        products = self.tensors[f"{name}.{PRODUCTS}"].astype(np.int64)
        return ModuleSums(self.tensors[f"{name}.{GRAM}"].astype(np.int64), products.T)

    @classmethod
    def sum(cls, parts: Iterable[RankStatistics]) -> Self:
        """Return the sums of several organizations, and of public text, exact.

        Raises:
            SumOverflow: A sum may not fit 64 bits.
            WrongShape: The parts have different shapes.
        """
        return cls(add_totals(part.tensors for part in parts))

    def without(self, part: RankStatistics) -> RankStatistics:
        """Return the sums without an organization, exact.

        Raises:
            SumOverflow: A difference may not fit 64 bits.
            WrongShape: The two have different shapes.
        """
        negative = {name: -tensor.astype(np.int64) for name, tensor in part.tensors.items()}
        return RankStatistics(add_totals([self.tensors, negative]))


def check(statistics: RankStatistics, agreed: SummedRanks) -> None:
    """Check that an organization's integers can be its sums.

    Every H must be positive semidefinite, and N a product of H with a factor that is not too long:
    |N (H + ridge I)^-1| <= |B|. Both are tested in float64, with room for the rounding of entries.

    Raises:
        WrongShape: The tensors are not the agreed ones.
        OutOfBounds: They are longer than agreed.
        NotRankSums: They are not the sums of tokens and a factor.
    """
    shapes = {name: tensor.shape for name, tensor in statistics.tensors.items()}
    if shapes != agreed.shapes():
        different = sorted(set(shapes.items()) ^ set(agreed.shapes().items()))[0][0]
        raise WrongShape(f"the summed ranks differ from the agreed ones in tensor {different!r}")
    if not all(np.issubdtype(tensor.dtype, np.integer) for tensor in statistics.tensors.values()):
        raise WrongShape("the summed ranks must be integers")
    norm = l2_norm(statistics.tensors)
    if norm > agreed.norm_bound:
        raise OutOfBounds(
            f"the summed ranks have L2 norm {norm:.6g}, and {agreed.norm_bound:.6g} is agreed"
        )
    squares = sum(_factor_squares(statistics.module(name), name, agreed) for name in agreed.modules)
    if squares > agreed.factor_norm**2:
        raise NotRankSums(
            f"the summed ranks stand for a factor B of L2 norm {squares**0.5:.6g}, and at most "
            f"{agreed.factor_norm:.6g} is agreed"
        )


def _factor_squares(sums: ModuleSums, name: str, agreed: SummedRanks) -> float:
    """Return the square of the L2 norm of a module's factor, with room for rounding."""
    gram = sums.full_gram().astype(np.float64)
    size = len(gram)
    # Rounding moves each entry by 1/2 at most, so eigenvalues by size / 2 (Weyl's inequality).
    slack = size / 2 + 8 * size * np.finfo(np.float64).eps * max(1.0, float(np.trace(gram)))
    ridge = slack + sums.ridge(agreed.ridge_bits)
    try:
        scipy.linalg.cholesky(gram + slack * np.eye(size), check_finite=False)
        factor = scipy.linalg.cho_factor(gram + ridge * np.eye(size), check_finite=False)
    except scipy.linalg.LinAlgError:
        raise NotRankSums(
            f"H of module {name!r} is not a sum over tokens: it is not positive semidefinite"
        ) from None
    solved = scipy.linalg.cho_solve(factor, sums.moments.astype(np.float64), check_finite=False)
    # Rounding moves N by 1/2 at most, and so B by 1 / (2 ridge).
    rounding = 0.5 * np.sqrt(solved.size) / ridge
    return max(0.0, float(np.linalg.norm(solved) - rounding)) ** 2


def _tensors(grams: FloatArrays, factors: FloatArrays) -> dict[str, NDArray[np.float64]]:
    tensors = {}
    for name, gram in grams.items():
        tensors[f"{name}.{GRAM}"] = gram[np.triu_indices(len(gram))]
        tensors[f"{name}.{PRODUCTS}"] = np.asarray(factors[name], np.float64) @ gram
    return tensors


def _whole(values: NDArray[np.float64]) -> NDArray[np.int64]:
    return np.rint(values).astype(np.int64)


def _check_floats(values: FloatArrays, shapes: Mapping[str, tuple[int, ...]]) -> None:
    for name in sorted({*values, *shapes}):
        if name not in values or name not in shapes or values[name].shape != shapes[name]:
            raise WrongShape(
                f"module {name!r} is missing, not agreed on, or does not have the agreed shape "
                f"{shapes.get(name)}"
            )
        if not np.isfinite(values[name]).all():
            raise NotFinite(f"module {name!r} has NaN or infinite values: training diverged")
