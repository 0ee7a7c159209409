import math
import os
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from opacus.accountants import create_accountant
from opacus.accountants.utils import get_noise_multiplier
from pydantic import ValidationError

from rescind.core import ConsortiumParameters, LoraParameters, PrivacyParameters
from rescind.core.errors import ConfigError, TrainingError
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    Base,
    BudgetSpent,
    Checkpoint,
    CheckpointMismatch,
    EngineSettings,
    LoraModel,
    Mechanism,
    PrivacySpent,
    RoundPrivacy,
    RoundTraining,
    TrainResult,
    load_base,
    train_round,
)
from rescind.training.engine.batches import encode_example, pad, token_losses
from rescind.training.engine.gradients import (
    Engine,
    PrivateGradient,
    gradient,
    gradient_source,
)
from rescind.training.engine.privacy import (
    PrivateRun,
    clip_factors,
    noise_like,
    noise_multiplier_of,
    plan_private,
)
from rescind.training.engine.sampling import poisson
from rescind.training.engine.workers import Alone
from tests.support.models import (
    digest,
    examples,
    parameters_of,
    start_of,
)

SECRET = bytes(range(32))


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, default_lora("isolated"))


def agreed(**changes) -> PrivacyParameters:
    return PrivacyParameters(
        **{"max_grad_norm": 1.0, "noise_multiplier": 1.0, "delta": 1e-5, **changes}
    )


def train(model: LoraModel, privacy: PrivacyParameters | None, **engine) -> TrainResult:
    size = engine.pop("batch_size", 4)
    parameters = parameters_of(model, batch_size=size, privacy=privacy)
    rows = engine.pop("examples", examples(8))
    own = {"secret": SECRET} if privacy else {}
    own |= {name: engine.pop(name) for name in ("secret", "spent") if name in engine}
    training = RoundTraining(**{"steps": 3, "seed": 5, **engine}, privacy=RoundPrivacy(**own))
    return train_round(model, parameters, start_of(model, parameters), rows, training)


# --- the agreed section ---------------------------------------------------------------------------


def test_parameters_without_privacy_leave_the_section_out(model: LoraModel) -> None:
    plain, private = parameters_of(model), parameters_of(model, privacy=agreed())
    assert b"privacy" not in plain.canonical_bytes()
    assert ConsortiumParameters.parse(plain.canonical_bytes()) == plain
    assert ConsortiumParameters.parse(private.canonical_bytes()) == private
    assert plain.id != private.id


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"target_epsilon": 1.0, "rounds": 3}, "set exactly one"),
        ({"noise_multiplier": None}, "needs either noise_multiplier or target_epsilon"),
        ({"noise_multiplier": None, "target_epsilon": 1.0}, "number of rounds"),
        ({"delta": 0.0}, "greater than 0"),
    ],
)
def test_an_incomplete_or_contradictory_privacy_section_is_refused(changes, message: str) -> None:
    with pytest.raises(ValidationError, match=message):
        agreed(**changes)


# --- accounting -----------------------------------------------------------------------------------


@pytest.mark.parametrize("accountant", ["rdp", "prv"])
def test_epsilon_equals_that_of_opacus(accountant) -> None:
    spent = PrivacySpent(1e-5, accountant).then(Mechanism(1.1, 0.02, 100))
    spent = spent.then(Mechanism(2.0, 0.05, 40))
    opacus = create_accountant(mechanism=accountant)
    for noise, rate, steps in ((1.1, 0.02, 100), (2.0, 0.05, 40)):
        for _ in range(steps):
            opacus.step(noise_multiplier=noise, sample_rate=rate)
    assert spent.epsilon == pytest.approx(opacus.get_epsilon(delta=1e-5), rel=1e-6)
    assert spent.steps == 140
    assert (spent.noise_multiplier, spent.sample_rate) == (2.0, 0.05)


def test_prv_is_tighter_than_rdp_and_both_grow() -> None:
    epsilon_of = {}
    for accountant in ("rdp", "prv"):
        spent, epsilons = PrivacySpent(1e-5, accountant), []
        for _ in range(3):
            spent = spent.then(Mechanism(1.2, 0.05, 80))
            epsilons.append(spent.epsilon)
        assert epsilons == sorted(set(epsilons))
        epsilon_of[accountant] = epsilons[-1]
    assert epsilon_of["prv"] < epsilon_of["rdp"]


