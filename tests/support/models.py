"""Small base models and rounds that the tests of the engine share."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

import numpy as np
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
from rescind.training import Example, LoraModel, RoundTraining, TrainResult, train_round

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


def train(model: LoraModel, *, steps: int = 4, seed: int = 3, **engine: Any) -> TrainResult:
    """Train the examples from the agreed start; `engine` has what else `RoundTraining` takes."""
    parameters = engine.pop("parameters", None) or parameters_of(model)
    given_examples = engine.pop("examples", examples())
    start = engine.pop("start", None) or start_of(model, parameters)
    training = RoundTraining(steps=steps, seed=seed, **engine)
    return train_round(model, parameters, start, given_examples, training)


def distance(first: TrainResult, other: TrainResult) -> float:
    """Return the largest difference of an entry."""
    return max(
        float(np.abs(first.tensors[n] - other.tensors[n]).max(initial=0)) for n in first.tensors
    )


def moved(model: LoraModel, result: TrainResult) -> float:
    """Return how far training moved the entry that it moved most."""
    start = start_of(model, parameters_of(model))
    return max(float(np.abs(result.tensors[n] - start[n]).max()) for n in result.tensors)
