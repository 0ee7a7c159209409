import hashlib
import json
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.core import (
    INFINITY,
    OPENING_BYTES,
    SHARED,
    ZERO_DIGEST,
    Digest,
    Opening,
    OpeningMalformed,
    OpeningMismatch,
    OpeningOutOfRange,
    OutOfBounds,
    PointMalformed,
    WrongShape,
    check_opened,
    commit,
    commit_at_once,
    decode_openings,
    digest,
    encode,
    encode_openings,
    sum_points,
    weighted_sum,
)
from rescind.core.errors import ArtifactError
from rescind.core.ring import PRIMES, WORDS

VECTORS = Path(__file__).parent.parent / "vectors"
COMMITMENTS = json.loads((VECTORS / "commitments.json").read_text())
DIGESTS = {
    case["name"]: Digest.from_bytes(bytes.fromhex(case["digest"]))
    for case in json.loads((VECTORS / "linear_digest.json").read_text())["cases"]
}
A, B = (f"0x{'0' * 38}{end}" for end in ("aa", "bb"))
SHAPES = {"layer.lora_A": (2, 3), "layer.lora_B": (3, 2)}
BOUND = 1e7
PATIENT = settings(max_examples=10, deadline=None)


def delta(owner: str, seed: int) -> dict[str, np.ndarray]:
    rng = np.random.default_rng(seed)
    return {
        f"{owner}/{name}": rng.integers(-9, 10, shape, dtype=np.int32)
        for name, shape in SHAPES.items()
    }


class Contributions:
    """Contributions of one owner: what it registered, and what a holder of the model gets."""

    def __init__(self, owner: str, weights: list[int], seed: int = 0) -> None:
        deltas = [delta(owner, seed + n) for n in range(len(weights))]
        digests = [digest(own) for own in deltas]
        self.tensors = weighted_sum(zip(deltas, weights, strict=True))
        self.opening = Opening.build(owner, zip(digests, weights, strict=True))
        self.terms = list(zip(map(commit, digests), weights, strict=True))

    def check(self, **changes) -> None:
        opening = changes.pop("opening", self.opening)
        tensors = changes.pop("tensors", self.tensors)
        agreed = {"terms": self.terms, "shapes": SHAPES, "norm_bound": BOUND}
        check_opened(opening, tensors, **{**agreed, **changes})


@given(st.lists(st.integers(0, 10_000), min_size=1, max_size=4), st.integers(0, 99))
@PATIENT
def test_a_weighted_sum_opens_to_the_points_of_its_terms(weights, seed) -> None:
    owner = Contributions(A, weights, seed)
    assert owner.opening.digest == digest(owner.tensors)
    assert owner.opening.commitment == sum_points(owner.terms)
    owner.check()


def test_a_shared_sum_opens_to_the_points_of_all_members() -> None:
    Contributions(SHARED, [3333, 3333, 3333, 10_000]).check()


@given(st.integers(0, 5), st.sampled_from([-1, 1, PRIMES[0], -PRIMES[1]]))
@PATIENT
def test_tensors_that_differ_in_one_integer_are_refused(index, step) -> None:
    owner = Contributions(A, [10_000, 10_000])
    changed = {name: value.copy() for name, value in owner.tensors.items()}
    changed[f"{A}/layer.lora_B"].reshape(-1)[index] += step
    with pytest.raises(OpeningMismatch, match=f"tensors of {A} are not what its opening"):
        owner.check(tensors=changed, norm_bound=2.0**60)


def test_tensors_that_are_too_long_are_refused_though_their_digest_is_right() -> None:
    """Adding the product of both primes changes no residue: only the norm tells them apart."""
    owner = Contributions(A, [10_000])
    long = {name: value.copy() for name, value in owner.tensors.items()}
    long[f"{A}/layer.lora_B"][0, 0] += PRIMES[0] * PRIMES[1]
    assert digest(long) == digest(owner.tensors)
    with pytest.raises(OutOfBounds, match=f"{A} have L2 norm"):
        owner.check(tensors=long)


def test_points_of_other_contributions_are_refused() -> None:
    owner, other = Contributions(A, [10_000, 10_000]), Contributions(A, [10_000, 10_000], seed=9)
    with pytest.raises(OpeningMismatch, match="another commitment"):
        owner.check(terms=other.terms)
    with pytest.raises(OpeningMismatch, match="another commitment"):
        owner.check(terms=[*owner.terms, *other.terms])
    with pytest.raises(OpeningMismatch, match="another commitment"):
        owner.check(terms=[(point, weight + 1) for point, weight in owner.terms])
    with pytest.raises(PointMalformed, match="not on the curve"):
        owner.check(terms=[(bytes.fromhex(COMMITMENTS["invalid"]["off the curve"]), 20_000)])


