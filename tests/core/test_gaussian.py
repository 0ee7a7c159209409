"""The Gaussian mechanism is as private as it says, and its noise is repeatable for its owner only."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy import integrate, stats

from rescind.core.gaussian import (
    gaussian_delta,
    gaussian_epsilon,
    gaussian_multiplier,
    integer_noise,
)

SECRET = bytes(range(32))


@pytest.mark.parametrize(
    ("multiplier", "epsilon"), [(0.4, 3.0), (1.0, 1.0), (4.0, 0.2), (2.0, 0.0)]
)
def test_delta_is_the_mass_by_which_one_density_exceeds_the_other(
    multiplier: float, epsilon: float
) -> None:
    """The definition: the integral of max(0, p - e^epsilon q) over the two releases' densities."""
    first, other = stats.norm(1, multiplier), stats.norm(0, multiplier)

    def excess(x: float) -> float:
        return max(0.0, float(first.pdf(x) - math.exp(epsilon) * other.pdf(x)))

    mass, _ = integrate.quad(excess, -10 * multiplier, 1 + 10 * multiplier, limit=400)
    assert gaussian_delta(multiplier, epsilon) == pytest.approx(mass, rel=1e-4, abs=1e-9)


def test_the_multiplier_is_below_the_classical_one() -> None:
    """Dwork and Roth's sqrt(2 ln(1.25 / delta)) / epsilon holds for epsilon up to 1."""
    for epsilon in (0.1, 0.5, 1.0):
        classical = math.sqrt(2 * math.log(1.25e6)) / epsilon
        assert 0.5 * classical < gaussian_multiplier(epsilon, 1e-6) < classical


@given(st.floats(0.05, 20), st.sampled_from([1e-9, 1e-6, 1e-3]))
def test_epsilon_and_multiplier_are_inverse(epsilon: float, delta: float) -> None:
    multiplier = gaussian_multiplier(epsilon, delta)
    assert gaussian_delta(multiplier, epsilon) <= delta
    assert gaussian_delta(multiplier - 2.0**-19, epsilon) > delta
    assert gaussian_epsilon(multiplier, delta) == pytest.approx(epsilon, rel=1e-4)


def test_much_noise_spends_nothing_at_its_delta() -> None:
    assert gaussian_epsilon(1e6, 1e-3) == 0.0


def test_noise_is_integers_of_the_deviation_and_repeats_for_its_secret_and_name() -> None:
    noise = integer_noise(SECRET, "1/task/gram", 300_000, 50)
    assert noise.dtype == np.int64
    assert abs(noise.mean()) < 5 * 50 / math.sqrt(len(noise))
    assert noise.std() == pytest.approx(50, rel=0.01)
    spread = np.random.default_rng(0).uniform(-0.5, 0.5, len(noise))
    assert stats.kstest((noise + spread) / 50, "norm").pvalue > 1e-6
    assert np.array_equal(noise, integer_noise(SECRET, "1/task/gram", 300_000, 50))
    for other in (
        integer_noise(SECRET, "2/task/gram", 300_000, 50),
        integer_noise(bytes(32), "1/task/gram", 300_000, 50),
    ):
        assert abs(np.corrcoef(noise, other)[0, 1]) < 0.01


def test_a_short_secret_is_refused() -> None:
    with pytest.raises(ValueError, match="31 bytes"):
        integer_noise(bytes(31), "name", 4, 1)
