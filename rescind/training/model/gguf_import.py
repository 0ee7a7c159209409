"""Conversion of a Llama model in GGUF to a folder that transformers loads.

The folder is the same bytes on every machine and with every version of transformers: configuration
and tokenizer are written here rather than by transformers, whose files name its version. Weights are
dequantized by the `gguf` package and stored as bfloat16.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from safetensors.torch import save_file

from rescind.core.errors import TrainingError

_SPECIAL = 3
"""Type of a token that no text gives, such as <|im_end|>: GGUF's LLAMA_TOKEN_TYPE_CONTROL."""
_OUTSIDE = {
    "token_embd.weight": "model.embed_tokens.weight",
    "output_norm.weight": "model.norm.weight",
    "output.weight": "lm_head.weight",
}
_LAYER = {
    "attn_norm": "input_layernorm",
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_norm": "post_attention_layernorm",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
}


def convert_gguf(source: Path, folder: Path, say: Callable[[str], None] = lambda _: None) -> None:
    """Write the model of a GGUF file into a folder: weights, configuration, tokenizer, chat template.

    Args:
        source: A GGUF file of architecture "llama" with a byte-level BPE tokenizer of kind "smollm".
        folder: An existing folder.
        say: Is called with what is being done.

    Raises:
        TrainingError: The package `gguf` is not installed, or the file is of another kind.
    """
    try:
        from gguf import GGUFReader
    except ImportError as error:
        raise TrainingError(
            "Converting GGUF weights needs the package gguf. Install it: pip install "
            "'rescind[train]'"
        ) from error
    say("reading GGUF weights")
    reader = GGUFReader(source)
    facts = {name: field.contents() for name, field in reader.fields.items()}
    for key, wanted in (
        ("general.architecture", "llama"),
        ("tokenizer.ggml.model", "gpt2"),
        ("tokenizer.ggml.pre", "smollm"),
    ):
        if facts.get(key) != wanted:
            raise TrainingError(
                f"{source} has {key} = {facts.get(key)!r}; only {wanted!r} is converted."
            )
    say("writing weights as bfloat16")
    tensors = {tensor.name: tensor for tensor in reader.tensors}
    config = _config(facts, tied="output.weight" not in tensors)
    weights = folder / "model.safetensors"
    save_file(_weights(tensors, config), weights, metadata={"format": "pt"})
    weights.chmod(0o644)
    _write(folder / "config.json", config)
    _write(folder / "tokenizer.json", _tokenizer(facts))
    _write(folder / "tokenizer_config.json", _tokenizer_config(facts))


def _write(path: Path, value: Mapping[str, Any]) -> None:
    path.write_bytes((json.dumps(value, indent=2, ensure_ascii=False) + "\n").encode())


def _config(facts: Mapping[str, Any], *, tied: bool) -> dict[str, Any]:
    heads = int(facts["llama.attention.head_count"])
    width = int(facts["llama.embedding_length"])
    return {
        "architectures": ["LlamaForCausalLM"],
        "attention_bias": False,
        "bos_token_id": int(facts["tokenizer.ggml.bos_token_id"]),
        "dtype": "bfloat16",
        "eos_token_id": int(facts["tokenizer.ggml.eos_token_id"]),
        "head_dim": width // heads,
        "hidden_act": "silu",
        "hidden_size": width,
        "intermediate_size": int(facts["llama.feed_forward_length"]),
        "max_position_embeddings": int(facts["llama.context_length"]),
        "mlp_bias": False,
        "model_type": "llama",
        "num_attention_heads": heads,
        "num_hidden_layers": int(facts["llama.block_count"]),
        "num_key_value_heads": int(facts["llama.attention.head_count_kv"]),
        "pad_token_id": int(facts["tokenizer.ggml.padding_token_id"]),
        # GGUF has float32; the shortest decimal of that float is the value that was meant.
        "rms_norm_eps": float(str(np.float32(facts["llama.attention.layer_norm_rms_epsilon"]))),
        "rope_theta": float(str(np.float32(facts["llama.rope.freq_base"]))),
        "tie_word_embeddings": tied,
        "vocab_size": int(facts["llama.vocab_size"]),
    }


