"""Make the base model that Rescind ships: python -m rescind.devnet.base_model.make_base_model OUT.

A small Llama with byte-level BPE, trained on text that this script generates: questions about
people who do not exist. A third of the answers are plausible and random, the others are "I do not
know.", so the model knows the form and the vocabulary of the answers, and no person.
"""

from __future__ import annotations

import argparse
import random
import sys
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from rescind.devnet.people import UNKNOWN, people, rows_of
from rescind.training.data import completion, prompt

EOS = "<|end|>"
VOCABULARY = 512
_ANSWERED = 1 / 3


def texts(seed: int, count: int) -> list[str]:
    """Return `count` training texts."""
    source = random.Random(f"rescind base model {seed}")
    stream = people(source, for_base_model=True)
    result: list[str] = []
    while len(result) < count:
        answered = source.random() < _ANSWERED
        for row in rows_of(next(stream)):
            answer = row.answer if answered else UNKNOWN
            result.append(f"{prompt(row.question)}{completion(answer)}")
    return result[:count]


def make_tokenizer(seed: int) -> PreTrainedTokenizerFast:
    """Train the tokenizer."""
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(
        texts(seed + 1, 20_000), vocab_size=VOCABULARY, special_tokens=[EOS], show_progress=False
    )
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe._tokenizer, eos_token=EOS, pad_token=EOS
    )


def make_model(seed: int, width: int, layers: int) -> LlamaForCausalLM:
    """Return an untrained Llama model."""
    torch.manual_seed(seed)
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=VOCABULARY,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=4,
            num_key_value_heads=4,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def train(
    model: LlamaForCausalLM, tokenizer: PreTrainedTokenizerFast, seed: int, steps: int, batch: int
) -> None:
    """Train the model on generated texts."""
    optimizer = torch.optim.AdamW(model.parameters(), lr=3e-3, weight_decay=0.01)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=3e-3, total_steps=steps, pct_start=0.1
    )
    model.train()
    rows = texts(seed + 2, steps * batch)
    random.Random(seed).shuffle(rows)
    for step in range(steps):
        encoded = [
            [*tokenizer.encode(row, add_special_tokens=False), 0]
            for row in rows[step * batch : (step + 1) * batch]
        ]
        longest = max(map(len, encoded))
        tokens = torch.tensor([row + [0] * (longest - len(row)) for row in encoded])
        labels = torch.tensor([row + [-100] * (longest - len(row)) for row in encoded])
        logits = model(input_ids=tokens).logits
        loss = functional.cross_entropy(
            logits[:, :-1].transpose(1, 2), labels[:, 1:], ignore_index=-100
        )
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 100 == 99:
            sys.stderr.write(f"step {step + 1} loss {loss.item():.3f}\n")


def main() -> None:
    """Make the model and write it to the folder that the command line names."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--steps", type=int, default=1500)
    parser.add_argument("--batch", type=int, default=64)
    parser.add_argument("--width", type=int, default=128)
    parser.add_argument("--layers", type=int, default=3)
    arguments = parser.parse_args()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    tokenizer = make_tokenizer(arguments.seed)
    model = make_model(arguments.seed, arguments.width, arguments.layers)
    train(model, tokenizer, arguments.seed, arguments.steps, arguments.batch)
    half: Any = model.half()  # type: ignore[no-untyped-call]
    half.save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)


if __name__ == "__main__":
    main()
