import json
from functools import cache
from hashlib import sha256
from pathlib import Path

import numpy as np
import pytest
from eth_hash.auto import keccak
from hypothesis import given, settings
from hypothesis import strategies as st
from py_ecc.bls.hash_to_curve import hash_to_G1
from py_ecc.optimized_bls12_381 import FQ, Z1, add, b, curve_order, is_on_curve, multiply, normalize

from rescind.core import (
    INFINITY,
    ORDER,
    POINT_BYTES,
    ZERO_DIGEST,
    Digest,
    PointMalformed,
    check_point,
    commit,
    commit_words,
    point_hash,
    sum_points,
)
from rescind.core import _generators as generators_module
from rescind.core._generators import (
    DOMAIN,
    FILE,
    FILE_SHA256,
    GeneratorsDamaged,
    derive,
    derive_all,
)
from rescind.core.errors import ArtifactError
from rescind.core.ring import PRIMES, WORDS

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "commitments.json").read_text())
DIGESTS = {
    case["name"]: Digest.from_bytes(bytes.fromhex(case["digest"]))
    for case in json.loads(
        (Path(__file__).parent.parent / "vectors" / "linear_digest.json").read_text()
    )["cases"]
}
FEW = settings(max_examples=15, deadline=None)
"""py_ecc takes milliseconds for each multiplication."""

words64 = st.integers(0, 2**64 - 1)
indices = st.integers(0, WORDS - 1)
sparse_words = st.dictionaries(indices, words64, max_size=4)
coefficients = st.integers(-(2**256), 2**256)
field_elements = st.integers(0, 2**381 - 1)


def decoded(point: bytes):
    """A point as py_ecc has it, read independently of the code under test."""
    x, y = int.from_bytes(point[:64], "big"), int.from_bytes(point[64:], "big")
    return Z1 if x == y == 0 else (FQ(x), FQ(y), FQ.one())


def encoded(point) -> bytes:
    x, y = normalize(point) if point[2] != FQ.zero() else (FQ(0), FQ(0))
    return int(x).to_bytes(64, "big") + int(y).to_bytes(64, "big")


def total(terms) -> bytes:
    """The weighted sum of points by py_ecc."""
    result = Z1
    for point, coefficient in terms:
        result = add(result, multiply(decoded(point), coefficient % curve_order))
    return encoded(result)


@cache
def generator(index: int):
    return hash_to_G1(index.to_bytes(4, "big"), DOMAIN, sha256)


def dense(words: dict[int, int]) -> np.ndarray:
    result = np.zeros(WORDS, dtype=np.uint64)
    for index, word in words.items():
        result[index] = word
    return result


def reference(words: dict[int, int]) -> bytes:
    """The commitment by its definition, in py_ecc."""
    result = Z1
    for index, word in words.items():
        result = add(result, multiply(generator(index), word))
    return encoded(result)


@pytest.mark.parametrize("index", VECTORS["generators"])
def test_generators_are_hash_to_curve_of_their_number(index) -> None:
    stored = bytes.fromhex(VECTORS["generators"][index])
    assert encoded(generator(int(index))) == stored
    assert derive(int(index)).to_xy_bytes_be() == stored[16:64] + stored[80:]
    assert commit_words(dense({int(index): 1})) == stored


def test_the_file_of_generators_has_the_published_hash() -> None:
    assert sha256(FILE.read_bytes()).hexdigest() == FILE_SHA256 == VECTORS["generators_sha256"]
    assert len(FILE.read_bytes()) == 96 * WORDS
    assert DOMAIN.decode() == VECTORS["domain"]


@pytest.mark.slow
def test_all_generators_can_be_derived_again() -> None:
    assert derive_all() == FILE.read_bytes()


def test_a_damaged_file_of_generators_is_refused(tmp_path, monkeypatch) -> None:
    damaged = tmp_path / "generators.bin"
    damaged.write_bytes(FILE.read_bytes()[:-1] + b"\0")
    monkeypatch.setattr(generators_module, "FILE", damaged)
    with pytest.raises(GeneratorsDamaged, match="reinstall"):
        generators_module.generators.__wrapped__()


