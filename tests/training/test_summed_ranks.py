"""Factors of summed ranks are functions of the sums alone, and lose a leaver's part to the byte."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from rescind.core import SHARED, LoraParameters, materialize
from rescind.core.summed_ranks import RankStatistics, SummedRanks, check
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.devnet.people import make_population
from rescind.training import Example, LoraModel, RoundTraining, load_base, train_round
from rescind.training.heads import NotSolvable, WrongHead
from rescind.training.rank_sums import public_statistics, rank_statistics
from rescind.training.summed_ranks import SCALE_BITS, check_merged, merge

MODULES = {"layer.0": (6, 4), "layer.1": (3, 4)}
AGREED = SummedRanks(modules=MODULES, ridge_bits=20)


def organization(seed: int, first: int = 0) -> RankStatistics:
    """Return the sums of an organization whose tokens have no feature before `first`."""
    dice = np.random.default_rng(seed)
    moments, factors = {}, {}
    for name, shape in MODULES.items():
        features = dice.normal(size=(40, 4))
        features[:, :first] = 0
        moments[name] = features.T @ features
        factors[name] = 0.2 * dice.normal(size=shape)
    return AGREED.collect(moments, factors)


def test_a_factor_is_the_least_squares_merge() -> None:
    parts = [organization(seed) for seed in range(3)]
    merged = merge(RankStatistics.sum(parts), AGREED).factors()
    for name in MODULES:
        grams = [part.module(name).full_gram().astype(float) for part in parts]
        products = [part.module(name).moments.T.astype(float) for part in parts]
        expected = sum(products) @ np.linalg.inv(sum(grams))
        np.testing.assert_allclose(merged[f"{name}.lora_B"], expected, atol=1e-5)


def test_one_organization_gets_its_own_factor_back() -> None:
    alone = organization(7)
    sums = alone.module("layer.0")
    own = np.linalg.solve(sums.full_gram().astype(float), sums.moments.astype(float)).T
    np.testing.assert_allclose(merge(alone, AGREED).factors()["layer.0.lora_B"], own, atol=1e-5)


def test_a_factor_without_an_organization_is_that_of_a_run_without_it() -> None:
    parts = [organization(seed) for seed in range(3)]
    public = AGREED.collect({name: np.eye(4) * 30.0 for name in MODULES})
    after = merge(RankStatistics.sum(parts).without(parts[1]), AGREED, public).integers()
    never = merge(RankStatistics.sum([parts[2], parts[0]]), AGREED, public).integers()
    assert {n: v.tobytes() for n, v in after.items()} == {n: v.tobytes() for n, v in never.items()}


def test_public_text_holds_the_factor_back_where_it_has_features() -> None:
    """Text that the organization has no token of costs nothing; shared features do."""
    part = organization(3, first=2)
    seen = np.diag([1e4, 1e4, 0.0, 0.0])
    apart = AGREED.collect(dict.fromkeys(MODULES, seen))
    common = AGREED.collect(dict.fromkeys(MODULES, np.eye(4) * 1e4))
    free = merge(part, AGREED).factors()["layer.0.lora_B"]
    np.testing.assert_allclose(
        merge(part, AGREED, apart).factors()["layer.0.lora_B"], free, atol=0.02
    )
    held = merge(part, AGREED, common).factors()["layer.0.lora_B"]
    assert np.linalg.norm(held) < 0.1 * np.linalg.norm(free)


def test_another_factor_is_refused() -> None:
    part = organization(1)
    merged = merge(part, AGREED)
    check_merged(merged, part, AGREED)
    head = merged.heads["layer.1"]
    weights = head.weights.copy()
    weights[0, 0] += 1
    wrong = replace(merged, heads={**merged.heads, "layer.1": replace(head, weights=weights)})
    with pytest.raises(WrongHead, match="weight 0 of class 0"):
        check_merged(wrong, part, AGREED)


def test_nothing_is_solved_from_no_organization() -> None:
    with pytest.raises(NotSolvable, match="nothing to solve"):
        merge(organization(1).without(organization(1)), AGREED)


@pytest.fixture(scope="module")
def lora() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), LoraParameters(rank=4, alpha=8, train_a=False))


def test_sums_of_trained_factors_merge_and_lose_a_leaver_to_the_byte(lora: LoraModel) -> None:
    parameters = default_parameters("federated", lora.base.id, lora.shapes, seed=1)
    parameters = parameters.model_copy(update={"lora": lora.lora})
    start = materialize({}, lora.shapes, parameters=parameters, owner=SHARED)
    agreed = SummedRanks.of_shapes(lora.shapes)
    people = make_population(["a", "b"], seed=2, own_people=2).organizations
    length = parameters.training.max_length
    parts, trained = {}, {}
    for name, rows in people.items():
        examples = [Example(row.question, row.answer, row.subject) for row in rows]
        result = train_round(lora, parameters, start, examples, RoundTraining(steps=2))
        trained[name] = {**start, **result.tensors}
        parts[name] = rank_statistics(lora, agreed, trained[name], examples, max_length=length)
        check(parts[name], agreed)
    public = public_statistics(lora, agreed, start, examples, max_length=length)
    both = RankStatistics.sum(parts.values())
    after = merge(both.without(parts["b"]), agreed, public).integers()
    never = merge(parts["a"], agreed, public).integers()
    assert {n: v.tobytes() for n, v in after.items()} == {n: v.tobytes() for n, v in never.items()}
    alone = merge(parts["a"], agreed).factors()
    for name, factor in alone.items():
        shift = np.abs(factor - trained["a"][name]).max()
        assert shift < 0.2 * np.abs(trained["a"][name]).max() + 2.0**-SCALE_BITS
