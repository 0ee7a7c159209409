import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    GPT2Config,
    GPTNeoXConfig,
    LlamaConfig,
    MistralConfig,
    PhiConfig,
    PreTrainedConfig,
    Qwen2Config,
)

from rescind.core import (
    ConsortiumParameters,
    LoraParameters,
    add_totals,
    artifact_id,
    block,
    encode,
    materialize,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core.errors import ConfigError, DataError, TrainingError
from rescind.devnet.defaults import BASE_MODEL, default_lora
from rescind.training import (
    Base,
    Checkpoint,
    CheckpointBroken,
    CheckpointMismatch,
    EngineSettings,
    LoraModel,
    NotPackable,
    Progress,
    RoundTraining,
    RuleNotResumable,
    TrainResult,
    WrongAdapter,
    load_base,
    train_round,
    verify_loaded,
)
from rescind.training.engine.batches import (
    Batch,
    batch_losses,
    encode_example,
    pad,
    token_losses,
)
from rescind.training.engine.gradients import micro_batches
from rescind.training.engine.packing import check_packing, pack, rows_of
from rescind.training.engine.sampling import bucketed, shuffled
from rescind.training.engine.speed import Speed
from rescind.training.rules.rule import Rule
from tests.support.models import (
    ME,
    digest,
    examples,
    parameters_of,
    save_base,
    start_of,
)


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


@pytest.fixture(scope="module")
def model(base: Base) -> LoraModel:
    return LoraModel(base, default_lora("isolated"))


def train(model: LoraModel, *, steps: int = 4, seed: int = 3, **engine) -> TrainResult:
    parameters = engine.pop("parameters", None) or parameters_of(model)
    given_examples = engine.pop("examples", examples())
    start = engine.pop("start", None) or start_of(model, parameters)
    training = RoundTraining(steps=steps, seed=seed, **engine)
    return train_round(model, parameters, start, given_examples, training)


def distance(first: TrainResult, other: TrainResult) -> float:
    return max(
        float(np.abs(first.tensors[n] - other.tensors[n]).max(initial=0)) for n in first.tensors
    )


def moved(model: LoraModel, result: TrainResult) -> float:
    start = start_of(model, parameters_of(model))
    return max(float(np.abs(result.tensors[n] - start[n]).max()) for n in result.tensors)


# --- one result, whatever the settings ------------------------------------------------------------


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


# --- rows and batches -----------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=1, max_size=30), st.integers(1, 60))
def test_packing_uses_every_pair_once_and_overfills_no_row(
    lengths: list[int], capacity: int
) -> None:
    rows = rows_of(lengths, capacity)
    assert sorted(index for row in rows for index in row) == list(range(len(lengths)))
    for row in rows:
        assert len(row) == 1 or sum(lengths[index] for index in row) <= capacity


@given(st.lists(st.integers(1, 40), min_size=1, max_size=50), st.integers(1, 9), st.integers(0, 99))
def test_buckets_draw_every_pair_equally_often(lengths: list[int], size: int, seed: int) -> None:
    order = bucketed(lengths, size, seed)
    size = min(size, len(lengths))
    drawn = [index for _ in range(4 * len(lengths)) for index in next(order)]
    counts = np.bincount(drawn, minlength=len(lengths))
    assert counts.sum() == 4 * len(lengths) * size
    assert counts.max() - counts.min() <= 2 * -(-16 * size // len(lengths)) + 1


def test_buckets_hold_pairs_of_like_length() -> None:
    lengths = list(np.random.default_rng(1).integers(5, 200, size=256))
    spread = []
    for order in (bucketed(lengths, 8, 0), shuffled(256, 8, 0)):
        batches = [next(order) for _ in range(32)]
        spread.append(sum(8 * max(lengths[p] for p in b) for b in batches) / sum(lengths))
    assert spread[0] < 1.1 < 1.5 < spread[1]


def test_micro_batches_keep_the_order(base: Base) -> None:
    rows = [encode_example(base, e, 512) for e in examples(5)]
    assert [len(part) for part in micro_batches(rows, 2)] == [2, 2, 1]
    assert [row for part in micro_batches(rows, 2) for row in part] == rows


def test_the_flat_loss_equals_the_plain_loss(model: LoraModel) -> None:
    rows = [encode_example(model.base, e, 512) for e in examples(5)]
    tokens, mask, labels = pad(model.base, rows, prompt_in_loss=False)
    with torch.no_grad():
        plain = token_losses(model.use(None), tokens, mask, labels)
        flat = batch_losses(model.use(None), Batch(tokens, mask, labels), flat=True)
    torch.testing.assert_close(plain, flat, rtol=1e-5, atol=1e-5)


# --- any causal language model --------------------------------------------------------------------

_SIZE = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 2,
    "num_key_value_heads": 2,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": 0,
}


def _of(size: dict[str, int], *left_out: str) -> dict[str, int]:
    return {name: value for name, value in size.items() if name not in left_out}


CONFIGS: dict[str, tuple[PreTrainedConfig, tuple[str, ...]]] = {
    "gpt2": (
        GPT2Config(
            vocab_size=300,
            n_embd=32,
            n_layer=2,
            n_head=2,
            n_positions=256,
            bos_token_id=0,
            eos_token_id=0,
        ),
        ("c_attn",),
    ),
    "llama": (LlamaConfig(**_SIZE), ("q_proj", "v_proj")),
    "qwen2": (Qwen2Config(**_SIZE), ("gate_proj", "o_proj")),
    "gpt_neox": (GPTNeoXConfig(**_of(_SIZE, "num_key_value_heads")), ("query_key_value",)),
    "mistral": (MistralConfig(**_SIZE), ("k_proj", "down_proj")),
    "phi": (PhiConfig(**_SIZE), ("q_proj", "fc1")),
}


@pytest.fixture(scope="module")
def bases(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {
        name: save_base(tmp_path_factory.mktemp(name), config)
        for name, (config, _) in CONFIGS.items()
    }


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("all_linear", [True, False])
def test_lora_works_on_any_causal_model(
    bases: dict[str, Path], name: str, all_linear: bool
) -> None:
    targets = "all-linear" if all_linear else CONFIGS[name][1]
    lora = LoraParameters(rank=4, alpha=8, target_modules=targets, train_a=True)
    model = LoraModel(load_base(bases[name]), lora)
    if not all_linear:
        assert all(any(f".{t}." in n for t in targets) for n in model.shapes)
    assert any("lora_B" in n for n in model.shapes)
    result = train(model, steps=3, examples=examples(4))
    assert result.losses[-1] < result.losses[0]
    assert moved(model, result) > 0


@pytest.mark.parametrize("name", CONFIGS)
@pytest.mark.parametrize("attention", ["sdpa", "eager"])
def test_a_pair_has_the_same_loss_packed_and_alone(
    bases: dict[str, Path], name: str, attention: str
) -> None:
    base = load_base(bases[name])
    base.model.set_attn_implementation(attention)
    rows = [encode_example(base, e, 256) for e in examples(6)]
    batch = pack(base, rows, 200)
    assert batch.tokens.shape[0] < len(rows)
    assert batch.segments is not None
    with torch.no_grad():
        packed = batch_losses(base.model, batch, flat=True)
        for index, row in enumerate(rows):
            alone = token_losses(base.model, *pad(base, [row], prompt_in_loss=True))[0]
            own = packed[batch.segments[:, 1:] == index]
            own = own[own != 0]
            torch.testing.assert_close(own, alone, rtol=1e-4, atol=1e-5)


def test_a_model_whose_packed_pairs_see_each_other_is_refused(base: Base) -> None:
    rows = [encode_example(base, e, 256) for e in examples(4)]

    def leaky(input_ids, attention_mask, use_cache, **places):
        causal = attention_mask if attention_mask.ndim == 2 else None
        return base.model(input_ids=input_ids, attention_mask=causal, use_cache=use_cache)

    with pytest.raises(NotPackable, match="another loss in a shared row"):
        check_packing(base, leaky, rows, 256)
    check_packing(base, base.model, rows, 256)


def test_embeddings_cannot_be_a_lora_target(base: Base) -> None:
    fresh = load_base(BASE_MODEL)
    lora = LoraParameters(rank=2, alpha=4, target_modules=("embed_tokens",), train_a=True)
    with pytest.raises(TrainingError, match="not a pair of matrices"):
        LoraModel(fresh, lora)
    with pytest.raises(TrainingError, match="does not fit"):
        LoraModel(load_base(BASE_MODEL), lora.model_copy(update={"target_modules": ("nothing",)}))


# --- what is in memory ----------------------------------------------------------------------------


class InMemory(NamedTuple):
    """A trained block that is served as adapter "x", and what is registered of it."""

    model: LoraModel
    totals: Mapping[str, Any]
    parameters: ConsortiumParameters
    registered: str

    def verify(self, owner: str = ME, registered: str | None = None) -> str:
        registered = registered or self.registered
        return verify_loaded(self.model, "x", self.totals, self.parameters, owner, registered)


@pytest.fixture(params=[10_000, 3_333], ids=lambda weight: f"weight={weight}")
def in_memory(model: LoraModel, request: pytest.FixtureRequest) -> InMemory:
    parameters = parameters_of(model)
    start = start_of(model, parameters)
    after = train(model, steps=2).tensors
    update = {qualify(ME, n): v.astype(np.float64) - start[n] for n, v in after.items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0).delta
    other = {name.replace("ab", "cd", 1): value for name, value in delta.items()}
    totals = add_totals([weighted_sum([(delta, request.param)]), weighted_sum([(other, 10_000)])])
    model.put("x", materialize(block(totals, ME), model.shapes, parameters=parameters, owner=ME))
    return InMemory(model, totals, parameters, artifact_id(encode(totals)))


def test_the_registered_adapter_in_memory_is_accepted(in_memory: InMemory) -> None:
    registered = in_memory.registered
    assert in_memory.verify() == registered
    assert in_memory.verify(registered="0x" + registered.upper()) == registered


def test_a_corrupted_adapter_in_memory_is_detected(in_memory: InMemory) -> None:
    model = in_memory.model
    entry = model.parameters("x")[sorted(model.shapes)[3]].data.view(-1)
    kept = entry[5].clone()
    for wrong in (kept + 2.0**-20, kept * float("nan"), kept + 100):
        entry[5] = wrong
        with pytest.raises(WrongAdapter, match="differs in memory"):
            in_memory.verify()


def test_an_adapter_in_memory_is_not_accepted_as_another_one(in_memory: InMemory) -> None:
    with pytest.raises(WrongAdapter, match="of another artifact"):
        in_memory.verify(registered="00" * 32)
    with pytest.raises(WrongAdapter, match="no block of"):
        in_memory.verify(owner="0xother")


# --- rules ----------------------------------------------------------------------------------------


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


# --- progress -------------------------------------------------------------------------------------


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


# --- checkpoints ----------------------------------------------------------------------------------

_RUN = """
import sys
from pathlib import Path
from tests.training.test_engine import train_with_checkpoint
print(train_with_checkpoint(Path(sys.argv[1]), tell=True), flush=True)
"""


def train_with_checkpoint(folder: Path, *, tell: bool = False) -> str:
    torch.set_num_threads(1)
    model = LoraModel(load_base(BASE_MODEL), default_lora("isolated"))

    def progress(state: Progress) -> None:
        if tell:
            print(f"step {state.step}", flush=True)

    checkpoint = Checkpoint(folder, every=2)
    settings = EngineSettings(batching="bucketed", micro_batch=2)
    result = train(model, steps=9, checkpoint=checkpoint, settings=settings, progress=progress)
    return f"{digest(result)} resumed at {result.resumed_at}"


@pytest.mark.slow
def test_a_killed_run_continues_to_the_same_bytes(tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(Path.cwd()), "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-W", "ignore", "-c", _RUN, str(tmp_path / "killed")]
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True, env=environment
    ) as child:
        assert child.stdout is not None
        for line in child.stdout:
            if line.strip() == "step 5":
                child.send_signal(signal.SIGKILL)
                break
        assert child.wait() == -signal.SIGKILL
    again = train_with_checkpoint(tmp_path / "killed")
    whole = train_with_checkpoint(tmp_path / "whole")
    assert again.split()[0] == whole.split()[0]
    assert int(again.split()[-1]) >= 4
    assert whole.endswith("resumed at 0")
    assert not list((tmp_path / "killed").iterdir())


class Stopped(Exception):
    pass


def stop_at(step: int):
    def progress(state: Progress) -> None:
        if state.step == step:
            raise Stopped

    return progress


def stopped(model: LoraModel, folder: Path, **engine) -> Checkpoint:
    checkpoint = Checkpoint(folder, every=1)
    with pytest.raises(Stopped):
        train(model, steps=5, checkpoint=checkpoint, progress=stop_at(2), **engine)
    return checkpoint


@pytest.mark.parametrize(
    ("change", "named"),
    [
        ({"seed": 4}, "seed is 3 there and 4 here"),
        ({"examples": examples(9)}, "data is"),
        ({"settings": EngineSettings(micro_batch=2)}, "settings is"),
        ({"rules": [Rule()]}, "rules is"),
        ({"steps": 6}, "steps is 5 there and 6 here"),
    ],
)
def test_a_checkpoint_of_another_run_is_refused(
    model: LoraModel, tmp_path: Path, change: dict[str, object], named: str
) -> None:
    checkpoint = stopped(model, tmp_path)
    with pytest.raises(CheckpointMismatch, match=named):
        train(model, **{"steps": 5, "checkpoint": checkpoint, **change})


def test_a_checkpoint_of_another_start_or_consortium_is_refused(
    model: LoraModel, tmp_path: Path
) -> None:
    checkpoint = stopped(model, tmp_path)
    other = parameters_of(model, seed=1)
    with pytest.raises(CheckpointMismatch, match=r"parameters is .*; start is"):
        train(model, steps=5, checkpoint=checkpoint, parameters=other)


def test_a_checkpoint_of_another_base_is_refused(
    model: LoraModel, bases: dict[str, Path], tmp_path: Path
) -> None:
    checkpoint = stopped(model, tmp_path)
    other = LoraModel(load_base(bases["llama"]), default_lora("isolated"))
    with pytest.raises(CheckpointMismatch, match="base model is"):
        train(other, steps=5, checkpoint=checkpoint)


def test_a_broken_checkpoint_is_refused_with_its_path(model: LoraModel, tmp_path: Path) -> None:
    checkpoint = stopped(model, tmp_path)
    checkpoint.path.write_bytes(checkpoint.path.read_bytes()[:100])
    with pytest.raises(CheckpointBroken, match="Delete it"):
        train(model, steps=5, checkpoint=checkpoint)


class Counting(Rule):
    def __init__(self) -> None:
        self.steps = 0

    def after_step(self, step, batch, tensors) -> None:
        self.steps += 1


class Remembering(Counting):
    def state_dict(self) -> dict[str, torch.Tensor]:
        return {"steps": torch.tensor(self.steps)}

    def load_state_dict(self, state) -> None:
        self.steps = int(state["steps"])


def test_a_rule_with_state_must_save_it_in_the_checkpoint(model: LoraModel, tmp_path: Path) -> None:
    with pytest.raises(RuleNotResumable, match="Counting has changed during the run"):
        train(model, checkpoint=Checkpoint(tmp_path / "a", 1), rules=[Counting()])
    checkpoint = stopped(model, tmp_path / "b", rules=[Remembering()])
    rule = Remembering()
    assert train(model, steps=5, checkpoint=checkpoint, rules=[rule]).resumed_at == 2
    assert rule.steps == 5


def test_settings_survive_a_round_trip_through_a_dict() -> None:
    settings = EngineSettings(batching="packed")
    assert EngineSettings(**settings.to_dict()) == settings
    assert replace(settings, batching="plain") == EngineSettings()