def test_the_order_is_that_of_the_curve() -> None:
    assert ORDER == curve_order == int(VECTORS["order"], 16)


@pytest.mark.parametrize("case", VECTORS["commitments"], ids=lambda case: case["name"])
def test_commitments_of_the_golden_vectors_are_the_stored_ones(case) -> None:
    words = {int(index): int(word) for index, word in case["words"].items()}
    point = bytes.fromhex(case["point"])
    assert commit_words(dense(words)) == point == reference(words)
    assert point_hash(point) == case["hash"] == keccak(point).hex()


@pytest.mark.parametrize("case", VECTORS["digests"], ids=lambda case: case["digest"])
def test_commitments_of_golden_digests_are_the_stored_ones(case) -> None:
    point = commit(DIGESTS[case["digest"]])
    assert point.hex() == case["point"]
    assert point_hash(point) == case["hash"]
    check_point(point)


@pytest.mark.slow
def test_a_commitment_of_a_whole_digest_is_the_one_by_definition() -> None:
    """By py_ecc, bit by bit from the highest: 2 x total + the generators whose word has the bit."""
    points = [decoded(x[16:64].rjust(64, b"\0") + x[80:].rjust(64, b"\0")) for x in _all_points()]
    words = DIGESTS["two blocks"].residues.reshape(-1).tolist()
    result = Z1
    for bit in reversed(range(31)):
        result = add(result, result)
        for point, word in zip(points, words, strict=True):
            if word >> bit & 1:
                result = add(result, point)
    assert encoded(result) == commit(DIGESTS["two blocks"])


def _all_points() -> list[bytes]:
    data = FILE.read_bytes()
    halves = [data[start : start + 48] for start in range(0, len(data), 48)]
    return [bytes(16) + x + bytes(16) + y for x, y in zip(halves[::2], halves[1::2], strict=True)]


@pytest.mark.parametrize("case", VECTORS["sums"], ids=lambda case: case["name"])
def test_sums_of_the_golden_vectors_are_the_stored_ones(case) -> None:
    terms = [(bytes.fromhex(term["point"]), int(term["coefficient"])) for term in case["terms"]]
    assert sum_points(terms).hex() == case["sum"]
    assert total(terms).hex() == case["sum"]


@given(sparse_words)
@FEW
def test_a_commitment_is_the_sum_of_word_times_generator(words) -> None:
    assert commit_words(dense(words)) == reference(words)


@given(sparse_words, sparse_words, st.integers(0, 2**30), st.integers(0, 2**30))
@settings(max_examples=40, deadline=None)
def test_commitments_are_additive_over_the_integers(first, second, j, k) -> None:
    small = [{i: w >> 32 for i, w in words.items()} for words in (first, second)]
    points = [commit_words(dense(words)) for words in small]
    mixed = np.uint64(j) * dense(small[0]) + np.uint64(k) * dense(small[1])
    assert sum_points([(points[0], j), (points[1], k)]) == commit_words(mixed)


@given(st.lists(st.tuples(sparse_words, coefficients), max_size=4))
@FEW
def test_weighted_sums_are_those_of_py_ecc(terms) -> None:
    points = [(commit_words(dense(words)), coefficient) for words, coefficient in terms]
    assert sum_points(points) == total(points)


@given(sparse_words, sparse_words, st.integers(1, 2**64))
@FEW
def test_a_negative_coefficient_takes_away_what_a_positive_one_added(first, second, weight) -> None:
    kept, removed = commit_words(dense(first)), commit_words(dense(second))
    both = sum_points([(kept, weight), (removed, weight)])
    assert sum_points([(both, 1), (removed, -weight)]) == sum_points([(kept, weight)])
    assert sum_points([(removed, weight), (removed, -weight)]) == INFINITY
    assert sum_points([(removed, -weight)]) == sum_points([(removed, ORDER - weight)])


@given(st.lists(st.integers(0, 5), min_size=1, max_size=8), st.randoms())
@FEW
def test_the_order_of_terms_does_not_matter(weights, rng) -> None:
    points = [bytes.fromhex(case["point"]) for case in VECTORS["digests"]]
    terms = [(points[n % len(points)], weight) for n, weight in enumerate(weights)]
    shuffled = list(terms)
    rng.shuffle(shuffled)
    assert sum_points(shuffled) == sum_points(terms)


