import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.aggregator.krum import (
    Krum,
    MultiKrum,
    TooFewUpdates,
    WeightRule,
)
from rescind.aggregator.research_rules import (
    CoordinateMedian,
    NormClipping,
    NotCheckable,
    TrimmedMean,
    require_checkable,
)
from rescind.core import (
    HIDING,
    WrongShape,
    digest,
    weighted_sum,
)
from rescind.core.errors import ConfigError

BITS = 16
ADDRESSES = [f"0x{index + 1:040x}" for index in range(20)]


def round_of(seed: int, honest: int, bad: list[np.ndarray], size: int = 30) -> dict:
    """Honest updates lie around one direction; the bad ones have the highest addresses."""
    rng = np.random.default_rng(seed)
    centre = rng.normal(0, 1, size)
    rows = [centre + rng.normal(0, 0.3, size) for _ in range(honest)] + bad
    return {
        organization: {"shared/w": np.rint(row * 2**BITS).astype(np.int32)}
        for organization, row in zip(ADDRESSES, rows, strict=False)
    }


def attacks(seed: int, kind: str, count: int, size: int = 30) -> list[np.ndarray]:
    rng = np.random.default_rng(seed + 100)
    if kind == "noise":
        return [rng.normal(0, 20, size) for _ in range(count)]
    if kind == "far and all alike":
        return [np.full(size, 50.0)] * count
    return [-10 * np.random.default_rng(seed).normal(0, 1, size) for _ in range(count)]


KINDS = ["noise", "far and all alike", "sign flipped"]


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("seed", range(5))
def test_krum_selects_an_honest_update_against_f_bad_of_2f_plus_3(kind, seed) -> None:
    for bad in (1, 3, 6):
        honest = bad + 3
        selection = Krum(bad).select(round_of(seed, honest, attacks(seed, kind, bad)))
        [chosen] = selection.weights
        assert chosen in ADDRESSES[:honest]
        assert selection.weights[chosen] == 10_000
        assert len(selection.left_out) == 2 * bad + 2


