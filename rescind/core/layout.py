"""Whose parameters are where in an adapter, what each weighs, and where they start."""

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
    weighted_sum,
)
from rescind.core.errors import ArtifactError
from rescind.core.hiding import HIDING
from rescind.core.parameters import ConsortiumParameters, Layout

SHARED = "shared"


def weights(layout: Layout, organizations: Sequence[str]) -> dict[str, int]:
    """The consortium's rule: a function of who is in, and of nothing else.

    blocks: 10,000 each. shared: equal shares of 10,000, the remainder one by one to the lowest
    addresses.
    """
    ordered = sorted(organizations, key=str.lower)
    if layout == "blocks":
        return dict.fromkeys(ordered, WEIGHT_ONE)
    if not ordered:
        return {}
    share, remainder = divmod(WEIGHT_ONE, len(ordered))
    return {who: share + (place < remainder) for place, who in enumerate(ordered)}


def shrunk(share: int, numerator: int, denominator: int) -> int:
    """floor(share x sqrt(numerator / denominator)), exactly, and never more than `share`."""
    if numerator >= denominator:
        return share
    return math.isqrt(share * share * numerator // denominator)


def owner(layout: Layout, organization: str) -> str:
    """Prefix of the tensor names that `organization` contributes to."""
    return organization.lower() if layout == "blocks" else SHARED


def qualify(owner: str, name: str) -> str:
    return f"{owner}/{name}"


def split_owner(name: str) -> tuple[str, str]:
    """('0xabc...', 'model.layers.0.self_attn.q_proj.lora_B') of a qualified name."""
    prefix, slash, bare = name.partition("/")
    if not slash or not prefix or not bare:
        raise ArtifactError(f"tensor name {name!r} has no owner: expected OWNER/NAME")
    return prefix, bare


def owners(tensors: Mapping[str, object]) -> list[str]:
    return sorted({split_owner(name)[0] for name in tensors})


def block(tensors: Totals, owner: str) -> dict[str, NDArray[np.int64]]:
    """The tensors of one owner, by bare name."""
    prefix = f"{owner}/"
    return {
        name[len(prefix) :]: value for name, value in tensors.items() if name.startswith(prefix)
    }


def split_sum(deltas: Mapping[str, IntTensors]) -> dict[str, NDArray[np.int64]]:
    """One round's aggregate in a split layout, from each organization's tensors by qualified name.

    Shared tensors are averaged by the rule of `shared` over the organizations that give some; each
    organization's own count whole. Raises ArtifactError for tensors of anybody else's block.
    """
    shared: dict[str, IntTensors] = {}
    own: dict[str, IntTensors] = {}
    for organization, delta in deltas.items():
        for name, value in delta.items():
            whose = split_owner(name)[0]
            if whose not in (SHARED, organization.lower()):
                raise ArtifactError(f"{organization} gives {name!r}, a tensor of {whose}'s block")
            parts = shared if whose == SHARED else own
            parts[organization] = {**parts.get(organization, {}), name: value}
    share = weights("shared", [*shared])
    terms = [(delta, share[who]) for who, delta in shared.items()]
    return weighted_sum([*terms, *((delta, WEIGHT_ONE) for delta in own.values())])


def initial(
    seed: int, owner: str, name: str, shape: tuple[int, ...], *, fraction_bits: int
) -> NDArray[np.int32]:
    """Where a LoRA tensor starts, on the fixed-point grid; the same integers on every platform.

    B is zero. A (rank, in) is uniform in +-1/sqrt(in), torch's default for a linear layer
    (Kaiming-uniform with a = sqrt(5)), from 32-bit words of SHAKE-256 (FIPS 202) over
    "rescind.initial/1|seed|owner|name", little-endian.
    """
    if name.endswith(".lora_B"):
        return np.zeros(shape, dtype=np.int32)
    if not name.endswith(".lora_A") or len(shape) != 2:
        raise ArtifactError(f"{name!r} with shape {shape} is not a LoRA tensor")
    count = math.prod(shape)
    stream = hashlib.shake_256(f"rescind.initial/1|{seed}|{owner}|{name}".encode())
    words = np.frombuffer(stream.digest(4 * count), dtype="<u4").astype(np.int64)
    bound = math.isqrt((1 << (2 * fraction_bits)) // shape[1])
    return ((words * (2 * bound + 1) >> 32) - bound).astype(np.int32).reshape(shape)


def materialize(
    totals: Totals,
    shapes: Mapping[str, tuple[int, ...]],
    *,
    parameters: ConsortiumParameters,
    owner: str,
) -> dict[str, NDArray[np.float32]]:
    """Float parameters of one block: (initial x 10,000 + total) / (2^fraction_bits x 10,000).

    `totals` has bare names, a subset of those of `shapes`; what it lacks stays where it started.
    A hiding tensor is noise for the digest and no parameter.
    """
    unknown = sorted(set(totals) - set(shapes) - {HIDING})
    if unknown:
        raise ArtifactError(
            f"adapter has tensors {unknown[:3]} for which the base model has no place"
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
                    f"adapter tensor {name!r} has shape {totals[name].shape}, expected {shape}"
                )
            total = total + totals[name]
        result[name] = (total / unit).astype(np.float32)
    return result