def test_the_commitment_of_zeros_is_infinity() -> None:
    assert commit(ZERO_DIGEST) == INFINITY == bytes(POINT_BYTES)
    assert sum_points([]) == INFINITY
    # Curve.sol has this constant.
    assert point_hash(INFINITY).startswith("012893657d8eb2ef")


def test_digests_that_differ_in_one_residue_have_different_commitments() -> None:
    residues = np.zeros((2, WORDS // 2), dtype=np.uint32)
    points = set()
    for row, column in ((0, 0), (0, 1), (1, 0), (1, WORDS // 2 - 1)):
        for value in (1, PRIMES[row] - 1):
            changed = residues.copy()
            changed[row, column] = value
            points.add(commit(Digest.from_residues(changed)))
    assert len(points) == 8


@pytest.mark.parametrize("name", VECTORS["invalid"])
def test_an_invalid_point_is_refused(name) -> None:
    with pytest.raises(PointMalformed):
        check_point(bytes.fromhex(VECTORS["invalid"][name]))


@pytest.mark.parametrize(
    ("name", "words"),
    [
        ("infinity", "is infinity"),
        ("order 3", "not in the subgroup"),
        ("outside the subgroup", "not in the subgroup"),
        ("off the curve", "not on the curve"),
        ("x not reduced", "coordinate x"),
        ("127 bytes", "has 127"),
    ],
)
def test_the_error_says_what_is_wrong_with_a_point(name, words) -> None:
    assert issubclass(PointMalformed, ArtifactError)
    with pytest.raises(PointMalformed, match=words):
        check_point(bytes.fromhex(VECTORS["invalid"][name]))


@given(field_elements)
@FEW
def test_a_point_of_the_curve_is_accepted_if_it_has_the_groups_order(x) -> None:
    """Almost no point of the curve is in the subgroup: its cofactor is about 2^125."""
    square = FQ(x) ** 3 + b
    root = square ** ((FQ.field_modulus + 1) // 4)
    if root * root != square or int(FQ(x)) != x:
        with pytest.raises(PointMalformed):
            check_point(x.to_bytes(64, "big") + int(root).to_bytes(64, "big"))
        return
    point = (FQ(x), root, FQ.one())
    assert is_on_curve(point, b)
    with pytest.raises(PointMalformed, match="not in the subgroup"):
        check_point(encoded(point))
    cleared = encoded(multiply(point, 0xD201000000010001))  # 1 - the curve's parameter (RFC 9380)
    if cleared != INFINITY:  # (0, 2) has order 3.
        check_point(cleared)


@given(sparse_words.filter(lambda words: any(words.values())), st.integers(0, 8 * POINT_BYTES - 1))
@settings(max_examples=40, deadline=None)
def test_a_commitment_with_a_flipped_bit_is_refused(words, bit) -> None:
    point = commit_words(dense(words))
    check_point(point)
    flipped = (int.from_bytes(point, "big") ^ 1 << bit).to_bytes(POINT_BYTES, "big")
    with pytest.raises(PointMalformed):
        check_point(flipped)


def test_sums_refuse_points_off_the_curve_and_accept_infinity() -> None:
    valid = bytes.fromhex(VECTORS["digests"][0]["point"])
    assert sum_points([(INFINITY, 5), (valid, 1)]) == valid
    for name in ("off the curve", "x not reduced", "127 bytes", "a bit in the padding"):
        with pytest.raises(PointMalformed):
            sum_points([(valid, 1), (bytes.fromhex(VECTORS["invalid"][name]), 1)])


@pytest.mark.parametrize(
    "words",
    [
        np.zeros(WORDS - 1, dtype=np.uint64),
        np.zeros((2, WORDS // 2), dtype=np.uint64),
        np.zeros(WORDS, dtype=np.int64),
        np.zeros(WORDS, dtype=np.float64),
    ],
)
def test_only_4096_unsigned_words_can_be_committed_to(words) -> None:
    with pytest.raises(PointMalformed, match="4096 unsigned words"):
        commit_words(words)
