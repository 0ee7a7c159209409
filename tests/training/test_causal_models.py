"""LoRA and packed rows on causal language models of several families."""

from pathlib import Path

import pytest
import torch
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
    LoraParameters,
)
from rescind.core.errors import TrainingError
from rescind.devnet.defaults import BASE_MODEL
from rescind.training import (
    Base,
    LoraModel,
    NotPackable,
    load_base,
)
from rescind.training.engine.batches import (
    batch_losses,
    encode_example,
    pad,
    token_losses,
)
from rescind.training.engine.packing import check_packing, pack
from tests.support.models import (
    examples,
    moved,
    save_base,
    train,
)


@pytest.fixture(scope="module")
def base() -> Base:
    return load_base(BASE_MODEL)


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
