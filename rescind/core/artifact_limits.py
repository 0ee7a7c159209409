"""The largest artifacts of a consortium, from the agreed shapes, members and layout.

Every figure is an upper bound of the bytes of a file with the agreed tensors, header included. It is
found without writing a header: an adapter of 1,024 blocks has half a million tensors.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

from rescind.core.errors import ArtifactError
from rescind.core.ring import WORDS
from rescind.core.tensor_header import MOST_HEADER_BYTES

Shapes = Mapping[str, tuple[int, ...]]

_ADDRESS = "0x" + 40 * "0"
"""As long as any owner of a block."""
_ENTRY = '"/":{"dtype":"I64","shape":[],"data_offsets":[,]},'
"""The rest of a tensor's entry in a header."""
_OFFSETS_DIGITS = 2 * 13
"""Digits of two offsets: files have less than 10^13 bytes."""
_METADATA_BYTES = 4096
"""Room for metadata, padding and the length in front; the metadata of a Fisher has about 400 bytes."""
_INT32, _INT64, _FLOAT32, _UINT64 = 4, 8, 4, 8


class AdapterHeaderTooLarge(ArtifactError):
    """An adapter of all members would have a longer header than safetensors reads."""

    code = "artifact-header-too-large"


@dataclass(frozen=True)
class ArtifactLimits:
    """The most bytes of each kind of artifact.

    Attributes:
        parameters: Integers in a delta, hiding noise included.
        blocks: Blocks in an adapter.
        delta: A delta: int32.
        fisher: Posted Fisher information: float32; 0 where it is not agreed on.
        summed: What an organization contributes beside its block to sums of all: statistics, or
            shared ranks. 0 where there is nothing such.
        adapter: An adapter or the sum of a round: int64, all blocks, and sums beside them.
        openings: The openings of an adapter.
    """

    parameters: int
    blocks: int
    delta: int
    fisher: int
    summed: int
    adapter: int
    openings: int

    @property
    def upload(self) -> int:
        """The largest artifact that a member may send.

        It is twice the largest right one, so that a delta of other tensors or types is judged, and
        rejected on chain with the reason.
        """
        return 2 * max(self.delta, self.fisher, self.summed)

    @property
    def largest(self) -> int:
        """The largest right artifact: the smallest `max_artifact_bytes` that holds everything."""
        return max(self.delta, self.fisher, self.summed, self.adapter, self.openings)


def artifact_limits(
    shapes: Shapes,
    *,
    layout: Literal["blocks", "shared"],
    max_members: int,
    post_fisher: bool = False,
    summed: Mapping[str, Shapes] | None = None,
) -> ArtifactLimits:
    """Return the most bytes of each kind of artifact.

    Args:
        shapes: The tensors of a delta by bare name (`ConsortiumParameters.delta_shapes`), the
            hiding tensor included.
        layout: Whether an adapter has a block for each organization, or one for all.
        max_members: The most organizations.
        post_fisher: Whether members post Fisher information.
        summed: The tensors of sums beside blocks (`ConsortiumParameters.summed_shapes`), by owner
            and bare name, hiding noise included.

    Raises:
        AdapterHeaderTooLarge: No reader of safetensors would take the adapter's header.
    """
    blocks = max_members if layout == "blocks" else 1
    owner = _ADDRESS if layout == "blocks" else "shared"
    count = sum(math.prod(shape) for shape in shapes.values())
    header = sum(_entry_bytes(owner, name, shape) for name, shape in shapes.items())
    if blocks * header + _METADATA_BYTES > MOST_HEADER_BYTES:
        raise AdapterHeaderTooLarge(
            f"an adapter of {blocks} blocks with {len(shapes)} tensors each has a header of about "
            f"{blocks * header} bytes, and safetensors reads at most {MOST_HEADER_BYTES}: lower "
            "max_members or the number of target modules"
        )
    file = header + _METADATA_BYTES
    # As int64, and in a model under an owner whose name is shorter than an address.
    sums = sum(
        _INT64 * math.prod(shape) + _entry_bytes(_ADDRESS, name, shape)
        for shapes_ in (summed or {}).values()
        for name, shape in shapes_.items()
    )
    opening = _UINT64 * WORDS + _entry_bytes(_ADDRESS, "", (WORDS,))
    owners = blocks + len(summed or {})
    return ArtifactLimits(
        parameters=count,
        blocks=blocks,
        delta=_INT32 * count + file,
        fisher=_FLOAT32 * count + file if post_fisher else 0,
        summed=sums + _METADATA_BYTES if summed else 0,
        adapter=blocks * (_INT64 * count + header) + sums + _METADATA_BYTES,
        openings=owners * opening + _METADATA_BYTES,
    )


def _entry_bytes(owner: str, name: str, shape: tuple[int, ...]) -> int:
    """Return the bytes of a tensor's entry in a header, at most."""
    # As it is escaped in JSON, without the quotes, which are counted already.
    escaped = len(json.dumps(name, ensure_ascii=False).encode(errors="surrogatepass")) - 2
    sides = sum(len(str(side)) + 1 for side in shape)
    return len(owner) + escaped + len(_ENTRY) + sides + _OFFSETS_DIGITS
