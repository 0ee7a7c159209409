"""Sums by the kernels are those of Python's integers, whatever the sizes, dtypes and weights."""

import os
import weakref
from collections.abc import Iterator

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import SumOverflow, WrongShape, _sum_kernels, add_totals, weighted_sum

INT32 = st.sampled_from([-(2**31), -1, 0, 1, 2**31 - 1]) | st.integers(-(2**31), 2**31 - 1)
WEIGHTS = st.integers(-10_000, 10_000) | st.sampled_from([2**17, 2**17 + 1, -(2**25)])


@st.composite
def terms(draw: st.DrawFn) -> list[tuple[dict[str, np.ndarray], int]]:
    count, size = draw(st.integers(0, 19)), draw(st.integers(0, 9))
    rows = st.lists(INT32, min_size=size, max_size=size)
    return [
        ({"w": np.array(draw(rows), dtype=np.int32).reshape(1, size)}, draw(WEIGHTS))
        for _ in range(count)
    ]


def by_hand(given_terms: list[tuple[dict[str, np.ndarray], int]]) -> list[int]:
    rows = [[int(v) * weight for v in delta["w"].ravel()] for delta, weight in given_terms]
    return [sum(column) for column in zip(*rows, strict=True)]


@given(terms())
def test_a_list_and_a_stream_have_the_sum_of_pythons_integers(
    given_terms: list[tuple[dict[str, np.ndarray], int]],
) -> None:
    for summed in (weighted_sum(given_terms), weighted_sum(iter(given_terms))):
        if not given_terms:
            assert summed == {}
            continue
        assert summed["w"].dtype == np.int64
        assert summed["w"].shape == given_terms[0][0]["w"].shape
        assert summed["w"].ravel().tolist() == by_hand(given_terms)


@pytest.mark.parametrize("count", [1, 7, 8, 9, 16, 17])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_large_tensors_are_split_over_threads(
    count: int, threads: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("NUMBA_NUM_THREADS", threads)
    rng = np.random.default_rng(count)
    shapes = {"a": (_sum_kernels._PARALLEL_FROM // 16 + 3,), "b": (0, 4), "c": (512, 600), "d": ()}
    deltas = [
        {n: rng.integers(-(2**31), 2**31, s, dtype=np.int32) for n, s in shapes.items()}
        for _ in range(count)
    ]
    given_terms = [(delta, 10_000 - 3 * n) for n, delta in enumerate(deltas)]
    summed = weighted_sum(given_terms)
    for name, shape in shapes.items():
        expected = sum(np.asarray(d[name].astype(np.int64) * w) for d, w in given_terms)
        assert summed[name].shape == shape
        assert np.array_equal(summed[name], expected)


def test_int64_tensors_and_odd_memory_are_summed_too() -> None:
    wide = np.arange(24, dtype=np.int64).reshape(4, 6) * 2**40
    turned = np.arange(24, dtype=np.int32).reshape(6, 4).T
    unaligned = np.frombuffer(b"x" + turned.tobytes(), dtype=np.int32, offset=1).reshape(4, 6)
    summed = weighted_sum([({"w": wide}, 1), ({"w": turned}, -2), ({"w": unaligned}, 3)])
    assert np.array_equal(summed["w"], wide - 2 * turned.astype(np.int64) + 3 * unaligned)


def test_tensors_that_only_some_terms_have_are_kept() -> None:
    one, two = np.ones(2, dtype=np.int32), np.full(3, 2, dtype=np.int32)
    summed = weighted_sum([({"b": one}, 5), ({"a": two}, 7)])
    assert list(summed) == ["a", "b"]
    assert summed["a"].tolist() == [14] * 3


@pytest.mark.parametrize("stream", [False, True])
def test_the_largest_sum_that_fits_is_exact_and_the_next_is_refused(stream: bool) -> None:
    largest = np.array([2**63 - 1], dtype=np.int64)
    none, one = np.array([0], dtype=np.int64), np.array([1], dtype=np.int64)
    fits = [({"w": largest}, 1), ({"w": none}, 5)]
    assert weighted_sum(iter(fits) if stream else fits)["w"].tolist() == [2**63 - 1]
    too_large = [({"w": largest}, 1), ({"w": one}, -1)]
    with pytest.raises(SumOverflow, match="'w' may exceed 64 bits"):
        weighted_sum(iter(too_large) if stream else too_large)


def test_a_heavy_weight_is_refused_by_the_values_and_not_by_their_type() -> None:
    small = {"w": np.array([3, -3], dtype=np.int32)}
    assert weighted_sum([(small, 2**61 // 3)])["w"][1] == -3 * (2**61 // 3)
    with pytest.raises(SumOverflow):
        weighted_sum([(small, 2**62)])


def test_a_tensor_of_another_shape_is_refused() -> None:
    with pytest.raises(WrongShape, match="in one term and"):
        weighted_sum([({"w": np.zeros(2, np.int32)}, 1), ({"w": np.zeros((2, 1), np.int32)}, 1)])


def test_totals_add_up_without_changing_their_parts() -> None:
    parts = [{"w": np.array([1, 2])}, {"w": np.array([10, 20])}]
    assert add_totals(parts)["w"].tolist() == [11, 22]
    assert parts[0]["w"].tolist() == [1, 2]


def test_a_stream_holds_one_delta_at_a_time() -> None:
    alive: set[int] = set()
    most = [0]

    def stream() -> Iterator[tuple[dict[str, np.ndarray], int]]:
        for number in range(20):
            value = np.full(1000, number, dtype=np.int32)
            alive.add(number)
            weakref.finalize(value, alive.discard, number)
            most[0] = max(most[0], len(alive))
            yield {"w": value}, 1
            del value

    assert weighted_sum(stream())["w"][0] == sum(range(20))
    # One is summed while the next is made.
    assert most[0] <= 2


@pytest.mark.slow
def test_a_process_that_was_forked_can_sum() -> None:
    values = {"w": np.ones(2 * _sum_kernels._PARALLEL_FROM, dtype=np.int32)}
    weighted_sum([(values, 1)])
    child = os.fork()
    if not child:
        os._exit(int(weighted_sum([(values, 3)])["w"].sum() != 6 * _sum_kernels._PARALLEL_FROM))
    assert os.waitpid(child, 0)[1] == 0