def test_no_steps_cost_nothing_and_no_noise_costs_everything() -> None:
    assert PrivacySpent(1e-5).epsilon == 0
    spent = PrivacySpent(1e-5).then(Mechanism(0.0, 0.1, 1))
    assert math.isinf(spent.epsilon)
    assert spent.to_dict()["epsilon"] is None


_MECHANISMS = st.lists(
    st.builds(Mechanism, st.sampled_from([0.9]), st.sampled_from([0.5, 1.0]), st.integers(0, 9)),
    max_size=6,
)


@settings(deadline=None, max_examples=4)
@given(_MECHANISMS, _MECHANISMS)
def test_spent_budgets_compose_in_any_order(
    first: list[Mechanism], second: list[Mechanism]
) -> None:
    def of(history: list[Mechanism]) -> PrivacySpent:
        spent = PrivacySpent(1e-5, "rdp")
        for mechanism in history:
            spent = spent.then(mechanism)
        return spent

    left, right = of(first), of(second)
    assert left.compose(right) == of([*first, *second])
    assert left.compose(right).epsilon == right.compose(left).epsilon
    assert left.compose(right).epsilon >= max(left.epsilon, right.epsilon)
    assert PrivacySpent.from_dict(left.to_dict()) == left


@pytest.mark.filterwarnings("ignore:Optimal order is the largest alpha")
def test_a_target_epsilon_determines_the_noise_and_is_kept() -> None:
    privacy = agreed(noise_multiplier=None, target_epsilon=3.0, rounds=4, accountant="rdp")
    noise = noise_multiplier_of(privacy, 0.1, 20)
    assert noise == get_noise_multiplier(
        target_epsilon=3.0, target_delta=1e-5, sample_rate=0.1, steps=80, accountant="rdp"
    )
    spent: PrivacySpent | None = None
    plan = {"examples": 40, "batch_size": 4, "steps": 20, "full_steps": 20, "secret": SECRET}
    for _ in range(4):
        spent = plan_private(privacy, spent=spent, **plan).after
    assert 2.8 < spent.epsilon <= 3.0
    with pytest.raises(BudgetSpent, match="target is 3"):
        plan_private(privacy, spent=spent, **plan)


def test_a_delta_that_promises_nothing_is_refused(model: LoraModel) -> None:
    with pytest.raises(ConfigError, match=r"must be below 0\.125"):
        train(model, agreed(delta=0.2))


# --- sampling and noise ---------------------------------------------------------------------------


def test_each_pair_is_drawn_independently_at_its_rate() -> None:
    order = poisson(50, 0.2, SECRET)
    drawn = np.zeros((400, 50))
    for step in range(400):
        drawn[step, next(order)] = 1
    assert drawn.mean() == pytest.approx(0.2, abs=0.01)
    assert drawn.sum(axis=1).var() == pytest.approx(50 * 0.2 * 0.8, rel=0.25)
    assert np.abs(np.corrcoef(drawn.T) - np.eye(50)).max() < 0.25
    assert next(poisson(5, 1.0, SECRET)) == [0, 1, 2, 3, 4]


def private_run(noise: float, clip: float, rows: int = 8) -> PrivateRun:
    mechanism = Mechanism(noise, 1.0, 1)
    spent = PrivacySpent(1e-5)
    return PrivateRun(clip, mechanism, float(rows), SECRET, spent, spent.then(mechanism))


def test_noise_is_gaussian_of_the_agreed_size_and_new_at_every_step() -> None:
    like = [torch.zeros(300, 200), torch.zeros(40_000)]
    first, second = (noise_like(like, private_run(2.0, 1.5), step) for step in (0, 1))
    flat = torch.cat([part.reshape(-1) for part in first]).double().numpy()
    assert flat.mean() == pytest.approx(0, abs=0.05)
    assert flat.std() == pytest.approx(3.0, rel=0.01)
    assert (flat**4).mean() == pytest.approx(3 * 3.0**4, rel=0.05)
    assert not torch.equal(first[1], second[1])
    assert abs(np.corrcoef(first[1].numpy(), second[1].numpy())[0, 1]) < 0.02
    assert torch.equal(first[1], noise_like(like, private_run(2.0, 1.5), 0)[1])


