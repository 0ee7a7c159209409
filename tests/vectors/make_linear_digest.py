"""Writes linear_digest.json: `python -m tests.vectors.make_linear_digest`."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np

from rescind.core import Digest, digest
from rescind.core.ring import (
    DEGREE,
    DOMAIN,
    PRIMES,
    ROOTS,
    Matrix,
    matrix_key,
)

FILE = Path(__file__).with_name("linear_digest.json")
OWNER = "0x00000000000000000000000000000000000000aa"

RULES = {
    "ring": "Z_q[X]/(X^n + 1), q = primes[0] * primes[1]",
    "slots": "residue i mod primes[r] is the value of the polynomial at roots[r]^(2i + 1)",
    "key": "SHA-256(seed || 00 || u32(bytes of name) || name in UTF-8 || u32(dimensions) || "
    "u64(each dimension)), integers big-endian",
    "keystream": "AES-256-CTR under the key, 128-bit big-endian counter from 0, of zeros",
    "matrix": "word w of block k is bytes 8(4096k + w) .. 8(4096k + w) + 8 of the keystream, "
    "little-endian; words 0..2047 mod primes[0] and 2048..4095 mod primes[1] are the values of a_k",
    "blocks": "a tensor row-major, zero-padded to a multiple of n; value j of block k is the "
    "coefficient of X^j of x_k",
    "digest": "sum over all tensors and blocks of a_k x_k, slot by slot",
    "bytes": "2048 residues mod primes[0], then 2048 mod primes[1], each big-endian uint32",
}


def arrays(tensors: dict[str, dict[str, Any]]) -> dict[str, np.ndarray]:
    return {
        name: np.array(tensor["values"], dtype=tensor["dtype"]).reshape(tensor["shape"])
        for name, tensor in tensors.items()
    }


def _tensor(dtype: str, shape: list[int], values: list[int]) -> dict[str, Any]:
    return {"dtype": dtype, "shape": shape, "values": values}


def inputs() -> dict[str, dict[str, dict[str, Any]]]:
    ends32, ends64 = [-(2**31), 2**31 - 1], [-(2**63), 2**63 - 1]
    ramp = [(37 * n * n - 1000 * n) % 2001 - 1000 for n in range(2 * 1030)]
    return {
        "one": {"w": _tensor("int32", [1], [1])},
        "ends of the range": {
            f"{OWNER}/layer.lora_A": _tensor("int32", [2, 3], [*ends32, 0, 1, -1, 2]),
            f"{OWNER}/layer.lora_B": _tensor("int64", [3, 2], [*ends64, *PRIMES, -7, 2**40]),
        },
        "two blocks": {"shared/layer.lora_B": _tensor("int32", [2, 1030], ramp)},
    }


def _case(name: str, tensors: dict[str, dict[str, Any]]) -> dict[str, Any]:
    result: Digest = digest(arrays(tensors))
    return {
        "name": name,
        "tensors": tensors,
        "digest": result.to_bytes().hex(),
    }


def document() -> dict[str, Any]:
    return {
        "format": "rescind.linear-digest-vectors/1",
        "n": DEGREE,
        "primes": list(PRIMES),
        "roots": list(ROOTS),
        "seed": DOMAIN.decode(),
        "rules": RULES,
        "matrix": {
            "name": "w",
            "shape": [1],
            "key": matrix_key("w", (1,)).hex(),
            "first_words_of_block_1": [str(w) for w in Matrix("w", (1,)).words(1, 1)[0, :4]],
        },
        "cases": [_case(name, tensors) for name, tensors in inputs().items()],
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1) + "\n")