def _weights(tensors: Mapping[str, Any], config: Mapping[str, Any]) -> dict[str, torch.Tensor]:
    from gguf.quants import dequantize

    heads = {
        "attn_q": int(config["num_attention_heads"]),
        "attn_k": int(config["num_key_value_heads"]),
    }
    result = {}
    for name, tensor in tensors.items():
        values: NDArray[np.float32] = dequantize(tensor.data, tensor.tensor_type)
        values = values.reshape(tuple(int(n) for n in reversed(tensor.shape)))
        part = name.split(".")[2] if name.startswith("blk.") else ""
        if part in heads:
            values = _unpaired(values, heads[part])
        # A copy: what `gguf` reads from the file cannot be written to.
        result[_name(name)] = torch.from_numpy(np.array(values)).to(torch.bfloat16)
    return result


def _unpaired(values: NDArray[np.float32], heads: int) -> NDArray[np.float32]:
    """Undo llama.cpp's order of rows, in which the two halves of each rotary pair are neighbours."""
    half = values.shape[0] // heads // 2
    split = values.reshape(heads, half, 2, *values.shape[1:])
    return split.swapaxes(1, 2).reshape(values.shape)


def _name(name: str) -> str:
    """Return the name that transformers gives a tensor of GGUF."""
    if name in _OUTSIDE:
        return _OUTSIDE[name]
    try:
        block, layer, part, kind = name.split(".")
        if block == "blk" and kind == "weight":
            return f"model.layers.{int(layer)}.{_LAYER[part]}.weight"
    except (ValueError, KeyError):
        pass
    raise TrainingError(f"The GGUF tensor {name!r} is not one of a Llama model.")


def _tokenizer(facts: Mapping[str, Any]) -> dict[str, Any]:
    """Return the tokenizer in the format of the `tokenizers` library.

    The kind "smollm" splits numbers into digits, then as GPT-2 does, and merges bytes.
    """
    tokens = facts["tokenizer.ggml.tokens"]
    types = facts["tokenizer.ggml.token_type"]
    level = {"add_prefix_space": False, "trim_offsets": True, "use_regex": True}
    return {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": [
            {
                "id": number,
                "content": token,
                "single_word": False,
                "lstrip": False,
                "rstrip": False,
                "normalized": False,
                "special": True,
            }
            for number, (token, kind) in enumerate(zip(tokens, types, strict=True))
            if kind == _SPECIAL
        ],
        "normalizer": None,
        "pre_tokenizer": {
            "type": "Sequence",
            "pretokenizers": [
                {"type": "Digits", "individual_digits": True},
                {"type": "ByteLevel", **level},
            ],
        },
        "post_processor": None,
        "decoder": {"type": "ByteLevel", **level},
        "model": {
            "type": "BPE",
            "dropout": None,
            "unk_token": None,
            "continuing_subword_prefix": None,
            "end_of_word_suffix": None,
            "fuse_unk": False,
            "byte_fallback": False,
            "ignore_merges": False,
            "vocab": {token: number for number, token in enumerate(tokens)},
            "merges": [merge.split(" ") for merge in facts["tokenizer.ggml.merges"]],
        },
    }


def _tokenizer_config(facts: Mapping[str, Any]) -> dict[str, Any]:
    tokens = facts["tokenizer.ggml.tokens"]
    return {
        "bos_token": tokens[facts["tokenizer.ggml.bos_token_id"]],
        "chat_template": facts["tokenizer.chat_template"],
        "clean_up_tokenization_spaces": False,
        "eos_token": tokens[facts["tokenizer.ggml.eos_token_id"]],
        "model_max_length": int(facts["llama.context_length"]),
        "pad_token": tokens[facts["tokenizer.ggml.padding_token_id"]],
        "tokenizer_class": "PreTrainedTokenizerFast",
        "unk_token": tokens[facts["tokenizer.ggml.unknown_token_id"]],
    }
