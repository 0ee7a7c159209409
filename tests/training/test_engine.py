"""One result, whatever the settings of the engine; rules and progress."""

from dataclasses import replace

import numpy as np
import pytest
import torch

from rescind.core.errors import ConfigError, DataError
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    EngineSettings,
    LoraModel,
    Progress,
    TrainResult,
    load_base,
)
from rescind.training.engine.speed import Speed
from rescind.training.rules.rule import Rule
from tests.support.models import (
    digest,
    distance,
    moved,
    train,
)


@pytest.fixture(scope="module")
def model() -> LoraModel:
    return LoraModel(load_base(BASE_MODEL), default_lora("isolated"))


@pytest.mark.parametrize(
    "settings",
    [
        EngineSettings(micro_batch=1),
        EngineSettings(micro_batch=3),
        EngineSettings(batching="packed"),
        EngineSettings(batching="packed", micro_batch=2, pack_length=64),
    ],
)
def test_accumulated_and_packed_batches_train_like_whole_batches(
    model: LoraModel, settings: EngineSettings
) -> None:
    whole, other = train(model, steps=3), train(model, steps=3, settings=settings)
    assert other.losses == pytest.approx(whole.losses, rel=1e-4)
    assert distance(whole, other) < 0.02 * moved(model, whole)
    assert other.tokens == whole.tokens


@pytest.mark.parametrize(
    "settings", [EngineSettings(micro_batch=2), EngineSettings(batching="packed")]
)
def test_the_summed_gradient_of_the_parts_equals_that_of_the_batch(
    model: LoraModel, settings: EngineSettings
) -> None:
    def gradient(settings: EngineSettings) -> dict[str, torch.Tensor]:
        gradients: dict[str, torch.Tensor] = {}

        class Look(Rule):
            def after_backward(self, step, batch, tensors) -> None:
                gradients.update({n: t.grad.clone() for n, t in tensors.items()})

        train(model, steps=1, settings=settings, rules=[Look()])
        return gradients

    whole, parts = gradient(EngineSettings()), gradient(settings)
    for name, value in whole.items():
        torch.testing.assert_close(parts[name], value, rtol=1e-3, atol=1e-6)


def test_recomputed_activations_give_the_same_bytes(model: LoraModel) -> None:
    settings = EngineSettings(gradient_checkpointing=True)
    assert digest(train(model, settings=settings)) == digest(train(model))
    assert not any(module.training for module in model.use(None).modules())


def test_bf16_trains_close_to_float32(model: LoraModel) -> None:
    narrow = train(model, settings=EngineSettings(precision="bf16"))
    assert narrow.losses == pytest.approx(train(model).losses, rel=0.05)
    assert all(value.dtype == np.float32 for value in narrow.tensors.values())


def test_a_bf16_base_keeps_its_lora_tensors_in_float32() -> None:
    narrow = LoraModel(load_base(BASE_MODEL, dtype="bfloat16"), default_lora("isolated"))
    assert next(narrow.base.model.parameters()).dtype == torch.bfloat16
    result = train(narrow, settings=EngineSettings(precision="bf16"))
    assert all(value.dtype == np.float32 for value in result.tensors.values())
    assert result.losses[-1] < result.losses[0]


def test_every_setting_is_repeatable_on_a_cpu(model: LoraModel) -> None:
    for settings in (
        EngineSettings(batching="bucketed"),
        EngineSettings(batching="packed", precision="bf16", micro_batch=2),
    ):
        assert digest(train(model, settings=settings)) == digest(train(model, settings=settings))


def test_training_restores_the_settings_of_torch(model: LoraModel) -> None:
    before = torch.are_deterministic_algorithms_enabled()
    train(model, steps=1)
    assert torch.are_deterministic_algorithms_enabled() == before


@pytest.mark.parametrize(
    ("wrong", "message"),
    [
        ({"batching": "sorted"}, "batching is 'sorted'"),
        ({"precision": "fp8"}, "precision is 'fp8'"),
        ({"micro_batch": 0}, "micro_batch is 0"),
    ],
)
def test_a_wrong_setting_is_named(wrong: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        EngineSettings(**wrong)


def test_a_round_without_steps_or_examples_is_refused(model: LoraModel) -> None:
    with pytest.raises(DataError, match="trains nothing"):
        train(model, steps=0)
    with pytest.raises(DataError, match="trains nothing"):
        train(model, examples=[])


def test_rules_are_called_in_order_with_the_whole_batch(model: LoraModel) -> None:
    calls: list[tuple[str, int, int]] = []

    class Tell(Rule):
        def before_forward(self, step, batch, tensors) -> None:
            calls.append(("before", step, len(batch)))

        def penalty(self, tensors):
            assert list(tensors) == sorted(tensors)
            calls.append(("penalty", 0, 0))

        def after_backward(self, step, batch, tensors) -> None:
            assert all(t.grad is not None for t in tensors.values())
            calls.append(("backward", step, len(batch)))

        def after_step(self, step, batch, tensors) -> None:
            calls.append(("step", step, len(batch)))

    plain = train(model, steps=2)
    ruled = train(model, steps=2, rules=[Tell()], settings=EngineSettings(micro_batch=4))
    assert digest(plain) == digest(ruled)
    per_step = [("before", 0, 4), ("penalty", 0, 0), ("backward", 0, 4), ("step", 0, 4)]
    assert calls == [*per_step, *((w, 1 if w != "penalty" else 0, n) for w, _, n in per_step)]


def test_a_strong_penalty_holds_the_parameters(model: LoraModel) -> None:
    class Hold(Rule):
        def penalty(self, tensors):
            return 1e4 * sum(t.square().sum() for n, t in tensors.items() if "lora_B" in n)

    free, held = train(model, steps=6), train(model, steps=6, rules=[Hold()])

    def size(result: TrainResult) -> float:
        return sum(float(np.square(v).sum()) for n, v in result.tensors.items() if "lora_B" in n)

    assert size(held) < 0.5 * size(free)


def test_speed_is_smoothed_and_follows() -> None:
    now = [0.0]
    speed = Speed(lambda: now[0])
    for _ in range(50):
        now[0] += 1.0
        speed.add(100)
    assert speed.rate == pytest.approx(100)
    now[0] += 1.0
    speed.add(200)
    assert 100 < speed.rate < 120
    for _ in range(80):
        now[0] += 1.0
        speed.add(200)
    assert speed.rate == pytest.approx(200, rel=1e-3)


def test_progress_reports_every_step(model: LoraModel) -> None:
    reports: list[Progress] = []
    result = train(model, steps=3, progress=reports.append)
    assert [(p.step, p.steps) for p in reports] == [(1, 3), (2, 3), (3, 3)]
    assert tuple(p.loss for p in reports) == result.losses
    assert all(p.tokens_per_second > 0 for p in reports)


def test_settings_survive_a_round_trip_through_a_dict() -> None:
    settings = EngineSettings(batching="packed")
    assert EngineSettings(**settings.to_dict()) == settings
    assert replace(settings, batching="plain") == EngineSettings()
