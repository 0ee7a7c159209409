"""Tokens a second of the training engine beside a bare peft loop on the same pairs and batches.

    python -m benchmarks.training.run --device cpu --json benchmarks/training/cpu.json
    python -m benchmarks.training.run --model Qwen/Qwen2.5-0.5B --device cuda --steps 200

The peer is what a reader of peft's documentation writes: padded batches in random order, the model's own
loss, AdamW, clipping to 1, in float32 on a CPU and under bf16 autocast on a GPU. A token is one that the
loss counts; padding is none. The repeats are interleaved, and the median is shown. One thread on a CPU
is timed by the seconds that it had, not by the wall.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
import torch
from peft import LoraConfig, get_peft_model
from transformers import AutoModelForCausalLM

from rescind.core import LoraParameters, materialize
from rescind.devnet.defaults import BASE_MODEL, default_parameters
from rescind.training import (
    EngineSettings,
    Example,
    LoraModel,
    RoundTraining,
    load_base,
    pick_device,
    read_examples,
    train_round,
)
from rescind.training.engine.batches import Encoded, encode_example, pad
from rescind.training.engine.sampling import shuffled

ME = "0x" + "ab" * 20
RANK, ALPHA, RATE = 8, 16, 1e-3
WORDS = "river stone amber lantern north quiet copper window garden silver morning harbour".split()


@dataclass(frozen=True)
class Case:
    name: str
    run: Callable[[], int]
    """One repeat; the tokens that its loss counted."""


def made_up_pairs(count: int, seed: int) -> list[Example]:
    """Questions of about ten words; answers of 2 to 120 words, most of them short, as in chats."""
    dice = np.random.default_rng(seed)

    def text(words: int) -> str:
        return " ".join(dice.choice(WORDS, size=words))

    return [
        Example(
            text(int(dice.integers(6, 15))), text(int(min(120, 2 + dice.lognormal(2.5, 1)))), "x"
        )
        for _ in range(count)
    ]


def peer(
    folder: Path, device: torch.device, rows: Sequence[Encoded], options: argparse.Namespace
) -> Case:
    """The bare loop. Its model is loaded here, once."""
    base = load_base(folder, device=str(device))
    bare: Any = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32)
    bare.to(device)
    config = LoraConfig(
        r=RANK, lora_alpha=ALPHA, target_modules="all-linear", task_type="CAUSAL_LM"
    )
    model = get_peft_model(bare, config)
    model.train()

    def run() -> int:
        order = shuffled(len(rows), options.batch_size, options.seed)
        optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=RATE)
        tokens = 0
        for _ in range(options.steps):
            batch = [rows[place] for place in next(order)]
            ids, mask, labels = pad(base, batch, prompt_in_loss=True)
            with torch.autocast(device.type, torch.bfloat16, enabled=device.type == "cuda"):
                loss = model(input_ids=ids, attention_mask=mask, labels=labels).loss
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
            optimizer.step()
            optimizer.zero_grad()
            tokens += sum(len(row.tokens) - 1 for row in batch)
        _wait(device)
        return tokens

    return Case("bare peft loop", run)


def ours(
    name: str,
    model: LoraModel,
    pairs: Sequence[Example],
    options: argparse.Namespace,
    settings: EngineSettings,
) -> Case:
    found = default_parameters("isolated", model.base.id, model.shapes, seed=options.seed)
    training = found.training.model_copy(
        update={"batch_size": options.batch_size, "learning_rate": RATE, "max_length": 4096}
    )
    parameters = found.model_copy(update={"lora": model.lora, "training": training})
    start = materialize({}, model.shapes, parameters=parameters, owner=ME)

    def run() -> int:
        result = train_round(
            model,
            parameters,
            start,
            pairs,
            RoundTraining(steps=options.steps, seed=options.seed, settings=settings),
        )
        _wait(model.base.device)
        return result.tokens

    return Case(name, run)


def _wait(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def settings_of(device: torch.device) -> dict[str, EngineSettings]:
    """Return the settings to compare, simplest first."""
    made = {
        "plain": EngineSettings(compile="off"),
        "bucketed": EngineSettings(batching="bucketed", compile="off"),
        "packed": EngineSettings(batching="packed", compile="off"),
    }
    if device.type == "cuda":
        made["packed, compiled"] = EngineSettings(batching="packed", compile="on")
        return made
    made["bucketed, bf16"] = EngineSettings(batching="bucketed", precision="bf16", compile="off")
    made["packed, bf16"] = EngineSettings(batching="packed", precision="bf16", compile="off")
    return made


def clock_of(device: torch.device, threads: int) -> Callable[[], float]:
    """Seconds of this process on its one thread, which other work on the machine stretches least, or
    else of the wall."""
    return time.process_time if device.type == "cpu" and threads == 1 else time.perf_counter


def measure(
    cases: Sequence[Case], repeats: int, clock: Callable[[], float]
) -> list[dict[str, Any]]:
    """One row a case; a first pass warms up and is not counted."""
    rates: dict[str, list[float]] = {case.name: [] for case in cases}
    for repeat in range(repeats + 1):
        for case in cases:
            began = clock()
            tokens = case.run()
            seconds = clock() - began
            if repeat:
                rates[case.name].append(tokens / seconds)
    peers = statistics.median(rates[cases[0].name])
    return [
        {
            "case": name,
            "tokens_per_second": round(statistics.median(found), 1),
            "least": round(min(found), 1),
            "most": round(max(found), 1),
            "ratio": round(statistics.median(found) / peers, 3),
        }
        for name, found in rates.items()
    ]


def machine(device: torch.device) -> dict[str, Any]:
    name = platform.processor() or platform.machine()
    cpu = Path("/proc/cpuinfo")
    if cpu.exists():
        lines = cpu.read_text().splitlines()
        name = next((x.split(":")[1].strip() for x in lines if x.startswith("model name")), name)
    return {
        "cpu": name,
        "cores": os.cpu_count(),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name(device) if device.type == "cuda" else None,
        "python": platform.python_version(),
        **{package: version(package) for package in ("torch", "transformers", "peft")},
    }


def table(rows: Sequence[dict[str, Any]]) -> str:
    lines = [f"{'':<22}{'tokens/s':>12}{'least':>12}{'most':>12}{'ratio':>8}"]
    lines += [
        f"{row['case']:<22}{row['tokens_per_second']:>12,.0f}{row['least']:>12,.0f}"
        f"{row['most']:>12,.0f}{row['ratio']:>8.2f}"
        for row in rows
    ]
    return "\n".join(lines)


def parse(arguments: Sequence[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    parser.add_argument("--model", default=str(BASE_MODEL), help="a folder or a hub id")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--data", type=Path, help="JSONL of pairs; made up without it")
    parser.add_argument("--pairs", type=int, default=512)
    parser.add_argument("--batch-size", type=int, default=16)
    parser.add_argument("--steps", type=int, default=20)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--json", type=Path, help="where to write the result")
    return parser.parse_args(arguments)


def main(arguments: Sequence[str]) -> None:
    options = parse(arguments)
    torch.set_num_threads(options.threads)
    device = pick_device(options.device)
    pairs = (
        read_examples(options.data) if options.data else made_up_pairs(options.pairs, options.seed)
    )
    base = load_base(options.model, device=str(device))
    model = LoraModel(base, LoraParameters(rank=RANK, alpha=ALPHA, train_a=True))
    rows = [encode_example(base, pair, 4096) for pair in pairs]
    cases = [peer(base.folder, device, rows, options)]
    cases += [
        ours(name, model, pairs, options, settings)
        for name, settings in settings_of(device).items()
    ]
    clock = clock_of(device, options.threads)
    found = measure(cases, options.repeats, clock)
    lengths = [len(row.tokens) for row in rows]
    document = {
        "machine": machine(device),
        "model": base.id,
        "pairs": len(pairs),
        "tokens_a_pair": {
            "median": statistics.median(lengths),
            "least": min(lengths),
            "most": max(lengths),
        },
        "batch_size": options.batch_size,
        "steps": options.steps,
        "repeats": options.repeats,
        "seed": options.seed,
        "clock": clock.__name__,
        "rows": found,
    }
    sys.stdout.write(f"{table(found)}\n")
    sys.stdout.write(
        f"n = {options.repeats} repeats of {options.steps} steps of {options.batch_size} pairs, seed "
        f"{options.seed}, {clock.__name__}; {json.dumps(document['machine'])}\n"
    )
    if options.json:
        options.json.write_text(json.dumps(document, indent=1) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main(sys.argv[1:])
