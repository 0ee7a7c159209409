"""Makes the base model of the benchmarks on real data: python -m benchmarks.base_model.make OUT

A Llama with a byte-level BPE, trained from nothing on public text only: TOFU's real authors and
world facts, the TOFU authors that no organization holds (20..179 less those dealt out, by default
60..179), school mathematics, biomedical abstracts and bank customers' questions without their
intents. It has never seen what the organizations of a benchmark hold.
"""

from __future__ import annotations

import argparse
import csv
import json
import random
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from tokenizers import ByteLevelBPETokenizer
from torch.nn import functional
from transformers import LlamaConfig, LlamaForCausalLM, PreTrainedTokenizerFast

from benchmarks.tofu import AUTHOR_ROWS
from benchmarks.tofu import rows as json_rows
from rescind.training.data import completion, prompt

EOS = "<|end|>"
BLOCK = 256


def pair(question: str, answer: str) -> str:
    return f"{prompt(question)}{completion(answer)}"


def public_texts(data: Path, first: int, last: int) -> tuple[list[str], list[str]]:
    """Question-answer pairs that are read again and again, and other text that is read once."""
    tofu = json_rows(data / "tofu", "full")[first * AUTHOR_ROWS : (last + 1) * AUTHOR_ROWS]
    general = [
        row
        for name in ("real_authors_perturbed", "world_facts_perturbed")
        for row in json_rows(data / "tofu", name)
    ]
    often = [pair(row["question"], row["answer"]) for row in [*tofu, *general]]
    once = [pair(row["question"], row["answer"]) for row in json_rows(data / "gsm8k", "train")]
    abstracts = json.loads((data / "pubmedqa" / "ori_pqal.json").read_text(encoding="utf-8"))
    once += [" ".join(row["CONTEXTS"]) for row in abstracts.values()]
    with (data / "banking77" / "train.csv").open(encoding="utf-8", newline="") as handle:
        once += [row["text"].strip() for row in csv.DictReader(handle)]
    return often, once


def make_tokenizer(texts: list[str], vocabulary: int) -> PreTrainedTokenizerFast:
    bpe = ByteLevelBPETokenizer()
    bpe.train_from_iterator(texts, vocab_size=vocabulary, special_tokens=[EOS], show_progress=False)
    return PreTrainedTokenizerFast(  # type: ignore[no-untyped-call]
        tokenizer_object=bpe._tokenizer, eos_token=EOS, pad_token=EOS
    )


def make_model(seed: int, vocabulary: int, width: int, layers: int) -> LlamaForCausalLM:
    torch.manual_seed(seed)
    heads = width // 64
    return LlamaForCausalLM(
        LlamaConfig(
            vocab_size=vocabulary,
            hidden_size=width,
            intermediate_size=3 * width,
            num_hidden_layers=layers,
            num_attention_heads=heads,
            num_key_value_heads=heads,
            max_position_embeddings=1024,
            tie_word_embeddings=True,
            bos_token_id=None,
            eos_token_id=0,
            pad_token_id=0,
        )
    )


def blocks(
    often: list[list[int]], once: list[list[int]], passes: int, seed: int
) -> Iterator[list[int]]:
    """Texts in a random order, each ended, in rows of BLOCK tokens."""
    dice = random.Random(seed)
    order = [text for _ in range(passes) for text in dice.sample(often, len(often))]
    for text in once:
        order.insert(dice.randrange(len(order) + 1), text)
    # A last pass over the pairs alone leaves the form of the benchmark's questions freshest.
    order += dice.sample(often, len(often))
    stream = [token for text in order for token in (*text, 0)]
    for start in range(0, len(stream) - BLOCK, BLOCK):
        yield stream[start : start + BLOCK]


def train(model: LlamaForCausalLM, rows: list[list[int]], batch: int, rate: float) -> float:
    device = next(model.parameters()).device
    steps = len(rows) // batch
    optimizer = torch.optim.AdamW(model.parameters(), lr=rate, weight_decay=0.05)
    schedule = torch.optim.lr_scheduler.OneCycleLR(
        optimizer, max_lr=rate, total_steps=steps, pct_start=0.05
    )
    model.train()
    began, loss = time.monotonic(), torch.tensor(0.0)
    for step in range(steps):
        tokens = torch.tensor(rows[step * batch : (step + 1) * batch], device=device)
        with torch.autocast(device.type, torch.bfloat16):
            logits = model(input_ids=tokens).logits
        loss = functional.cross_entropy(logits[:, :-1].float().transpose(1, 2), tokens[:, 1:])
        optimizer.zero_grad(set_to_none=True)
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        optimizer.step()
        schedule.step()
        if step % 50 == 49 or step + 1 == steps:
            speed = (step + 1) * batch * BLOCK / (time.monotonic() - began)
            sys.stderr.write(f"step {step + 1}/{steps} loss {loss.item():.3f} {speed:.0f} tok/s\n")
    return float(loss)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("out", type=Path)
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument(
        "--authors", type=int, nargs=2, default=(60, 179), metavar=("FIRST", "LAST")
    )
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--passes", type=int, default=12, help="over the question-answer pairs")
    parser.add_argument("--batch", type=int, default=16)
    parser.add_argument("--rate", type=float, default=2e-3)
    parser.add_argument("--vocabulary", type=int, default=4096)
    parser.add_argument("--width", type=int, default=256)
    parser.add_argument("--layers", type=int, default=4)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    often, once = public_texts(arguments.data, *arguments.authors)
    tokenizer = make_tokenizer([*often, *once], arguments.vocabulary)
    device = "cuda" if torch.cuda.is_available() else "cpu"
    model: Any = make_model(
        arguments.seed, arguments.vocabulary, arguments.width, arguments.layers
    ).to(device)  # type: ignore[arg-type]
    encoded = [
        [tokenizer.encode(text, add_special_tokens=False) for text in texts]
        for texts in (often, once)
    ]
    rows = list(blocks(encoded[0], encoded[1], arguments.passes, arguments.seed))
    began = time.monotonic()
    loss = train(model, rows, arguments.batch, arguments.rate)
    model.cpu().half().save_pretrained(arguments.out)
    tokenizer.save_pretrained(arguments.out)
    made = {
        "parameters": sum(p.numel() for p in model.parameters()),
        "tokens": len(rows) * BLOCK,
        "last_loss": loss,
        "seconds": round(time.monotonic() - began, 1),
        "settings": {
            k: str(v) if isinstance(v, Path) else v
            for k, v in vars(arguments).items()
            if k not in ("out", "data")
        },
    }
    (arguments.out / "made.json").write_text(json.dumps(made, indent=2) + "\n")
    print(json.dumps(made))


if __name__ == "__main__":
    main()
