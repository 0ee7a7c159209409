"""Measure the work of a node and an aggregator on one delta: `python -m benchmarks.scale.delta`.

4.9 million parameters are SmolLM2-135M with rank 16 on all linear layers, 100 million a model of 7
billion with rank 40. Each step is run once, after a small one that compiles the kernels; seconds of
the clock, and the growth of the process's own memory.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale.artifact import MIB, Steps
from benchmarks.scale.shapes import lora_shapes
from benchmarks.wire.measuring import processor, table
from rescind.core import (
    ArtifactStore,
    artifact_id,
    check_norm,
    commit,
    digest,
    encode,
    qualify,
    quantize,
    weighted_sum,
)
from rescind.core._ntt import threads

RESULTS = Path(__file__).parent / "results" / "delta.json"
OWNER = f"0x{1:040x}"


def play(parameters: int, folder: Path) -> list[dict[str, Any]]:
    steps, dice = Steps(), np.random.default_rng(0)
    update = {
        qualify(OWNER, name): dice.standard_normal(shape, dtype=np.float32) * np.float32(1e-3)
        for name, shape in lora_shapes(parameters).items()
    }
    quantized = steps.run(
        "quantize", lambda: quantize(update, None, fraction_bits=20, clip_norm=256.0)
    )
    delta = quantized.delta
    value = steps.run("digest", lambda: digest(delta))
    steps.run("commitment", lambda: commit(value))
    data = steps.run("encode", lambda: encode(delta))
    steps.run("SHA-256", lambda: artifact_id(data))
    store = ArtifactStore(folder)
    name = steps.run("store", lambda: store.put(data))
    steps.run("hash, digest and commit in one pass", lambda: store.scan(name).point_hash)
    steps.run(
        "check the norm",
        lambda: check_norm(store.load(name, check=False), fraction_bits=20, clip_norm=256.0),
    )
    steps.run("add to a sum", lambda: weighted_sum([(delta, 10_000)]))
    return steps.rows


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--parameters", type=int, nargs="+", default=[4_900_000, 100_000_000])
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    found: dict[int, list[dict[str, Any]]] = {}
    with tempfile.TemporaryDirectory() as folder:
        play(10_000, Path(folder))
        for count in options.parameters:
            found[count] = play(count, Path(folder))
    rows = [
        [
            step["step"],
            *(f"{found[n][i]['seconds']:.2f} ({found[n][i]['bytes'] / MIB:,.0f})" for n in found),
        ]
        for i, step in enumerate(found[options.parameters[0]])
    ]
    head = ["step: s (MiB)", *(f"{count:,}" for count in found)]
    sys.stdout.write(table(head, rows) + "\n")
    setting = {"machine": processor(), "threads": threads()}
    options.json.write_text(json.dumps({"setting": setting, "steps": found}, indent=1) + "\n")


if __name__ == "__main__":
    main()
