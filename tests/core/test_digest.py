import json
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from rescind.core import (
    HIDING,
    HIDING_BOUND,
    HIDING_SHAPE,
    ZERO_DIGEST,
    Digest,
    DigestMalformed,
    check_delta,
    decode,
    digest,
    encode,
    hiding_block,
    is_hiding,
    l2_norm,
    weighted_sum,
)
from rescind.core.errors import ArtifactError
from rescind.core.hiding import HIDING_DEVIATION
from rescind.core.ring import (
    DEGREE,
    MODULUS,
    PRIMES,
    ROOTS,
    Matrix,
    blocks_of,
    matrix_key,
)

VECTORS = json.loads((Path(__file__).parent.parent / "vectors" / "linear_digest.json").read_text())

PATIENT = settings(deadline=None)
"""The first digest of a process may compile the kernels."""

int32s = st.integers(-(2**31), 2**31 - 1)
int64s = st.integers(-(2**63), 2**63 - 1)
rows = st.lists(int64s, min_size=5, max_size=5)
names = st.text(st.characters(codec="utf-8"), min_size=1, max_size=12)


@cache
def points(prime: int, root: int) -> np.ndarray:
    """Row i, column j: psi^((2i + 1) j)."""
    powers = np.array([pow(root, n, prime) for n in range(2 * DEGREE)], dtype=np.uint64)
    n = np.arange(DEGREE)
    return powers[np.outer(2 * n + 1, n) % (2 * DEGREE)]


def coefficients(values: np.ndarray, prime: int, root: int) -> np.ndarray:
    """The polynomial with these values: the inverse of `points`, by its definition."""
    inverse = points(prime, pow(root, -1, prime)).T
    sums = (inverse * values % np.uint64(prime)).sum(1) % np.uint64(prime)
    return sums * np.uint64(pow(DEGREE, -1, prime)) % np.uint64(prime)


def schoolbook(a: np.ndarray, x: list[int], prime: int) -> np.ndarray:
    """a x mod X^2048 + 1, one coefficient of x at a time."""
    total = np.zeros(DEGREE, dtype=np.uint64)
    for index, factor in enumerate(x):
        if factor % prime:
            shifted = np.roll(a, index)
            shifted[:index] = np.uint64(prime) - shifted[:index]
            total += shifted * np.uint64(factor % prime) % np.uint64(prime)
    return total % np.uint64(prime)


def reference(tensors: dict[str, np.ndarray]) -> Digest:
    residues = np.zeros((2, DEGREE), dtype=np.uint64)
    for row, (prime, root) in enumerate(zip(PRIMES, ROOTS, strict=True)):
        p = np.uint64(prime)
        for name, array in tensors.items():
            words = Matrix(name, array.shape).words(0, blocks_of(array.size))
            for k, block in enumerate(words):
                values = block[row * DEGREE : (row + 1) * DEGREE] % p
                x = array.reshape(-1)[k * DEGREE : (k + 1) * DEGREE].tolist()
                product = schoolbook(coefficients(values, prime, root), x, prime)
                residues[row] += (points(prime, root) * product % p).sum(1) % p
        residues[row] %= p
    return Digest.from_residues(residues)


def tensor(row: list[int], name: str = "w") -> dict[str, np.ndarray]:
    return {name: np.array(row, dtype=np.int64)}


def some(*shape: int, dtype: type = np.int32, seed: int = 0) -> np.ndarray:
    limits = np.iinfo(dtype)
    rng = np.random.default_rng(seed)
    return rng.integers(limits.min, limits.max, shape, dtype=dtype, endpoint=True)


def test_the_kernel_equals_schoolbook_multiplication() -> None:
    tensors = {
        "full": some(2, 1024),
        "padded": some(3, 700, dtype=np.int64),
        "few": np.array([-(2**63), 2**63 - 1, *PRIMES, -1], dtype=np.int64),
        "scalar": np.array(7, dtype=np.int32),
        "empty": np.zeros((0, 4), dtype=np.int32),
    }
    assert digest(tensors) == reference(tensors)


@pytest.mark.parametrize("case", VECTORS["cases"], ids=lambda case: case["name"])
def test_digests_of_the_golden_vectors_are_the_stored_ones(case) -> None:
    tensors = {
        name: np.array(value["values"], dtype=value["dtype"]).reshape(value["shape"])
        for name, value in case["tensors"].items()
    }
    wanted = Digest.from_bytes(bytes.fromhex(case["digest"]))
    assert digest(tensors) == wanted
    assert reference(tensors) == wanted


def test_the_ring_and_its_matrix_are_the_stored_ones() -> None:
    assert (VECTORS["n"], VECTORS["primes"], VECTORS["roots"]) == (
        DEGREE,
        list(PRIMES),
        list(ROOTS),
    )
    for prime, root in zip(PRIMES, ROOTS, strict=True):
        assert pow(root, DEGREE, prime) == prime - 1
    matrix = VECTORS["matrix"]
    assert matrix_key(matrix["name"], matrix["shape"]).hex() == matrix["key"]
    words = Matrix(matrix["name"], matrix["shape"]).words(1, 1)[0, :4]
    assert [str(word) for word in words] == matrix["first_words_of_block_1"]


