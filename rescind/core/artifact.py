"""Canonical bytes of deltas, aggregates and adapters: safetensors with one encoding only.

A tensor map has exactly one encoding (names sorted, fixed metadata, header padded by the
safetensors rule), so equal tensors have equal ids on every machine.
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
    code = "artifact-too-large"


class ArtifactMalformed(ArtifactError):
    code = "artifact-malformed"


class ArtifactWrongType(ArtifactError):
    code = "artifact-wrong-type"


class ArtifactWrongDigest(ArtifactError):
    """Its linear digest is not the registered one: it is not the sum that it is said to be."""

    code = "artifact-wrong-digest"


def artifact_id(data: bytes) -> str:
    """SHA-256 of the bytes, lowercase hexadecimal."""
    return hashlib.sha256(data).hexdigest()


def encode(tensors: Mapping[str, NDArray[Any]]) -> bytes:
    """Canonical bytes of integer tensors. Raises ArtifactWrongType for any other dtype."""
    ordered = {}
    for name in sorted(tensors):
        array = np.asarray(tensors[name])
        if array.dtype not in _INTEGER_TYPES:
            raise ArtifactWrongType(
                f"tensor {name!r} has dtype {array.dtype}; artifacts hold int32 or int64 only"
            )
        ordered[name] = np.array(array, order="C", copy=True)
    return safetensors.numpy.save(ordered, metadata=dict(METADATA))


def decode(data: bytes, *, max_bytes: int | None = None) -> dict[str, IntArray]:
    """Tensors by name, sorted.

    Raises ArtifactTooLarge, ArtifactMalformed (not safetensors, or not the canonical encoding)
    or ArtifactWrongType.
    """
    if max_bytes is not None and len(data) > max_bytes:
        raise ArtifactTooLarge(
            f"artifact of {len(data)} bytes is larger than the {max_bytes} the consortium allows"
        )
    try:
        tensors = safetensors.numpy.load(data)
    except (safetensors.SafetensorError, ValueError, KeyError, TypeError) as error:
        raise ArtifactMalformed(f"not a safetensors artifact: {error}") from error
    if encode(tensors) != data:
        raise ArtifactMalformed(
            "artifact is not in canonical form (names sorted, metadata "
            f"{METADATA}); write it with rescind.core.encode"
        )
    return {name: tensors[name] for name in sorted(tensors)}
