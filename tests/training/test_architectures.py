"""Load, train, export and reload tiny random models of many architectures."""

from pathlib import Path

import numpy as np
import pytest
import torch
from peft import PeftModel

from rescind.core import materialize, qualify, quantize, weighted_sum
from rescind.core.errors import TrainingError
from rescind.devnet.defaults import default_lora, default_parameters
from rescind.training import (
    Assistant,
    Example,
    LoraModel,
    RoundTraining,
    evaluate,
    export_peft,
    load_base,
    train_round,
)
from rescind.training.model.reach import reach
from tests.support.tiny_models import ARCHITECTURES, save_model

ME = "0x" + "ab" * 20
QUICK = ("llama", "gpt2", "mixtral")
PAIRS = [
    Example("where is the bridge?", "over the river", "Ada"),
    Example("where is the river?", "under the bridge, and a good deal further on", "Ada"),
]


def trained(model: LoraModel):
    """Return parameters and the totals of a round of two steps."""
    parameters = default_parameters("isolated", model.base.id, model.shapes, seed=0)
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)
    after = train_round(model, parameters, start, PAIRS, RoundTraining(steps=2)).tensors
    assert any((after[name] != start[name]).any() for name in after)
    update = {qualify(ME, n): v.astype(np.float64) - start[n] for n, v in after.items()}
    delta = quantize(update, None, fraction_bits=20, clip_norm=256.0)
    return parameters, weighted_sum([(delta.delta, 10_000)])


@pytest.mark.filterwarnings(
    "ignore::FutureWarning", "ignore::UserWarning", "ignore::RuntimeWarning"
)
@pytest.mark.parametrize(
    "architecture",
    [
        name if name in QUICK else pytest.param(name, marks=pytest.mark.slow)
        for name in ARCHITECTURES
    ],
)
def test_an_architecture_trains_and_its_export_gives_the_same_logits(
    architecture: str, tmp_path: Path
) -> None:
    folder = save_model(tmp_path / "base", architecture)
    model = LoraModel(load_base(folder, device="cpu"), default_lora("isolated"))
    parameters, totals = trained(model)
    assistant = Assistant(model, parameters, totals)
    assert evaluate(assistant, PAIRS).total == len(PAIRS)

    export_peft(parameters, totals, ME, str(folder), tmp_path / "export")
    fresh = load_base(folder, device="cpu")
    loaded = PeftModel.from_pretrained(fresh.model, str(tmp_path / "export")).eval()
    tokens = torch.tensor([fresh.tokenizer.encode("Question: where?\nAnswer:")])
    with torch.inference_mode():
        wanted = model.use(f"block_{ME}")(input_ids=tokens).logits
        given = loaded(input_ids=tokens).logits
        bare = model.use(None)(input_ids=tokens).logits
    assert torch.equal(wanted, given)
    assert not torch.equal(bare, wanted)


def test_all_linear_reaches_the_layers_that_gpt2_keeps_transposed(tmp_path: Path) -> None:
    model = LoraModel(
        load_base(save_model(tmp_path, "gpt2"), device="cpu"), default_lora("isolated")
    )
    fused = "transformer.h.0.attn.c_attn"
    assert model.shapes[f"{fused}.lora_A"] == (8, 32)
    assert model.shapes[f"{fused}.lora_B"] == (96, 8)
    assert not reach(model).left_out


def test_grouped_heads_get_smaller_factors(tmp_path: Path) -> None:
    model = LoraModel(load_base(save_model(tmp_path), device="cpu"), default_lora("isolated"))
    attention = "model.layers.0.self_attn"
    assert model.shapes[f"{attention}.q_proj.lora_B"] == (32, 8)
    assert model.shapes[f"{attention}.k_proj.lora_B"] == (16, 8)


def test_experts_that_lora_leaves_alone_are_named(tmp_path: Path) -> None:
    base = load_base(save_model(tmp_path, "qwen2_moe"), device="cpu")
    result = reach(LoraModel(base, default_lora("isolated")))
    experts = [left for left in result.left_out if "experts" in left.name]
    assert experts
    assert "all experts" in experts[0].reason
    assert 0 < result.share < 0.5


@pytest.mark.filterwarnings("ignore::UserWarning")
def test_a_model_that_lora_cannot_train_is_refused(tmp_path: Path) -> None:
    lora = default_lora("isolated").model_copy(update={"target_modules": ("no_such_layer",)})
    base = load_base(save_model(tmp_path), device="cpu")
    with pytest.raises(TrainingError, match="no_such_layer"):
        LoraModel(base, lora)
