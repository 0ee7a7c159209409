"""Canonical bytes of deltas, aggregates and adapters: safetensors with exactly one encoding.

Names are sorted, metadata is fixed and the header is padded by the safetensors rule, so equal
tensors have equal ids on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from rescind.core.errors import ArtifactError
from rescind.core.mapped import Bytes
from rescind.core.tensor_header import (
    LENGTH_BYTES,
    MOST_HEADER_BYTES,
    ArtifactMalformed,
    ArtifactWrongType,
    Expected,
    Header,
    TensorSpec,
    header_size,
    in_file_order,
    read_header,
    write_header,
)

IntArray = NDArray[np.int32] | NDArray[np.int64]
METADATA = {"format": "rescind.artifact/1"}
_INTEGER_TYPES = (np.dtype(np.int32), np.dtype(np.int64))


class ArtifactTooLarge(ArtifactError):
    """An artifact has more bytes than the consortium allows."""

    code = "artifact-too-large"


def artifact_id(data: Bytes) -> str:
    """Return the SHA-256 of the bytes, in lowercase hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the canonical bytes of integer tensors.

    Raises:
        ArtifactWrongType: A tensor is neither int32 nor int64.
    """
    return b"".join(encoded_pieces(tensors))


def encoded_id(tensors: Mapping[str, NDArray[Any]]) -> str:
    """Return the id of the canonical bytes of integer tensors, which are not put together.

    Raises:
        ArtifactWrongType: A tensor is neither int32 nor int64.
    """
    sha = hashlib.sha256()
    for piece in encoded_pieces(tensors):
        sha.update(piece)
    return sha.hexdigest()


def encoded_pieces(tensors: Mapping[str, NDArray[Any]]) -> Iterator[Bytes]:
    """Yield the canonical bytes of integer tensors: the header, then each tensor, not copied.

    Raises:
        ArtifactWrongType: A tensor is neither int32 nor int64.
    """
    arrays: dict[str, NDArray[Any]] = {}
    for name, value in tensors.items():
        array = np.asarray(value)
        if array.dtype not in _INTEGER_TYPES:
            raise ArtifactWrongType(
                f"tensor {name!r} has dtype {array.dtype}; artifacts hold only int32 and int64"
            )
        arrays[name] = array
    specs = {
        name: TensorSpec("I32" if array.dtype == np.int32 else "I64", array.shape)
        for name, array in arrays.items()
    }
    yield write_header(specs, METADATA)
    for name in in_file_order(specs):
        flat = np.ascontiguousarray(arrays[name], dtype=specs[name].numpy_dtype).reshape(-1)
        yield flat.view(np.uint8).data


def decode(
    data: Bytes, *, max_bytes: int | None = None, expected: Expected | None = None
) -> dict[str, IntArray]:
    """Return the tensors of an artifact, by name, sorted. They are read-only views of the bytes.

    Args:
        data: The bytes.
        max_bytes: The largest size to accept; unlimited by default.
        expected: The tensors that the artifact must have: pass it wherever the bytes come from
            somebody else. Then a header that is longer than theirs is not parsed.

    Raises:
        ArtifactTooLarge: There are more bytes.
        ArtifactMalformed: They are not safetensors, or not the canonical encoding.
        ArtifactWrongType: A tensor is neither int32 nor int64.
        ArtifactError: The tensors are not the expected ones.
    """
    check_size(len(data), max_bytes)
    length = header_size(bytes(data[:LENGTH_BYTES]), longest_header(expected))
    header = artifact_header(bytes(data[:length]), expected)
    check_file_size(header, len(data))
    return header.views(data)


def check_size(size: int, max_bytes: int | None) -> None:
    """Check that an artifact is not too large.

    Raises:
        ArtifactTooLarge: It is.
    """
    if max_bytes is not None and size > max_bytes:
        raise ArtifactTooLarge(f"the artifact has {size} bytes; the consortium allows {max_bytes}")


def longest_header(expected: Expected | None) -> int:
    """Return the longest header to parse."""
    return MOST_HEADER_BYTES if expected is None else expected.most_header_bytes


def artifact_header(data: bytes, expected: Expected | None) -> Header:
    """Read the header of an artifact, and compare it with the expected tensors.

    Raises:
        ArtifactError: As `decode`.
    """
    header = read_header(data)
    for name, spec in header.specs.items():
        if spec.numpy_dtype not in _INTEGER_TYPES:
            raise ArtifactWrongType(
                f"tensor {name!r} has dtype {spec.numpy_dtype}; artifacts hold only int32 and int64"
            )
    if header.metadata != METADATA:
        raise ArtifactMalformed(
            f"the artifact is not in canonical form (its metadata must be {METADATA}); write it "
            "with rescind.core.encode"
        )
    if expected is not None:
        expected.check(header.specs)
    return header


def check_file_size(header: Header, size: int) -> None:
    """Check that a file has as many bytes as its header says.

    Raises:
        ArtifactMalformed: It has not.
    """
    if header.file_size != size:
        raise ArtifactMalformed(
            f"the bytes are not a safetensors artifact: there are {size}, but the header says "
            f"{header.file_size}"
        )
