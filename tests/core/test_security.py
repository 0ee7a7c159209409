import math
import re
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from rescind.core import (
    HIDING,
    HIDING_BOUND,
    HIDING_SHAPE,
    MINIMUM_BITS,
    ConsortiumParameters,
    DigestBudgetExceeded,
    LoraParameters,
    TrainingParameters,
    adapter_norm_bound,
    check_budget,
    core_svp_bits,
    hiding_block,
    materialize,
)
from rescind.core.errors import ConfigError
from rescind.core.ring import MODULUS, PRIMES
from rescind.core.security import hermite_factor, largest_norm, shortest_reached

DEVNET = {"clip_norm": 256.0, "fraction_bits": 20}


def parameters(**changes) -> ConsortiumParameters:
    return ConsortiumParameters(
        **{
            "name": "test",
            "base_model_id": "11" * 32,
            "coupling": "isolated",
            "layout": "blocks",
            "seed": 0,
            "lora": LoraParameters(rank=2, alpha=4, train_a=True),
            "training": TrainingParameters(
                steps_per_round=2, batch_size=4, learning_rate=1e-2, max_length=256
            ),
            "max_artifact_bytes": 2**28,
            "shapes": {"layer.lora_A": (2, 8), "layer.lora_B": (8, 2)},
            **DEVNET,
            **changes,
        }
    )


def test_hermite_factors_are_those_of_chens_thesis() -> None:
    """The pairs that Chen's thesis gives for it: 1.01, 1.009, ... need 85, 106, ..."""
    pairs = [(1.01, 85), (1.009, 106), (1.008, 133), (1.007, 168), (1.006, 216), (1.005, 286)]
    for factor, block_size in pairs:
        assert hermite_factor(block_size) == pytest.approx(factor, abs=3e-4)


def test_bits_and_norms_are_inverse_and_match_their_closed_forms() -> None:
    assert shortest_reached(400) == pytest.approx(
        2 ** (2 * math.sqrt(2048 * math.log2(MODULUS) * math.log2(hermite_factor(400))))
    )
    assert core_svp_bits(shortest_reached(400) / 2) == pytest.approx(0.292 * 400, abs=1e-4)
    assert core_svp_bits(2.0**53) == pytest.approx(116.3, abs=0.1)
    for bits in (100, MINIMUM_BITS, 128, 192):
        assert core_svp_bits(largest_norm(bits)) == pytest.approx(bits, abs=1e-4)


@given(st.floats(1, 2.0**63), st.floats(1, 2.0**63))
def test_a_longer_vector_is_never_harder_to_find(first: float, other: float) -> None:
    shorter, longer = sorted((first, other))
    assert core_svp_bits(shorter) >= core_svp_bits(longer) - 1e-5


def test_digests_do_not_bind_from_half_the_modulus_on() -> None:
    assert core_svp_bits(MODULUS / 2) == 0
    assert core_svp_bits(2.0**61) == 0
    assert core_svp_bits(2.0**80) == 0


def test_the_norm_bound_of_an_owner_covers_every_round() -> None:
    settings = {"clip_norm": 2.0, "fraction_bits": 8, "max_rounds": 3}
    delta = 2 * 256
    assert adapter_norm_bound(**settings) == 3 * 10_000 * delta
    hidden = adapter_norm_bound(**settings, hiding=True)
    assert hidden == pytest.approx(30_000 * math.hypot(delta, HIDING_BOUND))


@pytest.mark.parametrize("hiding", [False, True])
def test_the_devnet_can_sum_five_hundred_rounds_of_1024_members(hiding) -> None:
    norm = adapter_norm_bound(**DEVNET, max_rounds=500, hiding=hiding)
    assert 133 < check_budget(norm) < 136
    kept = parameters(max_rounds=500, max_members=1024, hiding=hiding)
    assert kept.adapter_norm_bound == norm


def test_the_number_of_members_does_not_change_the_budget() -> None:
    assert (
        parameters(max_members=2).adapter_norm_bound
        == parameters(max_members=1024).adapter_norm_bound
    )
    with pytest.raises(ValidationError, match="max_members"):
        parameters(max_members=1025)


def test_blocks_and_shared_layouts_have_the_same_bound() -> None:
    shared = parameters(coupling="federated", layout="shared")
    assert shared.adapter_norm_bound == parameters().adapter_norm_bound


def test_rounds_are_counted_as_the_contract_counts_them() -> None:
    """The contract counts rounds in 16 bits; so an opening's words fit 64 bits."""
    small = {"clip_norm": 1.0, "fraction_bits": 8}
    most = parameters(max_rounds=2**16 - 1, **small)
    assert most.max_rounds * 10_000 * (max(PRIMES) - 1) < 2**64
    with pytest.raises(ValidationError, match="max_rounds"):
        parameters(max_rounds=2**16, **small)


def test_parameters_that_do_not_bind_are_refused_with_advice() -> None:
    norm = adapter_norm_bound(**DEVNET, max_rounds=9600)
    with pytest.raises(DigestBudgetExceeded, match=r"107\.\d bits.*110.*1\.\d+ times.*max_rounds"):
        check_budget(norm)
    assert issubclass(DigestBudgetExceeded, ConfigError)
    assert DigestBudgetExceeded.code == "config-digest-budget"
    for worse in (
        {"clip_norm": 2.0**15},
        {"fraction_bits": 24, "max_rounds": 500},
        {"max_rounds": 8000},
    ):
        with pytest.raises(ValidationError, match="digest of an adapter"):
            parameters(**worse)
    broken = parameters().canonical_bytes().replace(b'"max_rounds":256', b'"max_rounds":60000')
    with pytest.raises(ConfigError, match="digest of an adapter"):
        ConsortiumParameters.parse(broken)


def test_hiding_adds_a_tensor_to_deltas_but_not_to_adapters() -> None:
    plain, hidden = parameters(), parameters(hiding=True)
    assert hidden.delta_shapes() == plain.delta_shapes() | {HIDING: HIDING_SHAPE}
    assert list(hidden.delta_shapes()) == sorted(hidden.delta_shapes())
    totals = {"layer.lora_B": np.full((8, 2), 10_000, dtype=np.int64)}
    noisy = totals | {HIDING: hiding_block().astype(np.int64)}
    adapter = materialize(totals, plain.shapes, parameters=plain, owner="o")
    other = materialize(noisy, hidden.shapes, parameters=hidden, owner="o")
    assert adapter.keys() == other.keys()
    assert all(np.array_equal(adapter[name], other[name]) for name in adapter)


def test_the_documented_budgets_are_what_the_formulas_give() -> None:
    page = (Path(__file__).parents[2] / "docs" / "digest.md").read_text()
    rows = re.findall(
        r"^\| ([\d,]+)(?: \(default\))? \| (no|yes) \| ([\d.]+) \| ([\d.]+) \| ([\d,]+) \|$",
        page,
        re.M,
    )
    assert len(rows) == 10
    for rounds, hiding, log_norm, bits, most in rows:
        hidden = hiding == "yes"
        one = adapter_norm_bound(**DEVNET, max_rounds=1, hiding=hidden)
        norm = int(rounds.replace(",", "")) * one
        assert f"{math.log2(norm):.1f}" == log_norm
        assert f"{core_svp_bits(norm):.1f}" == bits
        assert int(most.replace(",", "")) == math.floor(largest_norm(MINIMUM_BITS) / one)
