import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.core import NotFinite, OutOfBounds, WrongShape
from rescind.core.errors import ConfigError
from rescind.unlearning.closed_form import (
    Factors,
    SsdSettings,
    compress,
    concatenate,
    difference,
    relative_error,
    ridge_edit,
    ridge_edit_within,
    truncate,
)
from rescind.unlearning.closed_form.factors import align, matrix, scale_by
from rescind.unlearning.closed_form.partial import directions, drop
from rescind.unlearning.closed_form.ssd import factors_of

seeds = st.integers(0, 2**32 - 1)


def draw(seed: int, *shapes: tuple[int, int]) -> list[np.ndarray]:
    source = np.random.default_rng(seed)
    return [source.normal(size=shape) for shape in shapes]


def pair(seed: int, out: int = 9, rank: int = 3, width: int = 7) -> Factors:
    return Factors(*draw(seed, (out, rank), (rank, width)))


@given(seeds)
def test_concatenated_factors_are_the_sum_of_the_products(seed: int) -> None:
    parts = [pair(seed), pair(seed + 1, rank=2), pair(seed + 2, rank=1)]
    whole = concatenate(parts)
    assert whole.rank == 6
    np.testing.assert_allclose(whole.dense(), sum(p.dense() for p in parts), atol=1e-12)


def test_a_change_of_both_factors_is_one_pair_of_twice_the_rank() -> None:
    before, after = pair(1), pair(2)
    found = difference(after, before)
    assert found.rank == 6
    np.testing.assert_allclose(found.dense(), after.dense() - before.dense(), atol=1e-12)


def test_averaging_factors_is_not_averaging_products() -> None:
    one, other = pair(1), pair(2)
    averaged = Factors((one.b + other.b) / 2, (one.a + other.a) / 2).dense()
    exact = concatenate([scale_by(one, 0.5), scale_by(other, 0.5)]).dense()
    np.testing.assert_allclose(exact, (one.dense() + other.dense()) / 2, atol=1e-12)
    assert np.abs(averaged - exact).max() > 0.1


@given(seeds, st.integers(1, 8))
def test_a_truncation_is_the_nearest_product_and_returns_its_error(seed: int, rank: int) -> None:
    (edit,) = draw(seed, (9, 7))
    found, error = truncate(edit, rank)
    assert found.b.shape == (9, rank)
    gap = np.linalg.norm(edit - found.dense())
    assert error == pytest.approx(gap / np.linalg.norm(edit), abs=1e-12)
    assert gap == pytest.approx(np.linalg.norm(np.linalg.svd(edit)[1][rank:]), abs=1e-12)


@given(seeds)
def test_an_edit_of_low_rank_is_factored_exactly(seed: int) -> None:
    exact = pair(seed)
    found, error = truncate(exact.dense(), 3)
    np.testing.assert_allclose(found.dense(), exact.dense(), atol=1e-12)
    assert error < 1e-12


@given(seeds, st.integers(1, 6))
def test_compressing_factors_is_truncating_their_product(seed: int, rank: int) -> None:
    long = pair(seed, rank=12)
    found, error = compress(long, rank)
    wanted, wanted_error = truncate(long.dense(), rank)
    np.testing.assert_allclose(found.dense(), wanted.dense(), atol=1e-9)
    assert error == pytest.approx(wanted_error, abs=1e-9)


def test_a_zero_edit_has_zero_factors() -> None:
    found, error = truncate(np.zeros((4, 3)), 5)
    assert (found.b.shape, found.a.shape, error) == ((4, 5), (5, 3), 0.0)
    assert not found.dense().any()


@given(seeds)
def test_norms_and_errors_are_those_of_the_dense_products(seed: int) -> None:
    one, other = pair(seed), pair(seed + 1, rank=5)
    assert one.norm() == pytest.approx(np.linalg.norm(one.dense()))
    wanted = np.linalg.norm(other.dense() - one.dense()) / np.linalg.norm(one.dense())
    assert relative_error(one, other) == pytest.approx(wanted)
    zero = Factors(np.zeros((9, 1)), np.zeros((1, 7)))
    assert relative_error(zero, zero) == 0
    assert relative_error(zero, one) == np.inf


@given(seeds)
def test_aligned_factors_have_the_same_product_and_are_nearer(seed: int) -> None:
    like = pair(seed)
    (noise,) = draw(seed + 1, (3, 3))
    turned = Factors(like.b @ np.linalg.qr(noise)[0], np.linalg.qr(noise)[0].T @ like.a)
    found = align(turned, like)
    np.testing.assert_allclose(found.dense(), like.dense(), atol=1e-10)
    np.testing.assert_allclose(found.b, like.b, atol=1e-8)
    np.testing.assert_allclose(found.a, like.a, atol=1e-8)


