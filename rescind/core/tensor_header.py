"""Headers of safetensors files: bounded, read and compared before a byte of a tensor is parsed.

A file is 8 bytes of length, a header in JSON, and then the tensors' bytes without gaps. The header
says all about names, types and shapes, so a file of other tensors than the expected ones is refused
from its header alone. A header may be little longer than the expected one, so that a file with
400,000 empty tensors costs no more to refuse than any other.

Our files have exactly one encoding: tensors in the order of safetensors (the type with the most
bits first, then by name), and the header that `write_header` returns.
"""

from __future__ import annotations

import json
import math
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ArtifactError
from rescind.core.json_text import parse_json

LENGTH_BYTES = 8
"""The bytes before the header, which say how long it is."""
MOST_HEADER_BYTES = 100_000_000
"""The longest header where nothing is known of a file: the limit of safetensors itself."""
_ROOM = 4096
"""Header bytes allowed beyond twice the expected ones, so that a file with one tensor too many is
refused by the name of that tensor."""
_ALIGNMENT = 8
_TYPES: Mapping[str, np.dtype[Any]] = {
    # In the order of safetensors.
    "U64": np.dtype("<u8"),
    "I64": np.dtype("<i8"),
    "F64": np.dtype("<f8"),
    "F32": np.dtype("<f4"),
    "I32": np.dtype("<i4"),
}
_ORDER = {name: index for index, name in enumerate(_TYPES)}


class ArtifactMalformed(ArtifactError):
    """The bytes are not the canonical encoding of an artifact."""

    code = "artifact-malformed"


class ArtifactWrongType(ArtifactError):
    """A tensor has a type that the file must not hold."""

    code = "artifact-wrong-type"


@dataclass(frozen=True)
class TensorSpec:
    """Type and shape of a tensor.

    Attributes:
        dtype: The type's name in safetensors, such as "I32".
        shape: The shape.
    """

    dtype: str
    shape: tuple[int, ...]

    @property
    def numpy_dtype(self) -> np.dtype[Any]:
        """The type in numpy, little-endian."""
        return _TYPES[self.dtype]

    @property
    def size(self) -> int:
        """Bytes of the tensor."""
        return math.prod(self.shape) * self.numpy_dtype.itemsize


Specs = Mapping[str, TensorSpec]


@dataclass(frozen=True)
class Header:
    """The header of a file.

    Attributes:
        specs: The tensors by name, in the order of the file.
        metadata: The file's metadata.
        size: Bytes in front of the tensors.
    """

    specs: Specs
    metadata: Mapping[str, str]
    size: int

    @property
    def file_size(self) -> int:
        """Bytes of the whole file."""
        return self.size + sum(spec.size for spec in self.specs.values())

    def views(self, data: bytes | memoryview) -> dict[str, NDArray[Any]]:
        """Return the tensors of a whole file by name, sorted, without copying them."""
        begin, views = self.size, {}
        for name, spec in self.specs.items():
            count = math.prod(spec.shape)
            flat = np.frombuffer(data, dtype=spec.numpy_dtype, count=count, offset=begin)
            views[name] = flat.reshape(spec.shape)
            begin += spec.size
        return dict(sorted(views.items()))


class Expected(Protocol):
    """The tensors that a file is expected to hold."""

    @property
    def most_header_bytes(self) -> int:
        """The longest header to parse."""
        ...

    def check(self, specs: Specs) -> None:
        """Raise an ArtifactError if a file must not have these tensors."""
        ...


def write_header(specs: Specs, metadata: Mapping[str, str]) -> bytes:
    """Return the canonical header of tensors, with its length in front.

    Args:
        specs: The tensors by name, in any order.
        metadata: One entry at most: safetensors gives several no order.
    """
    entries: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    begin = 0
    for name, spec in in_file_order(specs).items():
        entries[name] = {
            "dtype": spec.dtype,
            "shape": list(spec.shape),
            "data_offsets": [begin, begin + spec.size],
        }
        begin += spec.size
    text = json.dumps(entries, ensure_ascii=False, separators=(",", ":")).encode()
    text += b" " * (-len(text) % _ALIGNMENT)
    return len(text).to_bytes(LENGTH_BYTES, "little") + text


def most_header_bytes(specs: Specs, metadata: Mapping[str, str]) -> int:
    """Return the longest header to parse where these tensors are expected."""
    return 2 * len(write_header(specs, metadata)) + _ROOM


def header_size(length: bytes, most: int) -> int:
    """Return the bytes in front of the tensors, from the first 8 bytes of a file.

    Args:
        length: The first 8 bytes.
        most: The longest header to accept.

    Raises:
        ArtifactMalformed: There are fewer, or the header is longer.
    """
    if len(length) < LENGTH_BYTES:
        raise ArtifactMalformed(
            f"the bytes are not a safetensors artifact: it begins with {LENGTH_BYTES} bytes that "
            f"say how long its header is, but this one has {len(length)} bytes"
        )
    size = LENGTH_BYTES + int.from_bytes(length, "little")
    if size > most:
        raise ArtifactMalformed(
            f"the bytes are not a safetensors artifact: its header has {size} bytes, but {most} "
            "are enough for the expected tensors; write exactly those with rescind.core.encode"
        )
    return size


def read_header(data: bytes) -> Header:
    """Read a header, with its length in front, that is in canonical form.

    Raises:
        ArtifactMalformed: It is not a header, or not in canonical form.
        ArtifactWrongType: A tensor has a type that none of our files holds.
    """
    try:
        entries = parse_json(data[LENGTH_BYTES:])
        metadata = entries.pop("__metadata__", {})
        specs = {name: _spec(name, entry) for name, entry in entries.items()}
        canonical = write_header(specs, metadata) == data
    except (ValueError, TypeError, KeyError, AttributeError, RecursionError) as error:
        raise ArtifactMalformed(f"the bytes are not a safetensors artifact: {error}") from error
    if not canonical:
        raise ArtifactMalformed(
            "the artifact is not in canonical form (tensors and header in the order of "
            "safetensors, without gaps); write it with rescind.core.encode"
        )
    return Header(in_file_order(specs), metadata, len(data))


def _spec(name: str, entry: Any) -> TensorSpec:
    dtype, shape = entry["dtype"], entry["shape"]
    if not isinstance(dtype, str) or not all(type(n) is int and n >= 0 for n in shape):
        raise ValueError(f"tensor {name!r} has dtype {dtype!r} and shape {shape!r}"[:200])
    if dtype not in _TYPES:
        raise ArtifactWrongType(
            f"tensor {name[:200]!r} has dtype {dtype[:20]}, which artifacts never hold"
        )
    return TensorSpec(dtype, tuple(shape))


def in_file_order(specs: Specs) -> dict[str, TensorSpec]:
    """Return tensors in the order in which safetensors writes them."""
    return dict(sorted(specs.items(), key=lambda item: (_ORDER[item[1].dtype], item[0])))