# --- gradients ------------------------------------------------------------------------------------


def engine_of(model: LoraModel, **changes) -> Engine:
    start = start_of(model, parameters_of(model))
    rng = np.random.default_rng(0)
    tensors = {n: (v + rng.normal(0, 0.02, v.shape)).astype(np.float32) for n, v in start.items()}
    model.put("dp", tensors)
    network = model.use("dp")
    parameters = model.parameters("dp")
    for name, tensor in parameters.items():
        tensor.requires_grad_(name in model.trainable)
    trained = {name: parameters[name] for name in sorted(model.trainable)}
    return Engine(model.base, network, network, EngineSettings(**changes), Alone(), trained, 512)


def by_hand(engine: Engine, rows) -> list[list[torch.Tensor]]:
    result = []
    for row in rows:
        ids, mask, labels = pad(engine.base, [row], prompt_in_loss=True)
        loss = token_losses(engine.network, ids, mask, labels).sum() / (len(row.tokens) - 1)
        result.append(gradient(loss, engine.parameters))
    return result


@pytest.mark.parametrize("changes", [{}, {"micro_batch": 3}, {"gradient_checkpointing": True}])
@pytest.mark.parametrize("train_a", [True, False])
def test_the_gradient_equals_the_sum_of_gradients_clipped_by_hand(changes, train_a: bool) -> None:
    model = LoraModel(load_base(BASE_MODEL), LoraParameters(rank=4, alpha=8, train_a=train_a))
    engine = engine_of(model, **changes)
    rows = [encode_example(model.base, e, 512) for e in examples(8)]
    each = by_hand(engine, rows)
    norms = [math.sqrt(sum(float(g.square().sum()) for g in gradients)) for gradients in each]
    clip = sorted(norms)[3]
    with gradient_source(engine, private_run(0.0, clip)) as source:
        source(0, rows)
        summed = [parameter.grad.clone() for parameter in engine.parameters]
    for index, parameter in enumerate(summed):
        expected = sum(
            gradients[index] * min(1.0, clip / (norm + 1e-6))
            for gradients, norm in zip(each, norms, strict=True)
        )
        torch.testing.assert_close(parameter, expected / 8, rtol=2e-3, atol=1e-6)


def test_no_pair_counts_for_more_than_the_bound(model: LoraModel) -> None:
    engine = engine_of(model)
    rows = [encode_example(model.base, e, 512) for e in examples(8)]
    for bound in (1e-3, 0.1, 1e3):
        for row in rows:
            with gradient_source(engine, private_run(0.0, bound, rows=1)) as source:
                source(0, [row])
            size = math.sqrt(sum(float(p.grad.square().sum()) for p in engine.parameters))
            assert 0 < size <= bound


def test_one_pair_more_changes_the_sum_by_no_more_than_the_bound(model: LoraModel) -> None:
    engine = engine_of(model)
    rows = [encode_example(model.base, e, 512) for e in examples(8)]
    sums = []
    for part in (rows, rows[:-1]):
        with gradient_source(engine, private_run(0.0, 0.05, rows=1)) as source:
            source(0, part)
        sums.append([p.grad.clone() for p in engine.parameters])
    change = math.sqrt(sum(float((a - b).square().sum()) for a, b in zip(*sums, strict=True)))
    assert 0.02 < change <= 0.05 * (1 + 1e-4)


@given(st.lists(st.floats(0, 1e6), min_size=1, max_size=9), st.floats(1e-3, 1e3))
def test_clipping_only_ever_shortens(norms: list[float], bound: float) -> None:
    sizes = torch.tensor(norms, dtype=torch.float64)
    clipped = sizes * clip_factors(sizes, bound)
    assert bool((clipped <= bound).all())
    assert bool((clipped <= sizes).all())


def test_opacus_hooks_leave_nothing_behind(model: LoraModel) -> None:
    train(model, agreed())
    network = model.use(None)
    for parameter in network.parameters():
        assert not hasattr(parameter, "grad_sample")
    assert not any(module.training for module in network.modules())
    assert digest(train(model, None)) == digest(train(model, None))


