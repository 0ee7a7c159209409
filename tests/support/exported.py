"""Random small models with a block of random numbers, as tests of exports need them."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from transformers import AutoTokenizer, GPT2Config, LlamaConfig, PreTrainedConfig, Qwen2Config

from rescind.core import FloatTensors, LoraParameters, TextParameters
from rescind.training import LoraModel, load_base
from rescind.training.export.origin import Origin
from rescind.training.export.source import Source
from rescind.training.serving.serve import generate
from tests.support.models import parameters_of, save_base

LORA = LoraParameters(rank=4, alpha=12, train_a=True)
OWNER = "0x" + "ab" * 20
ORIGIN = Origin(
    OWNER,
    organization="borealis",
    adapter_id="cd" * 32,
    model_id=7,
    in_use=True,
    chain_id=31337,
    contracts={"Members": "0x" + "11" * 20},
)
CHAT_TEMPLATE = (
    "{% for m in messages %}<|{{ m['role'] }}|>{{ m['content'] }}<e>{% endfor %}"
    "{% if add_generation_prompt %}<|assistant|>{% endif %}"
)
_SMALL: dict[str, Any] = {
    "vocab_size": 300,
    "hidden_size": 32,
    "intermediate_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "max_position_embeddings": 128,
    "eos_token_id": 0,
    "bos_token_id": None,
}
CONFIGS: dict[str, PreTrainedConfig] = {
    "llama": LlamaConfig(**_SMALL, tie_word_embeddings=True),
    "qwen2": Qwen2Config(**_SMALL),
    "gpt2": GPT2Config(
        vocab_size=300, n_embd=32, n_layer=2, n_head=2, n_positions=128, eos_token_id=0
    ),
}


@dataclass(frozen=True)
class Sample:
    """A base model in a folder, with a block of random numbers."""

    folder: Path
    model: LoraModel
    source: Source
    tensors: FloatTensors

    def prompt(self, question: str) -> tuple[int, ...]:
        return self.source.encoder.prompt(question).tokens

    def logits(self, inputs: Any) -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = self._served(**inputs).logits
        return result

    def bare_logits(self, inputs: Any) -> torch.Tensor:
        with torch.inference_mode():
            result: torch.Tensor = self.model.use(None)(**inputs).logits
        return result

    def answer(self, question: str, length: int) -> str:
        """The greedy answer that `rescind ask` gives."""
        return generate(self.model.base, self._served, [question], length)[0]

    @property
    def _served(self) -> Any:
        return self.model.use("block")


def make_sample(
    folder: Path,
    config: PreTrainedConfig,
    text: TextParameters | None = None,
    *,
    lora: LoraParameters = LORA,
    template: str = "",
) -> Sample:
    """Save a random model and draw a block for it that changes answers."""
    save_base(folder, config)
    if template:
        tokenizer = AutoTokenizer.from_pretrained(folder)
        tokenizer.chat_template = template
        tokenizer.save_pretrained(folder)
    model = LoraModel(load_base(folder, text=text), lora)
    agreed = parameters_of(model).model_copy(update={"text": text or TextParameters()})
    random = np.random.default_rng(5)
    tensors = {
        name: random.normal(0, 0.3, shape).astype(np.float32)
        for name, shape in model.shapes.items()
    }
    model.put("block", tensors)
    return Sample(folder, model, Source.open(agreed, str(folder)), tensors)