def test_factors_that_do_not_fit_are_refused() -> None:
    with pytest.raises(WrongShape, match="have no product"):
        Factors(np.zeros((4, 2)), np.zeros((3, 5)))
    with pytest.raises(WrongShape, match="have no sum"):
        concatenate([pair(1), pair(2, out=8)])
    with pytest.raises(WrongShape, match="nothing to add"):
        concatenate([])
    with pytest.raises(WrongShape, match="rank is 0"):
        truncate(np.ones((2, 2)), 0)
    with pytest.raises(WrongShape, match="are not like"):
        align(pair(1), pair(1, rank=2))
    with pytest.raises(WrongShape, match="two dimensions"):
        matrix(np.zeros(3), "x")
    with pytest.raises(NotFinite, match="x has NaN"):
        matrix(np.full((1, 1), np.nan), "x")


@given(seeds, st.sampled_from([0, 3, 40]), st.sampled_from([0.0, 0.3, 2.0]))
def test_woodbury_gives_the_solution_of_the_normal_equations(
    seed: int, kept: int, eta: float
) -> None:
    error, keys, keep = draw(seed, (5, 4), (12, 4), (12, kept))
    found = ridge_edit(error, keys, keep, eta=eta, mu=0.1)
    direct = error @ keys.T @ np.linalg.inv(keys @ keys.T + eta * keep @ keep.T + 0.1 * np.eye(12))
    assert found.rank == 4
    np.testing.assert_allclose(found.dense(), direct, atol=1e-8)


@given(seeds)
def test_the_ridge_solution_minimises_its_objective(seed: int) -> None:
    error, keys, keep, step = draw(seed, (5, 4), (6, 4), (6, 9), (5, 6))

    def cost(delta: np.ndarray) -> float:
        fit, kept = delta @ keys - error, delta @ keep
        return np.sum(fit**2) + 0.7 * np.sum(kept**2) + 0.2 * np.sum(delta**2)

    best = ridge_edit(error, keys, keep, eta=0.7, mu=0.2).dense()
    assert cost(best) <= min(cost(best + 1e-3 * step), cost(best - 1e-3 * step))


def test_without_a_ridge_it_is_least_squares() -> None:
    error, keys, keep = draw(4, (5, 4), (12, 4), (12, 0))
    few = ridge_edit(error, keys, keep, eta=0.0, mu=1e-9).dense()
    np.testing.assert_allclose(few, error @ np.linalg.pinv(keys), atol=1e-6)
    np.testing.assert_allclose(few @ keys, error, atol=1e-6)
    error, keys = draw(5, (5, 30), (6, 30))
    features = ridge_edit_within(error, keys, np.zeros((6, 6)), eta=0.0, mu=1e-9)
    np.testing.assert_allclose(features.T, np.linalg.lstsq(keys.T, error.T)[0], atol=1e-8)


def test_within_a_fixed_a_it_is_the_ridge_of_the_features() -> None:
    a, error, keys, keep = draw(6, (3, 12), (5, 4), (12, 4), (12, 20))
    moment = (a @ keep) @ (a @ keep).T
    found = ridge_edit_within(error, a @ keys, moment, eta=0.5, mu=0.1)
    wanted = ridge_edit(error, a @ keys, a @ keep, eta=0.5, mu=0.1).dense()
    np.testing.assert_allclose(found, wanted, atol=1e-8)


def test_an_a_that_spans_everything_constrains_nothing() -> None:
    error, keys, keep = draw(7, (5, 4), (6, 4), (6, 20))
    a = np.linalg.qr(draw(8, (6, 6))[0])[0]
    moment = (a @ keep) @ (a @ keep).T
    within = ridge_edit_within(error, a @ keys, moment, eta=0.5, mu=0.1) @ a
    np.testing.assert_allclose(
        within, ridge_edit(error, keys, keep, eta=0.5, mu=0.1).dense(), atol=1e-9
    )


def test_a_ridge_that_has_no_solution_is_refused() -> None:
    error, keys, keep = draw(9, (5, 4), (12, 4), (12, 3))
    with pytest.raises(ConfigError, match="mu is 0"):
        ridge_edit(error, keys, keep, eta=1.0, mu=0.0)
    with pytest.raises(ConfigError, match="eta is -1"):
        ridge_edit(error, keys, keep, eta=-1.0, mu=1.0)
    with pytest.raises(WrongShape, match="one output for each input"):
        ridge_edit(error[:, :2], keys, keep, eta=1.0, mu=1.0)
    with pytest.raises(WrongShape, match="keep has 5"):
        ridge_edit(error, keys, keep[:5], eta=1.0, mu=1.0)
    with pytest.raises(WrongShape, match="moment to keep"):
        ridge_edit_within(error, keys, np.eye(3), eta=1.0, mu=1.0)


def moments(features: np.ndarray) -> np.ndarray:
    return features @ features.T / features.shape[1]


