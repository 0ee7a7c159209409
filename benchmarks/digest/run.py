"""Speed of the linear digest beside SHA-256 of the same bytes: `python benchmarks/digest/run.py`.

Writes results.json beside itself.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import statistics
import sys
import time
from collections.abc import Callable, Sequence
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np

from rescind.core import digest

RANK, WIDTH = 16, 4096
SIZES = (1_000_000, 10_000_000)
REPEATS = 25
SEED = 0
THREADS = ("1", "2")


def lora_tensors(parameters: int, dice: np.random.Generator) -> dict[str, np.ndarray]:
    """Pairs of A (16, 4096) and B (4096, 16), at least `parameters` int32 in all."""
    pairs = -(-parameters // (2 * RANK * WIDTH))
    shapes = {
        f"layers.{n}.{side}": shape
        for n in range(pairs)
        for side, shape in (("lora_A", (RANK, WIDTH)), ("lora_B", (WIDTH, RANK)))
    }
    return {
        name: dice.integers(-(2**31), 2**31, shape).astype(np.int32)
        for name, shape in shapes.items()
    }


def interleaved(works: Sequence[Callable[[], Any]]) -> list[list[float]]:
    """Seconds of each work in turn, over and over, so that other load falls on all alike."""
    times: list[list[float]] = [[] for _ in works]
    for repeat in range(REPEATS + 1):
        for work, own in zip(works, times, strict=True):
            start = time.perf_counter()
            work()
            if repeat:
                own.append(time.perf_counter() - start)
    return times


def on_threads(threads: str, tensors: dict[str, np.ndarray]) -> None:
    os.environ["NUMBA_NUM_THREADS"] = threads
    digest(tensors)


def row(what: str, threads: str, size: int, times: list[float], reference: float) -> dict[str, Any]:
    median = statistics.median(times)
    return {
        "what": what,
        "threads": int(threads),
        "parameters": size,
        "seconds_median": median,
        "seconds_min": min(times),
        "seconds_max": max(times),
        "million_parameters_a_second": size / median / 1e6,
        "times_sha256": reference / median,
    }


def measure(size: int) -> list[dict[str, Any]]:
    tensors = lora_tensors(size, np.random.default_rng(SEED))
    count = sum(array.size for array in tensors.values())
    data = b"".join(array.tobytes() for array in tensors.values())
    works: list[Callable[[], Any]] = [lambda: hashlib.sha256(data).digest()]
    works += [partial(on_threads, threads, tensors) for threads in THREADS]
    sha, *own = interleaved(works)
    reference = statistics.median(sha)
    rows = [row("sha256", "1", count, sha, reference)]
    return rows + [
        row("linear digest", threads, count, times, reference)
        for threads, times in zip(THREADS, own, strict=True)
    ]


def processor() -> str:
    info = Path("/proc/cpuinfo")
    if not info.exists():
        return platform.processor() or platform.machine()
    lines = (line.partition(":") for line in info.read_text().splitlines())
    return next((v.strip() for k, _, v in lines if k.strip() == "model name"), platform.machine())


def machine() -> dict[str, Any]:
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numba", "numpy", "cryptography")},
    }


def main() -> None:
    about = machine()
    rows = [row for size in SIZES for row in measure(size)]
    result = {
        "command": "python benchmarks/digest/run.py",
        "machine": about,
        "repeats": REPEATS,
        "seed": SEED,
        "tensors": f"int32 LoRA pairs of rank {RANK} and width {WIDTH}, uniform over int32",
        "rows": rows,
    }
    out = sys.stdout
    out.write(
        f"{about['processor']}, {about['cores']} cores (load {about['load_average_before']:.2f} before), Python {about['python']}, "
    )
    out.write(", ".join(f"{k} {v}" for k, v in about["versions"].items()))
    out.write(f"\nmedian of n = {REPEATS} after one warm-up, seed {SEED}\n\n")
    out.write(
        f"{'':14}{'threads':>8}{'parameters':>12}{'ms':>9}{'min':>8}{'max':>8}{'M/s':>8}{'x sha256':>10}\n"
    )
    for it in rows:
        out.write(
            f"{it['what']:14}{it['threads']:>8}{it['parameters']:>12,}"
            f"{it['seconds_median'] * 1e3:>9.1f}"
            f"{it['seconds_min'] * 1e3:>8.1f}{it['seconds_max'] * 1e3:>8.1f}{it['million_parameters_a_second']:>8.1f}"
            f"{it['times_sha256']:>10.2f}\n"
        )
    Path(__file__).with_name("results.json").write_text(json.dumps(result, indent=1) + "\n")


if __name__ == "__main__":
    main()