def test_a_model_whose_rows_mix_is_trained_pair_by_pair(model: LoraModel) -> None:
    engine = engine_of(model)
    rows = [encode_example(model.base, e, 512) for e in examples(4)]
    with gradient_source(engine, private_run(0.0, 1e3)) as source:
        assert isinstance(source, PrivateGradient)
        honest = source.per_example

        def mixed(part):
            each, losses = honest(part)
            return [g.flip(0) for g in each], losses

        source._hooked = mixed
        source(0, rows)
        summed = [p.grad.clone() for p in engine.parameters]
        assert source._hooks is None
    each = by_hand(engine, rows)
    for index, parameter in enumerate(summed):
        expected = sum(gradients[index] for gradients in each) / 8
        torch.testing.assert_close(parameter, expected, rtol=2e-3, atol=1e-6)


# --- rounds ---------------------------------------------------------------------------------------


def test_without_noise_and_clipping_a_private_round_is_adam_on_the_mean(model: LoraModel) -> None:
    same_length = [e for e in examples(40) if e.answer == "Oslo " and "raised" not in e.question]
    rows = [e for e in same_length if len(e.question) == len(same_length[0].question)]
    assert len({len(encode_example(model.base, e, 512).tokens) for e in rows}) == 1
    everything = agreed(noise_multiplier=0.0, max_grad_norm=1e5)

    options = {"examples": rows, "batch_size": len(rows), "steps": 2}
    private = train(model, everything, **options)
    plain = train(model, None, **options)
    assert private.losses == pytest.approx(plain.losses, rel=1e-3)
    for name, value in plain.tensors.items():
        np.testing.assert_allclose(private.tensors[name], value, atol=2e-3)


def test_rounds_add_up_and_are_repeatable_with_the_secret(model: LoraModel) -> None:
    privacy = agreed(accountant="rdp")
    first = train(model, privacy)
    assert digest(first) == digest(train(model, privacy))
    assert digest(first) != digest(train(model, privacy, secret=os.urandom(32)))
    assert digest(train(model, privacy, secret=None)) != digest(train(model, privacy, secret=None))
    assert first.privacy is not None
    assert first.privacy.history == (Mechanism(1.0, 0.5, 3),)
    second = train(model, privacy, spent=first.privacy)
    assert second.privacy is not None
    assert second.privacy.steps == 6
    assert second.privacy.epsilon > first.privacy.epsilon
    assert train(model, None).privacy is None


def test_a_private_run_is_resumed_with_its_own_noise(model: LoraModel, tmp_path: Path) -> None:
    class Stopped(Exception):
        pass

    def stop(progress) -> None:
        if progress.step == 2:
            raise Stopped

    checkpoint = Checkpoint(tmp_path, every=1)
    with pytest.raises(TrainingError, match="needs the run's secret"):
        train(model, agreed(), checkpoint=checkpoint, secret=None)
    with pytest.raises(Stopped):
        train(model, agreed(), checkpoint=checkpoint, progress=stop)
    with pytest.raises(CheckpointMismatch, match="privacy is"):
        train(model, agreed(), checkpoint=checkpoint, secret=os.urandom(32))
    assert SECRET not in checkpoint.path.read_bytes()
    assert digest(train(model, agreed(), checkpoint=checkpoint)) == digest(train(model, agreed()))


def test_an_empty_batch_is_a_step_of_noise_alone(model: LoraModel) -> None:
    result = train(model, agreed(), batch_size=1, steps=12)
    assert result.steps == 12
    assert 0 < len(result.losses) < 12
    assert result.privacy is not None
    assert result.privacy.steps == 12


@pytest.mark.parametrize("batching", ["packed", "bucketed"])
def test_only_independent_draws_are_private(model: LoraModel, batching) -> None:
    with pytest.raises(ConfigError, match="cannot be private"):
        train(model, agreed(), settings=EngineSettings(batching=batching))


def test_private_training_in_bf16_keeps_the_bound(model: LoraModel) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        result = train(model, agreed(), settings=EngineSettings(precision="bf16"))
    assert all(np.isfinite(value).all() for value in result.tensors.values())
