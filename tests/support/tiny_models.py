"""Tiny random models of many architectures, with a tokenizer of their own."""

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoConfig, AutoModelForCausalLM, PreTrainedTokenizerFast

ROWS = 320
_TEXTS = ["Question: where is the bridge? Answer: over the river."] * 9
_SMALL = {
    "vocab_size": ROWS,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": 256,
    "bos_token_id": 0,
    "eos_token_id": 0,
    "pad_token_id": None,
}
_GROUPED = _SMALL | {"num_key_value_heads": 2}
_EXPERTS = {"num_experts_per_tok": 2, "moe_intermediate_size": 16}

ARCHITECTURES: dict[str, dict[str, Any]] = {
    "llama": _GROUPED,
    "mistral": _GROUPED | {"sliding_window": 64},
    "qwen2": _GROUPED | {"tie_word_embeddings": True},
    "qwen3": _GROUPED | {"head_dim": 8},
    "gemma2": _GROUPED | {"head_dim": 8, "query_pre_attn_scalar": 8},
    "gpt2": {
        "vocab_size": ROWS,
        "n_embd": 32,
        "n_layer": 2,
        "n_head": 4,
        "n_positions": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "gpt_neox": _SMALL,
    "opt": _SMALL | {"ffn_dim": 48, "word_embed_proj_dim": 32, "pad_token_id": 1},
    "phi": _SMALL,
    "phi3": _GROUPED,
    "mixtral": _GROUPED | {"num_local_experts": 4, "num_experts_per_tok": 2},
    "qwen2_moe": _GROUPED
    | _EXPERTS
    | {"num_experts": 4, "shared_expert_intermediate_size": 16, "decoder_sparse_step": 1},
    "falcon": _SMALL | {"num_kv_heads": 2, "new_decoder_architecture": True},
    "bloom": {
        "vocab_size": ROWS,
        "hidden_size": 32,
        "n_layer": 2,
        "n_head": 4,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "gpt_neo": {
        "vocab_size": ROWS,
        "hidden_size": 32,
        "num_layers": 2,
        "num_heads": 4,
        "attention_types": [[["global", "local"], 1]],
        "max_position_embeddings": 256,
        "bos_token_id": 0,
        "eos_token_id": 0,
    },
    "olmo2": _GROUPED,
    "granite": _GROUPED,
    "stablelm": _GROUPED,
    "starcoder2": _GROUPED,
    "cohere": _GROUPED,
}
"""Small configurations of causal language models, by transformers' model type."""


OWN_CODE = """
from transformers import LlamaConfig, LlamaForCausalLM
class OwnConfig(LlamaConfig):
    model_type = "own_llama"
class OwnModel(LlamaForCausalLM):
    config_class = OwnConfig
"""
"""Python of a model's own, which is that of Llama under another name."""


@cache
def tokenizer() -> PreTrainedTokenizerFast:
    """Return a byte-level tokenizer with the end-of-text token <e>, id 0."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(_TEXTS, vocab_size=300, special_tokens=["<e>"], show_progress=False)
    return PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<e>")


def save_model(
    folder: Path,
    architecture: str = "llama",
    *,
    shard: str = "50GB",
    change: Callable[[Any], None] = lambda model: None,
    **settings: Any,
) -> Path:
    """Save a random model and its tokenizer into a folder, and return the folder.

    Args:
        folder: Where.
        architecture: A key of ARCHITECTURES.
        shard: The largest weight file.
        change: Is called with the model before it is saved.
        settings: Of the configuration, instead of the small ones.
    """
    torch.manual_seed(0)
    config = AutoConfig.for_model(architecture, **ARCHITECTURES[architecture] | settings)
    model = AutoModelForCausalLM.from_config(config)
    change(model)
    model.save_pretrained(folder, max_shard_size=shard)
    tokenizer().save_pretrained(folder)
    return folder


def edit_json(path: Path, **values: Any) -> None:
    """Set keys of a JSON file; None removes a key."""
    document = json.loads(path.read_text()) | values
    kept = {name: value for name, value in document.items() if value is not None}
    path.write_text(json.dumps(kept))


def give_own_code(folder: Path) -> Path:
    """Make a saved Llama a model that needs Python code of its own, and return its folder."""
    (folder / "own.py").write_text(OWN_CODE)
    names = {"AutoConfig": "own.OwnConfig", "AutoModelForCausalLM": "own.OwnModel"}
    edit_json(folder / "config.json", model_type="own_llama", auto_map=names)
    return folder