def test_an_opening_that_reduces_right_but_was_not_summed_is_refused() -> None:
    """Adding a prime to a word leaves the digest as it is, but not the commitment."""
    owner = Contributions(A, [10_000])
    words = owner.opening.words
    words[0] += PRIMES[0]
    forged = Opening.from_words(A, words)
    assert forged.digest == owner.opening.digest
    with pytest.raises(OpeningMismatch, match="another commitment"):
        owner.check(opening=forged)


def test_a_point_that_commits_to_no_digest_does_not_open() -> None:
    """A member registers the point of words that no short tensors have as their digest."""
    owner = Contributions(A, [10_000])
    garbage = np.arange(WORDS, dtype=np.uint64)
    opening = Opening.from_words(A, garbage * np.uint64(10_000))
    point = Opening.from_words(A, garbage).commitment
    opening.check_point(sum_points([(point, 10_000)]))
    with pytest.raises(OpeningMismatch, match="not what its opening opens to"):
        owner.check(opening=opening, terms=[(point, 10_000)])


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda t: {**t, f"{B}/layer.lora_A": t[f"{A}/layer.lora_A"]}, f"belongs to {B}"),
        (lambda t: {f"{A}/layer.lora_A": t[f"{A}/layer.lora_A"]}, "missing.*lora_B"),
        (lambda t: {**t, f"{A}/other": t[f"{A}/layer.lora_A"]}, "unexpected.*other"),
        (lambda t: {n: v.astype(np.int32) for n, v in t.items()}, "dtype int32"),
        (lambda t: {n: v.reshape(-1) for n, v in t.items()}, r"shape \(6,\)"),
    ],
)
def test_tensors_of_another_form_are_refused(change, words) -> None:
    owner = Contributions(A, [10_000])
    with pytest.raises(WrongShape, match=words):
        owner.check(tensors=change(owner.tensors))


def test_owners_are_judged_alone() -> None:
    """A garbage point of one owner does not touch what another's tensors open to."""
    good, bad = Contributions(A, [10_000]), Contributions(B, [10_000])
    bad.terms = [(good.terms[0][0], 10_000)]
    good.check()
    with pytest.raises(OpeningMismatch, match=B):
        bad.check()


OWNERS = [f"0x{n:040x}" for n in range(12)]


@pytest.fixture(scope="module")
def many() -> list[Contributions]:
    return [Contributions(owner, [10_000], seed=n) for n, owner in enumerate(OWNERS)]


def at_once(owners: list[Contributions], openings: dict[int, Opening]) -> list[bool]:
    """Return for each opening if it has its owner's point, after all were looked at together."""
    fresh = [
        openings.get(n) or Opening(own.opening.owner, own.opening.data)
        for n, own in enumerate(owners)
    ]
    points = [sum_points(own.terms) for own in owners]
    commit_at_once(list(zip(fresh, points, strict=True)))
    for opening in fresh:
        assert "commitment" in opening.__dict__
        assert opening.commitment == Opening(opening.owner, opening.data).commitment
    return [opening.commitment == point for opening, point in zip(fresh, points, strict=True)]


@pytest.mark.parametrize("count", [0, 1, 4, 5, 12])
def test_commitments_are_the_same_at_once_as_one_by_one(many, count: int) -> None:
    assert at_once(many[:count], {}) == [True] * count


@pytest.mark.parametrize("place", [0, 7, 11])
def test_a_wrong_opening_among_many_is_noticed(many, place: int) -> None:
    words = many[place].opening.words
    words[7] ^= np.uint64(1)
    changed = {place: Opening.from_words(OWNERS[place], words)}
    assert at_once(many, changed) == [n != place for n in range(12)]


def test_errors_that_cancel_in_a_plain_sum_are_noticed(many) -> None:
    up, down = many[0].opening.words, many[1].opening.words
    up[0] += np.uint64(1)
    down[0] -= np.uint64(1)
    changed = {n: Opening.from_words(OWNERS[n], words) for n, words in enumerate((up, down))}
    assert at_once(many, changed) == [False, False] + [True] * 10


def test_openings_that_changed_places_are_noticed(many) -> None:
    changed = {n: Opening(OWNERS[n], many[5 - n].opening.data) for n in (2, 3)}
    assert at_once(many, changed) == [n not in (2, 3) for n in range(12)]


