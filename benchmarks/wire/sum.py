"""The weighted sum of 8 updates beside Flower's: `python -m benchmarks.wire.sum --flower-python PATH`.

Ours are int32 tensors, and the sum is exact in int64. Flower's are float32, as its clients send
them, and int32. Each way is measured in turn. MB/s are of the updates that are read.
"""

from __future__ import annotations

import sys

import numpy as np

from benchmarks.wire.measuring import Flower, arguments, in_turns, setting, table, timed, write
from rescind.core import weighted_sum
from rescind.core._ntt import threads

RANK, WIDTH = 16, 4096


def lora_shapes(parameters: int) -> list[list[int]]:
    """Shapes of pairs of LoRA factors, of so many parameters or a few more."""
    pairs = -(-parameters // (2 * RANK * WIDTH))
    return [[RANK, WIDTH], [WIDTH, RANK]] * pairs


def main() -> None:
    options = arguments(__doc__ or "", parameters=10_000_000, updates=8, repeats=15, seed=0)
    shapes, dice = lora_shapes(options.parameters), np.random.default_rng(options.seed)
    terms = [
        (
            {
                f"shared/{n:04d}": dice.integers(-(2**20), 2**20, shape).astype(np.int32)
                for n, shape in enumerate(shapes)
            },
            10_000 // options.updates,
        )
        for _ in range(options.updates)
    ]
    megabytes = sum(value.nbytes for delta, _ in terms for value in delta.values()) / 1e6
    rows = []
    with Flower(options.flower_python) as flower:
        found = setting(flower, options) | {"threads": threads(), "tensors": len(shapes)}
        for dtype in ("float32", "int32"):
            flower.ask(
                "prepare", updates=options.updates, shapes=shapes, dtype=dtype, seed=options.seed
            )
            ways = {
                "rescind, int32": lambda: timed(lambda: weighted_sum(terms)),
                "rescind, int32, one update at a time": lambda: timed(
                    lambda: weighted_sum(iter(terms))
                ),
                f"Flower aggregate, {dtype}": lambda: flower.seconds("aggregate"),
                f"Flower aggregate_inplace, {dtype}": lambda: flower.seconds("aggregate_inplace"),
            }
            if dtype == "int32":
                ways.pop("rescind, int32, one update at a time")
                ways["rescind, int32, beside Flower's int32"] = ways.pop("rescind, int32")
            rows += in_turns(ways, options.repeats, megabytes)
    best = max(row.speed for row in rows if row.name.startswith("Flower"))
    head = ["way", "MB/s (median)", "range", "times the better of Flower"]
    sys.stdout.write(
        f"{found}\n{options.updates} updates of {megabytes / options.updates:.1f} MB, n = "
        f"{options.repeats}\n\n{table(head, [row.cells(best) for row in rows])}\n"
    )
    write(options, "sum", {"setting": found, "rows": [row.to_json() for row in rows]})


if __name__ == "__main__":
    main()
