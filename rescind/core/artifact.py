"""Canonical bytes of deltas, aggregates and adapters: safetensors with exactly one encoding.

Names are sorted, metadata is fixed and the header is padded by the safetensors rule, so equal
tensors have equal ids on every machine.
"""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

import numpy as np
import safetensors
import safetensors.numpy
from numpy.typing import NDArray

from rescind.core.errors import ArtifactError

IntArray = NDArray[np.int32] | NDArray[np.int64]
METADATA = {"format": "rescind.artifact/1"}
_INTEGER_TYPES = (np.dtype(np.int32), np.dtype(np.int64))


class ArtifactTooLarge(ArtifactError):
    """An artifact has more bytes than the consortium allows."""

    code = "artifact-too-large"


class ArtifactMalformed(ArtifactError):
    """The bytes are not the canonical encoding of an artifact."""

    code = "artifact-malformed"


class ArtifactWrongType(ArtifactError):
    """A tensor is neither int32 nor int64."""

    code = "artifact-wrong-type"


def artifact_id(data: bytes) -> str:
    """Return the SHA-256 of the bytes, in lowercase hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Return the canonical bytes of integer tensors.

    Raises:
        ArtifactWrongType: A tensor is neither int32 nor int64.
    """
    ordered = {}
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        if array.dtype not in _INTEGER_TYPES:
            raise ArtifactWrongType(
                f"tensor {name!r} has dtype {array.dtype}; artifacts hold only int32 and int64"
            )
        ordered[name] = np.array(array, order="C", copy=True)
    return safetensors.numpy.save(ordered, metadata=dict(METADATA))


def decode(data: bytes, *, max_bytes: int | None = None) -> dict[str, IntArray]:
    """Return the tensors of an artifact, by name, sorted.

    Args:
        data: The bytes.
        max_bytes: The largest size to accept; unlimited by default.

    Raises:
        ArtifactTooLarge: There are more bytes.
        ArtifactMalformed: They are not safetensors, or not the canonical encoding.
        ArtifactWrongType: A tensor is neither int32 nor int64.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise ArtifactTooLarge(
            f"the artifact has {len(data)} bytes; the consortium allows {max_bytes}"
        )
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactMalformed(f"the bytes are not a safetensors artifact: {error}") from error
    if encode(tensors) != data:
        raise ArtifactMalformed(
            "the artifact is not in canonical form (names sorted, metadata "
            f"{METADATA}); write it with rescind.core.encode"
        )
    return {name: tensors[name] for name in sorted(tensors)}