@given(rows, rows, st.integers(), st.integers(-(2**200), 2**200))
@PATIENT
def test_the_digest_is_linear_for_any_integers(x, y, j: int, k: int) -> None:
    mixed = [(j * a + k * b) % MODULUS for a, b in zip(x, y, strict=True)]
    assert digest(tensor(mixed)) == j * digest(tensor(x)) + digest(tensor(y)) * k


@given(rows, rows)
@PATIENT
def test_subtracting_a_digest_adds_minus_one_times_it(x, y) -> None:
    first, other = digest(tensor(x)), digest(tensor(y))
    assert first - other == first + -1 * other == -(other - first)
    assert first - first == ZERO_DIGEST


@given(st.lists(st.lists(int32s, min_size=6, max_size=6), min_size=1, max_size=4))
@PATIENT
def test_the_digest_of_a_weighted_sum_is_the_sum_of_digests(deltas) -> None:
    weights = [10_000 // len(deltas) + n for n in range(len(deltas))]
    parts = [{f"o{n % 2}/w": np.array(row, dtype=np.int32)} for n, row in enumerate(deltas)]
    total = digest(weighted_sum(zip(parts, weights, strict=True)))
    expected = ZERO_DIGEST
    for part, weight in zip(parts, weights, strict=True):
        expected = expected + weight * digest(part)
    assert total == expected


@given(st.integers(0, 2 * 1500 - 1), st.integers(1, 2**31 - 1))
@example(0, PRIMES[0])
@example(2999, PRIMES[1])
@PATIENT
def test_a_change_of_any_value_changes_the_digest(index: int, step: int) -> None:
    """A digest is linear, so the difference is the digest of `step` at one index.

    Its residues are step x (a power of the root) x (a word of the matrix), modulo each prime.
    Modulo a prime that divides `step` all are zero: integers that differ by a prime are equal
    there. Modulo the other they are zero only where the word is, which is 1 in 2^31. No step below
    2^31 is a multiple of both primes.
    """
    changed = some(2, 1500).astype(np.int64)
    changed.reshape(-1)[index] += step
    difference = digest({"w": changed}) - digest({"w": some(2, 1500)})
    assert difference != ZERO_DIGEST
    for residues, prime in zip(difference.residues, PRIMES, strict=True):
        if step % prime:
            assert (residues != 0).mean() > 0.99
        else:
            assert not residues.any()


@given(st.dictionaries(names, st.lists(int32s, max_size=3), min_size=2, max_size=4), st.randoms())
@PATIENT
def test_the_order_of_tensors_does_not_matter(values, rng) -> None:
    tensors = {name: np.array(row, dtype=np.int32) for name, row in values.items()}
    shuffled = list(tensors.items())
    rng.shuffle(shuffled)
    assert digest(dict(shuffled)) == digest(tensors)


def test_names_shapes_and_positions_are_bound() -> None:
    values = np.array([[1, 2, 3], [4, 5, 6]], dtype=np.int32)
    variants = [
        {"w": values},
        {"v": values},
        {"0xaa/w": values},
        {"w": values.reshape(3, 2)},
        {"w": values.reshape(6)},
        {"w": values.reshape(1, 6)},
        {"w": values[::-1]},
        {"w": np.append(values.reshape(-1), 0)},
        {"w": np.append(0, values.reshape(-1)).astype(np.int32)},
        {"w": values.T.copy()},
        {"w": np.pad(values, ((0, 0), (0, 2045)))},
    ]
    assert len({digest(tensors) for tensors in variants}) == len(variants)
    assert digest({"a": values[0], "b": values[1]}) != digest({"b": values[0], "a": values[1]})


def test_the_block_of_a_value_changes_the_digest() -> None:
    unit = np.eye(3, 3 * DEGREE, dtype=np.int32)
    places = [np.roll(unit[0], DEGREE * block) for block in range(3)]
    assert len({digest({"w": values}) for values in places}) == 3


def test_dtype_and_memory_layout_are_not_bound() -> None:
    values = some(70, 90)
    wanted = digest({"w": values})
    readonly = values.copy()
    readonly.flags.writeable = False
    unaligned = np.frombuffer(b"x" + values.tobytes(), dtype=np.int32, offset=1).reshape(70, 90)
    fortran, wide = np.asfortranarray(values), values.astype(np.int64)
    for same in (fortran, wide, readonly, unaligned, np.repeat(values, 2, axis=1)[:, ::2]):
        assert digest({"w": same}) == wanted
    assert digest(decode(encode({"w": values}))) == wanted


def test_an_absent_tensor_has_the_digest_of_zeros() -> None:
    assert digest({}) == ZERO_DIGEST
    assert digest({"w": np.zeros((3, 4000), dtype=np.int64)}) == ZERO_DIGEST
    first, other = {"a/w": some(3)}, {"b/w": some(3, seed=1)}
    assert digest(first | other) == digest(first) + digest(other)


@pytest.mark.parametrize("dtype", [np.float32, np.int16, np.uint32, ">i4"])
def test_other_dtypes_are_refused(dtype) -> None:
    with pytest.raises(DigestMalformed, match="int32 or int64"):
        digest({"w": np.zeros(3, dtype=dtype)})


LAYERS = {f"layer{n}": some(40, 2100, seed=n) for n in range(4)}


def test_a_digest_is_the_same_in_every_thread() -> None:
    with ThreadPoolExecutor(3) as pool:
        assert set(pool.map(digest, [LAYERS] * 6)) == {digest(LAYERS)}


@pytest.mark.slow
def test_the_number_of_threads_does_not_change_the_digest() -> None:
    script = (
        "import sys, numpy as np; from rescind.core import digest\n"
        "rng = [np.random.default_rng(n) for n in range(4)]\n"
        "low, high, shape = -(2**31), 2**31 - 1, (40, 2100)\n"
        "draw = lambda d: d.integers(low, high, shape, dtype=np.int32, endpoint=True)\n"
        "print(digest({f'layer{n}': draw(d) for n, d in enumerate(rng)}).to_bytes().hex())"
    )
    for variable, count in (("OMP_NUM_THREADS", "1"), ("NUMBA_NUM_THREADS", "2")):
        environment = {k: v for k, v in os.environ.items() if not k.endswith("_NUM_THREADS")}
        command = [sys.executable, "-W", "error", "-c", script]
        out = subprocess.run(
            command, env=environment | {variable: count}, capture_output=True, text=True, check=True
        )
        assert out.stdout.strip() == digest(LAYERS).to_bytes().hex()


def test_bytes_round_trip_and_malformed_bytes_are_refused() -> None:
    whole = digest({"w": some(5)})
    assert Digest.from_bytes(whole.to_bytes()) == whole
    assert len(whole.to_bytes()) == 16384
    assert int.from_bytes(whole.to_bytes()[4:8], "big") == whole.residues[0, 1]
    assert int.from_bytes(whole.to_bytes()[8192:8196], "big") == whole.residues[1, 0]
    for wrong in (b"", whole.to_bytes()[:-1], whole.to_bytes() + b"\0"):
        with pytest.raises(DigestMalformed, match="16384 bytes"):
            Digest.from_bytes(wrong)
    for row, prime in enumerate(PRIMES):
        data = bytearray(whole.to_bytes())
        data[8192 * row : 8192 * row + 4] = (prime - 1).to_bytes(4, "big")
        Digest.from_bytes(data)
        data[8192 * row : 8192 * row + 4] = prime.to_bytes(4, "big")
        with pytest.raises(DigestMalformed, match=f"residue 0 is {prime}"):
            Digest.from_bytes(data)
    assert issubclass(DigestMalformed, ArtifactError)
    assert DigestMalformed.code == "artifact-digest-malformed"


def test_a_hiding_block_is_fresh_noise_within_its_bound() -> None:
    first, other = hiding_block(), hiding_block()
    assert first.shape == HIDING_SHAPE
    assert first.dtype == np.int32
    assert not np.array_equal(first, other)
    for block in (first, other):
        assert l2_norm({"h": block}) < HIDING_BOUND
        assert abs(block.std() / HIDING_DEVIATION - 1) < 0.05
        assert abs(block.mean() / HIDING_DEVIATION) < 0.06
    assert abs(np.corrcoef(first.reshape(-1), other.reshape(-1))[0, 1]) < 0.06


def test_a_hiding_block_of_a_seed_is_the_same_again() -> None:
    first, other = hiding_block(b"\x01" * 32), hiding_block(b"\x02" * 32)
    assert np.array_equal(first, hiding_block(b"\x01" * 32))
    assert not np.array_equal(first, other)
    assert abs(np.corrcoef(first.reshape(-1), other.reshape(-1))[0, 1]) < 0.06


def test_the_hiding_tensor_has_its_own_bound() -> None:
    shapes = {"o/w": (3,), f"o/{HIDING}": HIDING_SHAPE}
    delta = {"o/w": np.ones(3, dtype=np.int32), f"o/{HIDING}": hiding_block()}
    check_delta(delta, shapes, fraction_bits=8, clip_norm=1.0)
    too_much = delta | {f"o/{HIDING}": delta[f"o/{HIDING}"] * 2}
    with pytest.raises(ArtifactError, match="hiding tensor has L2 norm"):
        check_delta(too_much, shapes, fraction_bits=8, clip_norm=1.0)
    long = delta | {"o/w": np.full(3, 256, dtype=np.int32)}
    with pytest.raises(ArtifactError, match="consortium's bound"):
        check_delta(long, shapes, fraction_bits=8, clip_norm=1.0)
    assert is_hiding(HIDING)
    assert not is_hiding("o/layer.lora_B")
