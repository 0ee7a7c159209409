"""The tensors that a file from somebody else must have, by the agreed parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from functools import cached_property
from typing import Literal

from rescind.core.artifact import METADATA
from rescind.core.delta import check_tensors
from rescind.core.layout import qualify
from rescind.core.parameters import ConsortiumParameters
from rescind.core.parts import SHARED
from rescind.core.tensor_header import Specs, TensorSpec, most_header_bytes

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ExpectedDelta:
    """Exactly the agreed tensors of one part of a contribution.

    Attributes:
        shapes: The agreed shapes, by qualified name.
        dtype: The agreed type.
    """

    shapes: Shapes
    dtype: Literal["I32", "I64"] = "I32"

    @cached_property
    def most_header_bytes(self) -> int:
        """The longest header to parse."""
        specs = {name: TensorSpec(self.dtype, tuple(shape)) for name, shape in self.shapes.items()}
        return most_header_bytes(specs, METADATA)

    def check(self, specs: Specs) -> None:
        """Check the tensors of an artifact; raise as `rescind.core.check_tensors`."""
        present = {name: (spec.numpy_dtype, spec.shape) for name, spec in specs.items()}
        check_tensors(present, self.shapes, TensorSpec(self.dtype, ()).numpy_dtype)


@dataclass(frozen=True)
class ExpectedAdapter:
    """The tensors of some owners, int64. A file may lack owners, or have other tensors of theirs.

    Each owner is judged alone, so other tensors are not refused here but with their owner
    (`rescind.withdrawals.accept`). The header is bounded all the same.

    Attributes:
        shapes: The agreed shapes, by bare name, of each owner that may be in the file.
    """

    shapes: Mapping[str, Shapes] = field(default_factory=dict)

    @property
    def owners(self) -> tuple[str, ...]:
        """The owners that may be in the file, sorted."""
        return tuple(sorted(self.shapes))

    @cached_property
    def most_header_bytes(self) -> int:
        """The longest header to parse."""
        specs = {
            qualify(each, name): TensorSpec("I64", tuple(shape))
            for each, shapes in self.shapes.items()
            for name, shape in shapes.items()
        }
        return most_header_bytes(specs, METADATA)

    def check(self, specs: Specs) -> None:
        """Accept any tensors: see the class."""


def expected_delta(
    parameters: ConsortiumParameters, organization: str, part: int = 0
) -> ExpectedDelta:
    """Return the tensors that an organization's contribution must have, for one part."""
    form = parameters.parts[part]
    prefix = form.owner(organization)
    shapes = {qualify(prefix, name): shape for name, shape in form.shapes.items()}
    return ExpectedDelta(shapes, form.dtype)


def expected_adapter(parameters: ConsortiumParameters, owners: Collection[str]) -> ExpectedAdapter:
    """Return the tensors that the adapter of a model with some owners may have.

    Args:
        parameters: The agreed parameters.
        owners: The owners of the model's contributions.
    """
    named = sorted(owners) or [SHARED]
    return ExpectedAdapter({each: parameters.part_of(each).shapes for each in named})
