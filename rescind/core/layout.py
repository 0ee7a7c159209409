"""Tensor ownership, aggregation weights and initial values of an adapter."""

from __future__ import annotations

import hashlib
import math
from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from rescind.core.delta import (
    WEIGHT_ONE,
    IntTensors,
    Totals,
)
from rescind.core.errors import ArtifactError
from rescind.core.hiding import HIDING
from rescind.core.parameters import ConsortiumParameters, Layout
from rescind.core.parts import SHARED, STATISTICS
from rescind.core.totals import weighted_sum


def weights(layout: Layout, organizations: Sequence[str]) -> dict[str, int]:
    """Return the weight of each organization in a round, in basis points.

    It depends only on how many organizations are in the round. In `blocks` each has 10,000. In
    `shared` each has 10,000 // n, and the remainder is dropped: the contract weights a round as a
    whole, by one multiplication of its sum. A round then moves a shared model by a little less than
    the mean of its deltas (docs/federated.md).
    """
    ordered = sorted(organizations, key=str.lower)
    if not ordered:
        return {}
    share = WEIGHT_ONE if layout == "blocks" else WEIGHT_ONE // len(ordered)
    return dict.fromkeys(ordered, share)


def shrunk(share: int, numerator: int, denominator: int) -> int:
    """Return floor(share x sqrt(numerator / denominator)) exactly, and never more than `share`."""
    if numerator >= denominator:
        return share
    return math.isqrt(share * share * numerator // denominator)


def owner(layout: Layout, organization: str) -> str:
    """Return the owner of an organization's tensors: the prefix of their names."""
    return organization.lower() if layout == "blocks" else SHARED


def qualify(owner: str, name: str) -> str:
    """Return OWNER/NAME."""
    return f"{owner}/{name}"


def split_owner(name: str) -> tuple[str, str]:
    """Split a qualified name into owner and bare name.

    Example:
        >>> split_owner("0xabc/model.layers.0.self_attn.q_proj.lora_B")
        ('0xabc', 'model.layers.0.self_attn.q_proj.lora_B')

    Raises:
        ArtifactError: The name is not OWNER/NAME.
    """
    prefix, slash, bare = name.partition("/")
    if not slash or not prefix or not bare:
        raise ArtifactError(f"tensor name {name!r} has no owner: it must be OWNER/NAME")
    return prefix, bare


def owners(tensors: Mapping[str, object]) -> list[str]:
    """Return the owners of tensors with qualified names, sorted."""
    return sorted({split_owner(name)[0] for name in tensors})


def blocks_of(tensors: Mapping[str, object]) -> list[str]:
    """Return the owners of adapters, sorted.

    They are all but that of statistics; shared ranks are an adapter only where there are no private
    ranks beside them.
    """
    named = [each for each in owners(tensors) if each != STATISTICS]
    return named if named == [SHARED] else [each for each in named if each != SHARED]


def block(tensors: Totals, owner: str) -> dict[str, NDArray[np.int64]]:
    """Return the tensors of one owner, by bare name."""
    prefix = f"{owner}/"
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def split_sum(deltas: Mapping[str, IntTensors]) -> dict[str, NDArray[np.int64]]:
    """Return one round's aggregate in a split layout.

    Shared tensors are averaged by the rule of `shared` over the organizations that give some; each
    organization's own tensors count whole.

    Args:
        deltas: Each organization's tensors, by qualified name.

    Raises:
        ArtifactError: An organization gives a tensor of another organization's block.
    """
    shared: dict[str, IntTensors] = {}
    own: dict[str, IntTensors] = {}
    for organization, delta in deltas.items():
        for name, value in delta.items():
            owner_ = split_owner(name)[0]
            if owner_ not in (SHARED, organization.lower()):
                raise ArtifactError(
                    f"{organization} contributes {name!r}, a tensor of {owner_}'s block"
                )
            parts = shared if owner_ == SHARED else own
            parts[organization] = {**parts.get(organization, {}), name: value}
    share = weights("shared", [*shared])
    terms = [(delta, share[organization]) for organization, delta in shared.items()]
    return weighted_sum([*terms, *((delta, WEIGHT_ONE) for delta in own.values())])


def initial(
    seed: int, owner: str, name: str, shape: tuple[int, ...], *, fraction_bits: int
) -> NDArray[np.int32]:
    """Return the initial value of a LoRA tensor on the fixed-point grid.

    It is the same integers on every platform. B is zero. A, of shape (rank, in), is uniform in
    +-1/sqrt(in), torch's default for a linear layer (Kaiming-uniform with a = sqrt(5)), from 32-bit
    words of SHAKE-256 (FIPS 202) over "rescind.initial/1|seed|owner|name", little-endian.

    Args:
        seed: The agreed seed.
        owner: The owner of the tensor.
        name: Its bare name, which ends in .lora_A or .lora_B.
        shape: Its shape.
        fraction_bits: The fixed-point resolution.

    Raises:
        ArtifactError: The name or shape is not a LoRA tensor's.
    """
    if name.endswith(".lora_B"):
        return np.zeros(shape, dtype=np.int32)
    if not name.endswith(".lora_A") or len(shape) != 2:
        raise ArtifactError(
            f"{name!r} with shape {shape} is not a LoRA tensor: "
            "its name must end in .lora_A or .lora_B"
        )
    count = math.prod(shape)
    stream = hashlib.shake_256(f"rescind.initial/1|{seed}|{owner}|{name}".encode())
    words = np.frombuffer(stream.digest(4 * count), dtype="<u4").astype(np.int64)
    # Integer square root and multiply-shift instead of floats, so that every platform agrees.
    bound = math.isqrt((1 << (2 * fraction_bits)) // shape[1])
    return ((words * (2 * bound + 1) >> 32) - bound).astype(np.int32).reshape(shape)


def materialize(
    totals: Totals,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    parameters: ConsortiumParameters,
    owner: str,
) -> dict[str, NDArray[np.float32]]:
    """Return the parameters of one block: (initial x 10,000 + total) / (2^fraction_bits x 10,000).

    Args:
        totals: The summed deltas, by bare name. A missing tensor keeps its initial value; a hiding
            tensor is left out, since it is noise for the digest and not a parameter.
        shapes: The shapes of all tensors, by bare name.
        parameters: The consortium's parameters.
        owner: The owner of the block.

    Raises:
        ArtifactError: `totals` has a tensor that `shapes` has not, or with another shape.
    """
    unknown = sorted(set(totals) - set(shapes) - {HIDING})
    if unknown:
        raise ArtifactError(
            f"the adapter has tensors {unknown[:3]}, which the base model does not have"
        )
    unit = float(2**parameters.fraction_bits) * WEIGHT_ONE
    result = {}
    for name, shape in shapes.items():
        start = initial(
            parameters.seed, owner, name, shape, fraction_bits=parameters.fraction_bits
        ).astype(np.int64)
        total = start * WEIGHT_ONE
        if name in totals:
            if totals[name].shape != shape:
                raise ArtifactError(
                    f"the adapter's tensor {name!r} has shape {totals[name].shape}, "
                    f"expected {shape}"
                )
            total = total + totals[name]
        result[name] = (total / unit).astype(np.float32)
    return result
