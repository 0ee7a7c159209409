"""Summed ranks add up, stay within what their digest binds, and are refused where they cannot be sums."""

from __future__ import annotations

import numpy as np
import pytest
from numpy.typing import NDArray
from pydantic import ValidationError

from rescind.core import WrongShape, decode, encode, l2_norm
from rescind.core.delta import NotFinite, OutOfBounds
from rescind.core.summed_ranks import NotRankSums, RankStatistics, SummedRanks, check

MODULES = {"layer.0": (6, 3), "layer.1": (2, 3)}
AGREED = SummedRanks(modules=MODULES, fraction_bits=10, clip_norm=2.0**20, factor_norm=8.0)

Arrays = dict[str, NDArray[np.float64]]


def measured(seed: int, tokens: int = 50) -> tuple[Arrays, Arrays]:
    dice = np.random.default_rng(seed)
    features = {name: dice.normal(size=(tokens, 3)) for name in MODULES}
    factors = {name: 0.1 * dice.normal(size=shape) for name, shape in MODULES.items()}
    return {name: u.T @ u for name, u in features.items()}, factors


def collected(seed: int) -> RankStatistics:
    return AGREED.collect(*measured(seed))


def changed(name: str, place: int, by: int) -> RankStatistics:
    tensors = {key: value.copy() for key, value in collected(0).tensors.items()}
    tensors[name].reshape(-1)[place] += by
    return RankStatistics(tensors)


def test_integers_are_the_rounded_sums_and_the_factor_times_them() -> None:
    moments, factors = measured(0)
    for name in MODULES:
        sums = collected(0).module(name)
        gram = np.rint(moments[name] * 2**10)
        assert np.array_equal(sums.full_gram(), gram)
        assert np.array_equal(sums.moments.T, np.rint(factors[name] @ gram))
        assert sums.trace == int(np.trace(gram))


def test_a_sum_without_an_organization_is_that_of_a_run_without_it() -> None:
    parts = [collected(seed) for seed in range(3)]
    after = RankStatistics.sum(parts).without(parts[1])
    never = RankStatistics.sum([parts[2], parts[0]])
    assert encode(after.tensors) == encode(never.tensors)


def test_an_artifact_holds_the_agreed_tensors() -> None:
    tensors = decode(encode(collected(0).tensors))
    assert {name: tensor.shape for name, tensor in tensors.items()} == AGREED.shapes()
    check(RankStatistics(tensors), AGREED)


def test_honest_sums_pass_also_of_one_token_and_of_public_text() -> None:
    moments, factors = measured(1, tokens=1)
    check(AGREED.collect(moments, factors), AGREED)
    public = AGREED.collect(moments)
    check(public, AGREED)
    assert not any(public.module(name).moments.any() for name in MODULES)


def test_longer_sums_weigh_less_and_give_the_same_factor() -> None:
    moments, factors = measured(0)
    small = AGREED.model_copy(update={"clip_norm": 20.0})
    statistics = small.collect(moments, factors)
    check(statistics, small)
    assert l2_norm(statistics.tensors) > 0.9 * small.norm_bound
    for name in MODULES:
        sums = statistics.module(name)
        found = np.linalg.solve(sums.full_gram().astype(float), sums.moments.astype(float))
        np.testing.assert_allclose(found.T, factors[name], atol=1e-3)


def test_what_cannot_be_sums_is_refused() -> None:
    with pytest.raises(NotRankSums, match=r"'layer\.0' is not a sum over tokens"):
        check(changed("layer.0.gram", 0, -(2**20)), AGREED)
    with pytest.raises(NotRankSums, match=r"'layer\.1' is not a sum over tokens"):
        check(changed("layer.1.gram", 1, 2**20), AGREED)
    with pytest.raises(NotRankSums, match="factor B of L2 norm"):
        check(changed("layer.0.products", 0, 2**22), AGREED)
    with pytest.raises(OutOfBounds, match="is agreed"):
        check(changed("layer.0.products", 0, 2**31), AGREED)


def test_products_outside_the_features_are_refused() -> None:
    tensors = {name: np.zeros(shape, np.int64) for name, shape in AGREED.shapes().items()}
    tensors["layer.0.products"][0, 0] = 10_000
    with pytest.raises(NotRankSums, match="factor B"):
        check(RankStatistics(tensors), AGREED)


def test_other_tensors_are_refused() -> None:
    tensors = dict(collected(0).tensors)
    with pytest.raises(WrongShape, match=r"layer\.1\.gram"):
        check(RankStatistics({k: v for k, v in tensors.items() if k != "layer.1.gram"}), AGREED)
    with pytest.raises(WrongShape, match="integers"):
        check(RankStatistics({k: v.astype(float) for k, v in tensors.items()}), AGREED)


def test_measurements_that_do_not_fit_are_refused() -> None:
    moments, factors = measured(0)
    with pytest.raises(WrongShape, match=r"layer\.1"):
        AGREED.collect({"layer.0": moments["layer.0"]}, factors)
    with pytest.raises(NotFinite, match="training diverged"):
        AGREED.collect(moments, {**factors, "layer.0": factors["layer.0"] * np.nan})


def test_the_agreement_follows_from_the_shapes_of_lora() -> None:
    shapes = {"m.lora_A": (3, 9), "m.lora_B": (6, 3)}
    assert SummedRanks.of_shapes(shapes).modules == {"m": (6, 3)}


@pytest.mark.parametrize(
    ("different", "message"),
    [
        ({"modules": {"a": (4, 2), "b": (4, 3)}}, "different ranks"),
        ({"modules": {"a": (0, 2)}}, "length 0"),
        ({"fraction_bits": 32}, "clip_norm and fraction_bits"),
    ],
)
def test_an_agreement_that_cannot_be_is_refused(different: dict[str, object], message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        SummedRanks.model_validate({"modules": MODULES, **different})
