"""Small base models and rounds that the tests of the engine share."""

from __future__ import annotations

import hashlib
from pathlib import Path

import torch
from tokenizers import ByteLevelBPETokenizer
from transformers import AutoModelForCausalLM, PreTrainedConfig, PreTrainedTokenizerFast

from rescind.core import (
    ConsortiumParameters,
    FloatTensors,
    PrivacyParameters,
    materialize,
)
from rescind.devnet.defaults import default_parameters
from rescind.training import Example, LoraModel, TrainResult

ME = "0x" + "ab" * 20


def examples(count: int = 10) -> list[Example]:
    return [
        Example(f"Where was Ada {n} born{' and raised' * (n % 4)}?", "Oslo " * (1 + n % 3), "Ada")
        for n in range(count)
    ]


def save_base(folder: Path, config: PreTrainedConfig) -> Path:
    """A folder with a random model of this configuration and a byte tokenizer of 300 words."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        ["Question: where? Answer: there."] * 9,
        vocab_size=300,
        special_tokens=["<e>"],
        show_progress=False,
    )
    PreTrainedTokenizerFast(tokenizer_object=bpe._tokenizer, eos_token="<e>").save_pretrained(
        folder
    )
    torch.manual_seed(0)
    AutoModelForCausalLM.from_config(config).save_pretrained(folder)
    return folder


def parameters_of(
    model: LoraModel,
    *,
    batch_size: int = 4,
    privacy: PrivacyParameters | None = None,
    seed: int = 0,
) -> ConsortiumParameters:
    found = default_parameters("isolated", model.base.id, model.shapes, seed=seed)
    training = found.training.model_copy(
        update={"batch_size": batch_size, "privacy": privacy, "steps_per_round": 5}
    )
    return found.model_copy(update={"training": training, "lora": model.lora})


def start_of(model: LoraModel, parameters: ConsortiumParameters) -> FloatTensors:
    return materialize({}, model.shapes, parameters=parameters, owner=ME)


def digest(result: TrainResult) -> str:
    found = result.tensors
    return hashlib.sha256(b"".join(found[n].tobytes() for n in sorted(found))).hexdigest()
