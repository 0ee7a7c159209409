"""The bytes of an adapter, summed a few tensors at a time: memory does not grow with the adapter."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

from rescind.core.artifact import METADATA
from rescind.core.layout import qualify, split_owner
from rescind.core.mapped import Bytes
from rescind.core.sums import Load, Term
from rescind.core.tensor_header import TensorSpec, in_file_order, write_header
from rescind.core.totals import weighted_sum

GROUP_BYTES = 2**26
"""Totals that are in memory at a time. Each group of tensors opens every term once more."""


def adapter_bytes(
    groups: Mapping[str, Sequence[Term]],
    shapes: Mapping[str, tuple[int, ...]],
    load: Load,
    reload: Load | None = None,
    *,
    sums: Mapping[str, Mapping[str, tuple[int, ...]]] | None = None,
    group_bytes: int = GROUP_BYTES,
) -> Iterator[Bytes]:
    """Yield the canonical bytes of an adapter: those of `rescind.core.encode` of its sums.

    Args:
        groups: The terms of each owner. Every term has exactly the agreed tensors.
        shapes: The agreed shapes of a block or of the shared adapter, by bare name.
        load: Returns the tensors of an artifact, by qualified name, as views of its file.
        reload: As `load`, for an artifact that `load` returned before, whose hash it need not check
            again; `load` by default.
        sums: The agreed shapes of sums beside blocks, by owner and bare name.
        group_bytes: Totals in memory at a time, unless a single tensor is larger.

    Raises:
        SumOverflow: A sum may not fit 64 bits.
    """
    specs = {
        qualify(name, bare): TensorSpec("I64", tuple(shape))
        for name in groups
        for bare, shape in (sums or {}).get(name, shapes).items()
    }
    yield write_header(specs, METADATA)
    current = ""
    for names in _groups(list(in_file_order(specs)), specs, group_bytes):
        # The tensors of an owner are next to each other.
        owner = split_owner(names[0])[0]
        read = load if owner != current else reload or load
        current = owner
        totals = weighted_sum(
            ({name: tensors[name] for name in names}, term.weight)
            for term in groups[owner]
            for tensors in (read(term.artifact_id),)
        )
        for name in names:
            yield totals.pop(name).reshape(-1).data.cast("B")


def _groups(
    names: Sequence[str], specs: Mapping[str, TensorSpec], most: int
) -> Iterator[list[str]]:
    """Yield the names in groups of one owner and of a bounded size."""
    group: list[str] = []
    owner, size = "", 0
    for name in names:
        prefix, own = split_owner(name)[0], specs[name].size
        if group and (prefix != owner or size + own > most):
            yield group
            group, size = [], 0
        group.append(name)
        owner, size = prefix, size + own
    if group:
        yield group
