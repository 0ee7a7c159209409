"""Measure the memory of several processes that hold one base model, as in a demo.

python -m benchmarks.shared_base.run --model MODEL --processes 5

Each process loads the model, runs one question through all of it, and then all are measured while all
still hold it. PSS counts a page that n processes share as 1/n of a page in each of them, so the sum of
PSS is the memory that the processes really take (Linux, /proc/PID/smaps).
"""

from __future__ import annotations

import argparse
import re
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from multiprocessing import get_context
from multiprocessing.synchronize import Barrier
from pathlib import Path

_MIB = 1024


@dataclass(frozen=True)
class Memory:
    """Memory of one process in KiB.

    Attributes:
        rss: Resident pages.
        pss: The same, with shared pages divided among those who share them.
        weights: The part of `pss` that is pages of the model's files.
        weights_rss: The part of `rss` that is pages of the model's files.
    """

    rss: int
    pss: int
    weights: int
    weights_rss: int


def measure(smaps: str) -> Memory:
    """Read the text of /proc/PID/smaps."""
    rss = pss = weights = weights_rss = 0
    of_model = False
    for line in smaps.splitlines():
        if re.match(r"^[0-9a-f]+-[0-9a-f]+ ", line):
            of_model = line.endswith(".safetensors")
        name, _, value = line.partition(":")
        if name in ("Rss", "Pss"):
            size = int(value.split()[0])
            rss, pss = (rss + size, pss) if name == "Rss" else (rss, pss + size)
            if of_model and name == "Pss":
                weights += size
            elif of_model:
                weights_rss += size
    return Memory(rss, pss, weights, weights_rss)


def _hold(
    model: str, dtype: str | None, loaded: Barrier, measured: Barrier, results: object
) -> None:
    import torch

    from rescind.devnet.memory import BaseFiles
    from rescind.training import load_base
    from rescind.training.model.presets import resolve

    torch.set_num_threads(1)
    folder = resolve(model)
    chosen = dtype or BaseFiles.read(folder).dtype(bf16=True)
    base = load_base(folder, device="cpu", dtype=chosen)  # type: ignore[arg-type]
    tokens = torch.tensor([base.tokenizer.encode("Where was Ada born?")])
    with torch.inference_mode():
        base.model(input_ids=tokens)
    loaded.wait()
    results.put(measure(Path("/proc/self/smaps").read_text(encoding="utf-8")))  # type: ignore[attr-defined]
    measured.wait()


def run(model: str, dtype: str | None, processes: int) -> list[Memory]:
    """Return the memory of each process."""
    context = get_context("spawn")
    loaded, measured = context.Barrier(processes), context.Barrier(processes)
    results = context.Queue()
    arguments = (model, dtype, loaded, measured, results)
    started = [context.Process(target=_hold, args=arguments) for _ in range(processes)]
    for process in started:
        process.start()
    found = [results.get() for _ in started]
    for process in started:
        process.join()
    return found


def main(arguments: Sequence[str] | None = None) -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description="Memory of processes that hold one base model.")
    parser.add_argument("--model", default="tiny")
    parser.add_argument("--dtype", choices=("float32", "bfloat16"))
    parser.add_argument("--processes", type=int, default=5)
    options = parser.parse_args(arguments)
    found = run(options.model, options.dtype, options.processes)
    columns = ("rss", "pss", "weights_rss", "weights")
    rows = [[getattr(each, name) for name in columns] for each in found]
    rows.append([sum(values) for values in zip(*rows, strict=True)])
    lines = ["  ".join(f"{value / _MIB:8.0f}" for value in row) for row in rows]
    heading = f"{options.processes} processes, MiB: RSS, PSS, the model's files in RSS and in PSS"
    sys.stdout.write("\n".join([heading, *lines[:-1], f"{lines[-1]}  all"]) + "\n")


if __name__ == "__main__":
    main()