def test_only_directions_of_the_forget_set_alone_are_dropped() -> None:
    """Forget features fill two dimensions of five, retain features the other three, in a basis that
    is anything but orthogonal."""
    basis, f, r, b = draw(1, (5, 5), (2, 40), (3, 60), (8, 5))
    forget, keep = basis[:, :2] @ f, basis[:, 2:] @ r
    found = directions(moments(forget), moments(keep), 1e-10)
    assert (found.ratios[:2] > 1e6).all()
    assert (found.ratios[2:] < 1e-3).all()
    after = drop(b, found, [0, 1])
    np.testing.assert_allclose(after @ forget, 0, atol=1e-5)
    np.testing.assert_allclose(after @ keep, b @ keep, atol=1e-5)


@given(seeds)
def test_the_eigenvectors_solve_the_problem_and_their_dual_inverts_them(seed: int) -> None:
    forget, keep = (moments(x) for x in draw(seed, (4, 9), (4, 11)))
    found = directions(forget, keep, 0.01)
    metric = keep + 0.01 * (np.trace(forget) + np.trace(keep)) / 4 * np.eye(4)
    np.testing.assert_allclose(
        forget @ found.vectors, metric @ found.vectors * found.ratios, atol=1e-8
    )
    np.testing.assert_allclose(found.dual.T @ found.vectors, np.eye(4), atol=1e-8)
    assert (np.diff(found.ratios) <= 0).all()


@given(seeds, st.sets(st.integers(0, 3)))
def test_dropping_changes_b_alone_by_a_product_of_the_rank_dropped(
    seed: int, which: set[int]
) -> None:
    b, a, f, k = draw(seed, (6, 4), (4, 9), (4, 9), (4, 11))
    found, chosen = directions(moments(f), moments(k), 0.01), sorted(which)
    lost = (b @ found.dual[:, chosen]) @ (found.vectors[:, chosen].T @ a)
    np.testing.assert_allclose(drop(b, found, chosen) @ a, b @ a - lost, atol=1e-8)
    again = drop(drop(b, found, chosen), found, chosen)
    np.testing.assert_allclose(again, drop(b, found, chosen), atol=1e-7)
    assert np.linalg.matrix_rank(lost, tol=1e-8) <= len(chosen)


def test_invalid_moments_are_refused() -> None:
    with pytest.raises(OutOfBounds, match="moments are zero"):
        directions(np.zeros((3, 3)), np.zeros((3, 3)), 0.1)
    with pytest.raises(WrongShape, match="not of one module"):
        directions(np.eye(3), np.eye(2), 0.1)
    with pytest.raises(NotFinite, match="forget moments"):
        directions(np.full((2, 2), np.inf), np.eye(2), 0.1)
    with pytest.raises(OutOfBounds, match="not positive semidefinite"):
        directions(np.eye(2), -np.eye(2) + np.diag([3.0, 0.0]), 0.01)


def test_ssd_dampens_entries_that_matter_more_to_the_forget_set() -> None:
    forget = np.array([20.0, 40.0, 5.0, 10.0])
    everything = np.array([1.0, 1.0, 1.0, 1.0])
    found = factors_of(forget, everything, SsdSettings(selection=10, dampening=1))
    np.testing.assert_allclose(found, [1 / 20, 1 / 40, 1, 1])
    found = factors_of(forget, everything, SsdSettings(selection=10, dampening=2, exponent=0.5))
    np.testing.assert_allclose(found, [np.sqrt(2 / 20), np.sqrt(2 / 40), 1, 1])
    found = factors_of(forget, everything, SsdSettings(selection=10, dampening=100, bound=0.5))
    np.testing.assert_allclose(found, [0.5, 0.5, 1, 1])


def test_ssd_never_divides_zero_by_zero() -> None:
    """A of a fresh block has Fisher 0 on all data, as B is 0: it stays as it is."""
    forget, everything = np.array([0.0, 0.0, 3.0]), np.array([0.0, 1.0, 0.0])
    np.testing.assert_array_equal(factors_of(forget, everything, SsdSettings()), [1, 1, 0])


@given(seeds, st.floats(0.5, 20))
def test_ssd_never_makes_an_entry_larger_nor_selects_beyond_its_share(
    seed: int, selection: float
) -> None:
    """I_D >= I_F |F| / n where F is among the data, so no ratio is above n / |F| = 4."""
    f, rest = np.square(draw(seed, (5, 6), (5, 6)))
    found = factors_of(f, (f + 3 * rest) / 4, SsdSettings(selection=selection))
    assert ((found >= 0) & (found <= 1)).all()
    if selection >= 4:
        assert (found == 1).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -1.0])
def test_an_invalid_fisher_is_refused(bad: float) -> None:
    with pytest.raises(NotFinite, match="negative, NaN or infinite"):
        factors_of(np.array([bad]), np.array([1.0]), SsdSettings())
    with pytest.raises(WrongShape, match="do not compare"):
        factors_of(np.ones(2), np.ones(3), SsdSettings())


@pytest.mark.parametrize(
    "wrong", [{"selection": 0}, {"dampening": -1}, {"bound": 2}, {"exponent": np.nan}]
)
def test_settings_out_of_range_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(ConfigError, match=next(iter(wrong))):
        SsdSettings(**wrong)
