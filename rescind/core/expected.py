"""The tensors that a file from somebody else must have, by the agreed parameters."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import cached_property

from rescind.core.artifact import METADATA
from rescind.core.delta import check_tensors
from rescind.core.layout import SHARED, owner, qualify
from rescind.core.parameters import ConsortiumParameters
from rescind.core.tensor_header import Specs, TensorSpec, most_header_bytes

Shapes = Mapping[str, tuple[int, ...]]


@dataclass(frozen=True)
class ExpectedDelta:
    """Exactly the agreed tensors, int32.

    Attributes:
        shapes: The agreed shapes, by qualified name.
    """

    shapes: Shapes

    @cached_property
    def most_header_bytes(self) -> int:
        """The longest header to parse."""
        specs = {name: TensorSpec("I32", tuple(shape)) for name, shape in self.shapes.items()}
        return most_header_bytes(specs, METADATA)

    def check(self, specs: Specs) -> None:
        """Check the tensors of a delta; raise as `rescind.core.check_tensors`."""
        present = {name: (spec.numpy_dtype, spec.shape) for name, spec in specs.items()}
        check_tensors(present, self.shapes)


@dataclass(frozen=True)
class ExpectedAdapter:
    """The tensors of some owners, int64. A file may lack owners, or have other tensors of theirs.

    Each owner is judged alone, so other tensors are not refused here but with their owner
    (`rescind.withdrawals.accept`). The header is bounded all the same.

    Attributes:
        shapes: The agreed shapes, by bare name.
        owners: The owners that may be in the file.
    """

    shapes: Shapes
    owners: tuple[str, ...]

    @cached_property
    def most_header_bytes(self) -> int:
        """The longest header to parse."""
        specs = {
            qualify(each, name): TensorSpec("I64", tuple(shape))
            for each in self.owners
            for name, shape in self.shapes.items()
        }
        return most_header_bytes(specs, METADATA)

    def check(self, specs: Specs) -> None:
        """Accept any tensors: see the class."""


def expected_delta(parameters: ConsortiumParameters, organization: str) -> ExpectedDelta:
    """Return the tensors that an organization's delta must have."""
    prefix = owner(parameters.layout, organization)
    shapes = parameters.delta_shapes().items()
    return ExpectedDelta({qualify(prefix, name): shape for name, shape in shapes})


def expected_adapter(
    parameters: ConsortiumParameters, organizations: Collection[str]
) -> ExpectedAdapter:
    """Return the tensors that the adapter of a model with some organizations may have.

    Args:
        parameters: The agreed parameters.
        organizations: The organizations in the model's content.
    """
    owners = {owner(parameters.layout, each) for each in organizations} or {SHARED}
    return ExpectedAdapter(parameters.delta_shapes(), tuple(sorted(owners)))
