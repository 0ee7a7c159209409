"""Forgetting and keeping by every method without replay: `python -m benchmarks.methods.run`.

Writes results.json beside itself after each row, skips what is there, and prints the tables of
docs/unlearning-losses.md and docs/unlearning-closed-form.md.
"""

from __future__ import annotations

import json
import os
import sys
import time
from pathlib import Path
from typing import Any

import torch

from benchmarks.conditions import conditions
from benchmarks.methods import closed_forms, counter_training, scene
from benchmarks.methods.closed_forms import ClosedForms
from benchmarks.methods.counter_training import CounterTraining

SEED = 0
RESULTS = Path(__file__).with_name("results.json")
COUNTER, TRAINED_A, FROZEN_A = (
    "counter-training",
    "closed forms, A trained",
    "closed forms, A frozen",
)

Setting = CounterTraining | ClosedForms


def settings() -> dict[str, tuple[Setting, list[str]]]:
    """Each setting and its rows."""
    return {
        COUNTER: (CounterTraining(SEED), counter_training.ROWS),
        TRAINED_A: (ClosedForms(SEED, train_a=True), closed_forms.ROWS),
        FROZEN_A: (ClosedForms(SEED, train_a=False), closed_forms.ROWS),
    }


def header() -> dict[str, Any]:
    return {
        "seed": SEED,
        "rank": scene.RANK,
        "rounds": scene.ROUNDS,
        "steps": scene.STEPS,
        "conditions": conditions(("torch", "peft", "transformers", "numpy", "scipy")),
    }


def main() -> None:
    os.environ.setdefault("TRANSFORMERS_VERBOSITY", "error")
    torch.set_num_threads(1)
    held: dict[str, Any] = json.loads(RESULTS.read_text()) if RESULTS.exists() else header()
    for name, (setting, rows) in settings().items():
        part = held.setdefault(name, {"n": setting.sizes(), "rows": {}})
        for row in rows:
            if row not in part["rows"]:
                began = time.process_time()
                measured = setting.measure(row)
                spent = time.process_time() - began
                part["rows"][row] = {**measured, "cpu_seconds": round(spent, 1)}
                RESULTS.write_text(json.dumps(held, indent=1) + "\n")
                sys.stderr.write(f"{name}: {row}: {spent:.0f} s of CPU\n")
    sys.stdout.write(tables(held))


def tables(held: dict[str, Any]) -> str:
    counter, trained, frozen = (held[name] for name in (COUNTER, TRAINED_A, FROZEN_A))
    return "\n\n".join(
        [
            counter_training.table(counter["rows"], counter["n"]),
            closed_forms.table(trained["rows"], trained["n"], train_a=True),
            closed_forms.table(frozen["rows"], frozen["n"], train_a=False) + "\n",
        ]
    )


if __name__ == "__main__":
    main()