def test_a_word_beyond_its_bound_is_refused() -> None:
    limits = np.repeat(np.array([10_000 * (prime - 1) for prime in PRIMES], dtype=np.uint64), 2048)
    Opening.from_words(A, limits).check_bound(10_000)
    for index in (0, 2047, 2048, WORDS - 1):
        words = limits.copy()
        words[index] += np.uint64(1)
        with pytest.raises(OpeningOutOfRange, match=rf"word {index} in the opening of {A}.*10000"):
            Opening.from_words(A, words).check_bound(10_000)
    highest = Opening.from_words(A, np.full(WORDS, 2**64 - 1, dtype=np.uint64))
    highest.check_bound(2**40)
    with pytest.raises(OpeningOutOfRange):
        Contributions(A, [10_000]).check(opening=highest)


def test_sums_that_do_not_fit_64_bits_are_refused() -> None:
    most = (2**64 - 1) // (max(PRIMES) - 1)
    residues = np.repeat(np.array(PRIMES, dtype=np.uint32)[:, None] - 1, WORDS // 2, axis=1)
    largest = Digest.from_residues(residues)
    opening = Opening.build(A, [(largest, most)])
    assert opening.words.tolist() == [most * (p - 1) for p in PRIMES for _ in range(WORDS // 2)]
    assert opening.digest == most * largest
    assert opening.commitment == sum_points([(commit(largest), most)])
    with pytest.raises(OpeningOutOfRange, match=f"weights of {A} come to {most + 1}"):
        Opening.build(A, [(largest, most), (ZERO_DIGEST, 1)])
    with pytest.raises(OpeningOutOfRange, match="weight -1"):
        Opening.build(A, [(largest, -1)])


def test_no_contributions_open_to_infinity() -> None:
    nothing = Opening.build(A, [])
    assert nothing.commitment == INFINITY == sum_points([])
    assert nothing.digest == ZERO_DIGEST
    nothing.check_bound(0)


@given(st.sets(st.sampled_from([A, B, SHARED]), max_size=3), st.randoms())
@PATIENT
def test_bytes_round_trip_in_any_order(owners, rng) -> None:
    openings = [
        Opening.from_words(owner, np.arange(WORDS, dtype=np.uint64) << np.uint64(n))
        for n, owner in enumerate(sorted(owners))
    ]
    shuffled = list(openings)
    rng.shuffle(shuffled)
    data = encode_openings(shuffled)
    assert data == encode_openings(openings)
    assert list(decode_openings(data).values()) == openings


def _saved(tensors, metadata=("format", "rescind.opening/1")) -> bytes:
    return safetensors.numpy.save(tensors, metadata=dict([metadata]))


@pytest.mark.parametrize(
    ("data", "words"),
    [
        (b"", "not a file of openings"),
        (b"\xff" * 64, "not a file of openings"),
        (_saved({A: np.zeros(WORDS - 1, dtype=np.uint64)}), r"shape \(4095,\)"),
        (_saved({A: np.zeros(WORDS, dtype=np.int64)}), "dtype int64"),
        (_saved({A: np.zeros((2, 2048), dtype=np.uint64)}), r"shape \(2, 2048\)"),
        (_saved({f"{A}/x": np.zeros(WORDS, dtype=np.uint64)}), "cannot own an opening"),
        (_saved({A: np.zeros(WORDS, dtype=np.uint64)}, ("format", "x")), "canonical form"),
        (encode({"w": np.zeros(WORDS, dtype=np.int64)}), "dtype int64"),
    ],
)
def test_other_bytes_are_refused(data, words) -> None:
    with pytest.raises(OpeningMalformed, match=words):
        decode_openings(data)


def test_a_file_with_one_more_byte_is_refused() -> None:
    data = encode_openings([Opening.build(A, [])])
    with pytest.raises(OpeningMalformed):
        decode_openings(data + b"\0")
    with pytest.raises(OpeningMalformed, match="at most 100"):
        decode_openings(data, max_bytes=100)


def test_malformed_openings_are_refused() -> None:
    assert issubclass(OpeningMalformed, ArtifactError)
    with pytest.raises(OpeningMalformed, match=f"has 8 bytes, not {OPENING_BYTES}"):
        Opening(A, bytes(8))
    for owner in ("", "a/b", "__metadata__"):
        with pytest.raises(OpeningMalformed, match="cannot own an opening"):
            Opening(owner, bytes(OPENING_BYTES))
    with pytest.raises(OpeningMalformed, match=f"two openings of {A}"):
        encode_openings([Opening.build(A, []), Opening.build(A, [])])


def test_the_golden_opening_has_the_stored_bytes_and_points() -> None:
    golden = COMMITMENTS["opening"]
    openings = [
        Opening.build(owner, [(DIGESTS[term["digest"]], term["weight"]) for term in terms])
        for owner, terms in golden["owners"].items()
    ]
    assert hashlib.sha256(encode_openings(openings)).hexdigest() == golden["sha256"]
    assert {opening.owner: opening.commitment.hex() for opening in openings} == golden["points"]