@pytest.mark.parametrize("kind", KINDS)
def test_multi_krum_averages_honest_updates_only(kind) -> None:
    deltas = round_of(1, 9, attacks(1, kind, 3))
    selection = MultiKrum(3).select(deltas)
    assert len(selection.weights) == 12 - 3 - 2
    assert set(selection.weights) <= set(ADDRESSES[:9])
    assert set(selection.weights.values()) == {10_000 // (12 - 3 - 2)}


def test_krum_score_is_the_sum_over_the_nearest_others() -> None:
    deltas = {
        organization: {"w": np.array([x], dtype=np.int32)}
        for organization, x in zip("abcde", (0, 1, 3, 7, 90), strict=True)
    }
    selection = Krum(1).select(deltas)
    assert selection.measure == {
        "a": 1 + 9,
        "b": 1 + 4,
        "c": 4 + 9,
        "d": 16 + 36,
        "e": 83**2 + 87**2,
    }
    assert selection.weights == {"b": 10_000}


def test_ties_go_to_the_lowest_address_and_order_does_not_matter() -> None:
    deltas = {organization: {"w": np.ones(2, dtype=np.int32)} for organization in ADDRESSES[:5]}
    assert list(Krum(1).select(deltas).weights) == [ADDRESSES[0]]
    assert Krum(1).select(dict(reversed(deltas.items()))) == Krum(1).select(deltas)


extreme = st.lists(st.integers(-(2**31) + 1, 2**31 - 1), min_size=3, max_size=3)


@given(st.lists(extreme, min_size=5, max_size=5))
def test_distances_are_exact_over_the_whole_range_of_32_bits(rows) -> None:
    deltas = {
        organization: {"w": np.array(row, np.int32)}
        for organization, row in zip("abcde", rows, strict=True)
    }
    measure = MultiKrum(1).select(deltas).measure
    for index, organization in enumerate("abcde"):
        squares = sorted(
            sum((x - y) ** 2 for x, y in zip(rows[index], other, strict=True))
            for n, other in enumerate(rows)
            if n != index
        )
        assert measure[organization] == sum(squares[:2])


def test_a_round_with_too_few_updates_is_refused() -> None:
    with pytest.raises(TooFewUpdates, match="needs at least 7, the round has 6"):
        Krum(2).select(round_of(0, 6, []))
    with pytest.raises(ConfigError, match="keep 1 to 4"):
        MultiKrum(1, kept=5).select(round_of(0, 5, []))
    with pytest.raises(TooFewUpdates):
        TrimmedMean(2).combine(round_of(0, 4, []))
    with pytest.raises(TooFewUpdates):
        CoordinateMedian().combine({})
    with pytest.raises(TooFewUpdates):
        NormClipping(BITS).select({})


def test_updates_of_different_blocks_are_refused() -> None:
    deltas = {
        organization: {f"{organization}/w": np.ones(2, dtype=np.int32)}
        for organization in ADDRESSES[:5]
    }
    for rule in (Krum(1), NormClipping(BITS), CoordinateMedian(), TrimmedMean(1)):
        with pytest.raises(WrongShape, match="only in a shared layout"):
            rule.combine(deltas)


# norm clipping


def test_no_term_is_longer_than_share_times_bound() -> None:
    deltas = round_of(3, 6, [np.full(30, 400.0), np.full(30, 1e4)])
    selection = NormClipping(BITS, bound=5.0).select(deltas)
    for organization, weight in selection.weights.items():
        norm = float(np.linalg.norm(deltas[organization]["shared/w"].astype(float))) / 2**BITS
        assert weight * norm <= 1_250 * 5.0
        assert (weight == 1_250) == (norm <= 5.0)
        assert (weight + 1) * norm > 1_250 * 5.0 or weight == 1_250
    assert sum(selection.weights.values()) < 10_000


def test_a_huge_update_does_not_change_the_weights_of_others() -> None:
    calm = NormClipping(BITS, bound=8.0).select(round_of(4, 5, []))
    for size in (1.0, 1e3, 3e4):
        deltas = round_of(4, 4, [np.full(30, size)])
        hit = NormClipping(BITS, bound=8.0).select(deltas).weights
        assert [hit[organization] for organization in ADDRESSES[:4]] == [
            calm.weights[organization] for organization in ADDRESSES[:4]
        ]


def test_an_update_clipped_to_zero_weight_is_left_out() -> None:
    deltas = round_of(5, 4, [np.full(30, 3e4)])
    selection = NormClipping(BITS, bound=1.0).select(deltas)
    assert selection.left_out == (ADDRESSES[4],)


def test_the_default_bound_is_the_median_norm() -> None:
    selection = NormClipping(BITS).select(round_of(6, 5, [np.full(30, 1e3)] * 2))
    assert sum(weight in (1_428, 1_429) for weight in selection.weights.values()) == 4


def test_noise_that_hides_digests_does_not_count() -> None:
    deltas = round_of(7, 5, [])
    noisy = {
        organization: delta
        | {f"shared/{HIDING}": np.full((8, 2048), 2**20 * index, dtype=np.int32)}
        for index, (organization, delta) in enumerate(deltas.items())
    }
    for rule in (Krum(1), NormClipping(BITS, bound=1.0)):
        assert rule.select(noisy) == rule.select(deltas)


# what the contract can check


@pytest.mark.parametrize(
    "rule", [Krum(2), MultiKrum(2), NormClipping(BITS, bound=5.0)], ids=lambda rule: rule.name
)
def test_a_selection_is_a_weighted_sum_that_digests_check(rule) -> None:
    deltas = round_of(8, 6, attacks(8, "noise", 2))
    chosen = require_checkable(rule).select(deltas).weights
    total = digest({"shared/w": np.zeros(30, dtype=np.int32)})
    for organization, weight in chosen.items():
        total = total + weight * digest(deltas[organization])
    assert digest(rule.combine(deltas)) == total


@pytest.mark.parametrize("rule", [TrimmedMean(2), CoordinateMedian()], ids=lambda rule: rule.name)
def test_statistics_by_coordinate_are_not_checkable(rule) -> None:
    assert not isinstance(rule, WeightRule)
    with pytest.raises(NotCheckable, match="does not compute a weighted sum"):
        require_checkable(rule)


@pytest.mark.parametrize(
    "rule", [Krum(1), MultiKrum(1), NormClipping(BITS)], ids=lambda rule: rule.name
)
def test_the_rule_can_be_applied_to_the_remaining_organizations(rule) -> None:
    deltas = round_of(9, 6, attacks(9, "noise", 1))
    [removed, *_] = rule.select(deltas).weights
    never = {
        organization: delta for organization, delta in deltas.items() if organization != removed
    }
    selection = rule.select(never)
    assert removed not in selection.weights
    total = weighted_sum(
        (never[organization], weight) for organization, weight in selection.weights.items()
    )
    assert np.array_equal(total["shared/w"], rule.combine(never)["shared/w"])


# median and trimmed mean


@given(st.lists(extreme, min_size=1, max_size=7), st.integers(0, 3))
def test_median_and_trimmed_mean_stay_within_the_honest_values(honest, bad) -> None:
    bad = min(bad, len(honest) - 1)
    rows = [*honest, *[[2**31 - 1] * 3] * bad]
    deltas = {
        organization: {"w": np.array(row, np.int32)}
        for organization, row in zip(ADDRESSES, rows, strict=False)
    }
    low, high = np.min(honest, axis=0) * 10_000, np.max(honest, axis=0) * 10_000
    for rule in (CoordinateMedian(), TrimmedMean(bad)):
        if isinstance(rule, TrimmedMean) and len(rows) <= 2 * bad:
            continue
        selection = rule.combine(deltas)["w"]
        assert np.all(low <= selection)
        assert np.all(selection <= high)


@given(st.lists(extreme, min_size=1, max_size=6))
def test_the_median_equals_that_of_numpy(rows) -> None:
    deltas = {
        organization: {"w": np.array(row, np.int32)}
        for organization, row in zip(ADDRESSES, rows, strict=False)
    }
    selection = CoordinateMedian().combine(deltas)["w"]
    assert np.array_equal(selection, np.median(np.array(rows, dtype=float), axis=0) * 10_000)


def test_a_trimmed_mean_with_nothing_trimmed_is_the_mean() -> None:
    deltas = round_of(10, 4, [])
    mean = np.mean([delta["shared/w"] for delta in deltas.values()], axis=0) * 10_000
    assert np.abs(TrimmedMean(0).combine(deltas)["shared/w"] - mean).max() <= 0.5


def test_bad_updates_move_the_mean_but_not_the_robust_rules() -> None:
    deltas = round_of(11, 8, attacks(11, "far and all alike", 2))
    honest = (
        np.mean([deltas[organization]["shared/w"] for organization in ADDRESSES[:8]], axis=0)
        * 10_000
    )
    mean = np.mean([delta["shared/w"] for delta in deltas.values()], axis=0) * 10_000
    far = np.linalg.norm(mean - honest)
    for rule in (Krum(2), MultiKrum(2), NormClipping(BITS), TrimmedMean(2), CoordinateMedian()):
        assert np.linalg.norm(rule.combine(deltas)["shared/w"] - honest) < far / 5
