"""SHA-256, digest and commitment of an artifact in one pass, beside three passes and Flower.

Run `python -m benchmarks.wire.one_pass --flower-python PATH`. Flower names an object by its SHA-256
and does no more; its row shows what the hash alone costs. Files are read from a warm cache.
"""

from __future__ import annotations

import sys
import tempfile
from pathlib import Path

import numpy as np

from benchmarks.wire.measuring import Flower, arguments, in_turns, setting, table, timed, write
from benchmarks.wire.sum import lora_shapes
from rescind.core import artifact_id, commit, decode, digest, encode, scan
from rescind.core._ntt import threads


def three_passes(path: Path) -> tuple[str, bytes]:
    """Hash, then decode and digest, with the file in memory."""
    data = path.read_bytes()
    return artifact_id(data), commit(digest(decode(data)))


def one_pass(path: Path) -> tuple[str, bytes]:
    """Hash and digest the file in pieces."""
    with path.open("rb") as file:
        found = scan(file)
    return found.artifact_id, found.commitment


def main() -> None:
    options = arguments(__doc__ or "", parameters=10_000_000, repeats=15, seed=0)
    dice = np.random.default_rng(options.seed)
    tensors = {
        f"shared/{n:04d}": dice.integers(-(2**20), 2**20, shape).astype(np.int32)
        for n, shape in enumerate(lora_shapes(options.parameters))
    }
    with tempfile.TemporaryDirectory() as folder, Flower(options.flower_python) as flower:
        path = Path(folder) / "artifact"
        path.write_bytes(encode(tensors))
        assert one_pass(path) == three_passes(path)
        megabytes = path.stat().st_size / 1e6
        found = setting(flower, options) | {"threads": threads()}
        rows = in_turns(
            {
                "rescind, one pass": lambda: timed(lambda: one_pass(path)),
                "rescind, hash and then digest": lambda: timed(lambda: three_passes(path)),
                "Flower, SHA-256 alone": lambda: flower.seconds("hash_file", path=str(path)),
            },
            options.repeats,
            megabytes,
        )
    flower_speed = rows[-1].speed
    head = ["way", "MB/s (median)", "range", "times Flower"]
    sys.stdout.write(
        f"{found}\n{megabytes:.1f} MB, n = {options.repeats}\n\n"
        f"{table(head, [row.cells(flower_speed) for row in rows])}\n"
    )
    write(options, "one_pass", {"setting": found, "rows": [row.to_json() for row in rows]})


if __name__ == "__main__":
    main()
