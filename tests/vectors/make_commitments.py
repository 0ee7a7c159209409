"""Writes commitments.json: `python -m tests.vectors.make_commitments`."""

from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import numpy as np

from rescind.core import (
    INFINITY,
    ORDER,
    Digest,
    Opening,
    commit,
    commit_words,
    encode_openings,
    point_hash,
    sum_points,
)
from rescind.core._generators import DOMAIN, FILE_SHA256
from rescind.core.ring import PRIMES, WORDS

FILE = Path(__file__).with_name("commitments.json")
DIGESTS = json.loads(Path(__file__).with_name("linear_digest.json").read_text())["cases"]
OWNERS = (
    "0x00000000000000000000000000000000000000aa",
    "0x00000000000000000000000000000000000000bb",
)

RULES = {
    "generators": "generator i = hash_to_curve(u32(i), big-endian) of RFC 9380, suite "
    "BLS12381G1_XMD:SHA-256_SSWU_RO_, with the tag `domain`",
    "generators_sha256": "SHA-256 of all 4096 generators, each x then y as 48 big-endian bytes",
    "commitment": "sum of word i x generator i; words that are not listed are zero",
    "digest": "word i of a digest is its residue i: 2048 modulo the first prime, then 2048 modulo "
    "the second",
    "point": "128 bytes, EIP-2537: 16 zero bytes, x, 16 zero bytes, y; infinity is zeros",
    "hash": "keccak-256 of the point",
    "sums": "sum of coefficient x point; coefficients modulo the group's order",
    "opening": "sum of weight x word over an owner's digests, not reduced; one little-endian uint64 "
    "tensor [4096] for each owner in safetensors, owners sorted, metadata "
    '{"format": "rescind.opening/1"}; sha256 is that of the file',
}

# y^2 = x^3 + 4: (0, 2) has order 3, and (4, y) is on the curve but not in the subgroup.
_FIELD = int(
    "1a0111ea397fe69a4b1ba7b6434bacd764774b84f38512bf6730d2a0f6b0f6241eabfffeb153ffffb9feffffffffaaab",
    16,
)


def point(x: int, y: int) -> bytes:
    return x.to_bytes(64, "big") + y.to_bytes(64, "big")


def sparse(words: dict[int, int]) -> np.ndarray:
    result = np.zeros(WORDS, dtype=np.uint64)
    for index, word in words.items():
        result[index] = word
    return result


def words_of_cases() -> dict[str, dict[int, int]]:
    return {
        "zeros": {},
        "one at the first word": {0: 1},
        "one at the last word": {WORDS - 1: 1},
        "largest residues": {0: PRIMES[0] - 1, WORDS - 1: PRIMES[1] - 1},
        "64 bits": {0: 2**64 - 1, 1: 2**63, 2047: 2**32, 2048: 2**32 - 1, WORDS - 1: 2**64 - 1},
    }


def _points() -> list[bytes]:
    return [commit(Digest.from_bytes(bytes.fromhex(case["digest"]))) for case in DIGESTS]


def _sums() -> list[dict[str, Any]]:
    first, second, third = _points()
    sums: dict[str, list[tuple[bytes, int]]] = {
        "none": [],
        "weights": [(first, 3333), (second, 3334), (third, 3333)],
        "negative": [(first, 10_000), (second, -10_000)],
        "itself away": [(first, 1), (first, -1)],
        "the order": [(first, ORDER)],
        "infinity": [(INFINITY, 7), (first, 1)],
        "large": [(first, 2**255 + 19), (second, -(2**64))],
    }
    return [
        {
            "name": name,
            "terms": [
                {"point": term.hex(), "coefficient": str(coefficient)}
                for term, coefficient in terms
            ],
            "sum": sum_points(terms).hex(),
        }
        for name, terms in sums.items()
    ]


def invalid() -> dict[str, bytes]:
    valid = _points()[0]
    root = pow(4**3 + 4, (_FIELD + 1) // 4, _FIELD)
    return {
        "infinity": INFINITY,
        "order 3": point(0, 2),
        "outside the subgroup": point(4, root),
        "off the curve": point(1, 1),
        "x not reduced": point(int.from_bytes(valid[:64], "big") + _FIELD, 0)[:64] + valid[64:],
        "a bit in the padding": b"\x01" + valid[1:],
        "a flag of the compressed form": valid[:16] + bytes([valid[16] | 0x80]) + valid[17:],
        "127 bytes": valid[:-1],
        "129 bytes": valid + b"\0",
        "no bytes": b"",
    }


def _openings() -> dict[str, Any]:
    first, second, third = (Digest.from_bytes(bytes.fromhex(case["digest"])) for case in DIGESTS)
    terms = {OWNERS[0]: [(first, 10_000), (second, 10_000)], OWNERS[1]: [(third, 10_000)]}
    openings = [Opening.build(owner, own) for owner, own in terms.items()]
    names = {
        value: case["name"] for value, case in zip((first, second, third), DIGESTS, strict=True)
    }
    return {
        "owners": {
            owner: [{"digest": names[value], "weight": weight} for value, weight in own]
            for owner, own in terms.items()
        },
        "points": {opening.owner: opening.commitment.hex() for opening in openings},
        "sha256": hashlib.sha256(encode_openings(openings)).hexdigest(),
    }


def document() -> dict[str, Any]:
    generators = {i: commit_words(sparse({i: 1})).hex() for i in (0, 1, 2047, 2048, WORDS - 1)}
    return {
        "format": "rescind.commitment-vectors/1",
        "domain": DOMAIN.decode(),
        "order": hex(ORDER),
        "rules": RULES,
        "generators_sha256": FILE_SHA256,
        "generators": {str(index): value for index, value in generators.items()},
        "commitments": [
            {
                "name": name,
                "words": {str(index): str(word) for index, word in words.items()},
                "point": commit_words(sparse(words)).hex(),
                "hash": point_hash(commit_words(sparse(words))),
            }
            for name, words in words_of_cases().items()
        ],
        "digests": [
            {"digest": case["name"], "point": value.hex(), "hash": point_hash(value)}
            for case, value in zip(DIGESTS, _points(), strict=True)
        ],
        "sums": _sums(),
        "invalid": {name: value.hex() for name, value in invalid().items()},
        "opening": _openings(),
    }


if __name__ == "__main__":
    FILE.write_text(json.dumps(document(), indent=1) + "\n")
