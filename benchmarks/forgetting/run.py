"""Run a benchmark of forgetting: python -m benchmarks.forgetting.run CONFIG

It writes one JSON file for every coupling, seed and row. A row whose file exists is not run again, so
an interrupted run continues where it was. Runs for different seeds may run side by side (--seed).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks import conditions as machine
from benchmarks.forgetting.config import load
from benchmarks.forgetting.measure import Measurer
from benchmarks.forgetting.rows import make
from benchmarks.forgetting.scene import Scene
from rescind.core import write_atomically
from rescind.core.errors import RescindError
from rescind.training import load_base
from rescind.training.model.text_rules import default_text

RESULTS = Path(__file__).parent / "results"
_PACKAGES = ("torch", "transformers", "peft", "numpy", "scipy", "scikit-learn")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("config", type=Path)
    parser.add_argument(
        "--model", help="base model folder or hub id, in place of the configured one"
    )
    parser.add_argument("--data", type=Path, default=Path("../shared/data"))
    parser.add_argument("--work", type=Path, default=Path("runs/forgetting"))
    parser.add_argument("--results", type=Path, default=RESULTS)
    parser.add_argument(
        "--seed", type=int, action="append", help="run only this seed; may be repeated"
    )
    parser.add_argument("--coupling", action="append")
    parser.add_argument("--row", action="append")
    arguments = parser.parse_args()
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    try:
        run(arguments)
    except RescindError as error:
        sys.exit(f"{error.code}: {error}")


def run(arguments: argparse.Namespace) -> None:
    config = load(arguments.config)
    torch.set_num_threads(config.threads)
    base = load_base(arguments.model or config.base)
    base = base.reading(default_text(base))
    name = config.name if arguments.model is None else f"{config.name}-{base.id[:8]}"
    for coupling in arguments.coupling or config.couplings:
        for seed in arguments.seed or config.seeds:
            folder = arguments.results / name / coupling / f"seed-{seed}"
            rows = list(arguments.row or config.rows[coupling])
            todo = [row for row in rows if not (folder / f"{row}.json").exists()]
            if not todo:
                continue
            say = Sayer(f"{coupling} seed {seed}")
            work = arguments.work / name / base.id[:16] / coupling / f"seed-{seed}"
            scene = Scene(config, coupling, seed, base, arguments.data, work, say)
            _rows(scene, todo, folder, say)


def _rows(scene: Scene, todo: list[str], folder: Path, say: Sayer) -> None:
    full = make(scene, "full")
    replayed = make(scene, "replay")
    measurer = Measurer(scene, full.totals, replayed.totals)
    known = {"full": full, "replay": replayed}
    for row in todo:
        say(f"{row} begins")
        began = time.monotonic()
        try:
            made = known.get(row) or make(scene, row)
            figures = measurer.figures(row, made)
        except RescindError as error:
            # A method that cannot run in this setting is a result too.
            figures = {"row": row, "failed": f"{error.code}: {error}"}
        figures |= {
            "measured_in_seconds": time.monotonic() - began,
            "conditions": conditions(scene),
        }
        folder.mkdir(parents=True, exist_ok=True)
        path = folder / f"{row}.json"
        # All or nothing: a file that exists is a row that is not measured again.
        write_atomically(path, f"{json.dumps(figures, indent=1, allow_nan=False)}\n".encode())
        say(f"{row} done in {time.monotonic() - began:.0f} s")


def conditions(scene: Scene) -> dict[str, Any]:
    """Return the machine, the versions, n and the seed."""
    return {
        **machine.conditions(_PACKAGES),
        "base": scene.base.id,
        "base_parameters": sum(
            value.numel()
            for name, value in scene.base.model.named_parameters()
            if ".lora_" not in name
        ),
        "seed": scene.seed,
        "n": {name: len(probes) for name, probes in scene.probes.items()}
        | {"unseen": len(scene.unseen)},
        "config": scene.config.model_dump(mode="json"),
    }


class Sayer:
    """Reports of progress on standard error, with the time since the start."""

    def __init__(self, what: str) -> None:
        self.what, self.began = what, time.monotonic()

    def __call__(self, text: str) -> None:
        sys.stderr.write(f"[{time.monotonic() - self.began:7.1f} s] {self.what}: {text}\n")


if __name__ == "__main__":
    main()
