"""Flower's side of the benchmarks of the wire. Run by a Python with flwr and numpy, and by no other.

Reads a request in JSON from each line of standard input, and writes the answer as a line.
"""

import gc
import hashlib
import json
import sys
import time
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from flwr.common import (
    Code,
    FitRes,
    Status,
    ndarrays_to_parameters,
)
from flwr.server.strategy.aggregate import (
    aggregate,
    aggregate_inplace,
)


class Peer:
    """The requests to Flower."""

    def __init__(self) -> None:
        self.arrays: list[list[Any]] = []
        self.results: list[tuple[None, Any]] = []

    def versions(self) -> dict[str, str]:
        return {name: version(name) for name in ("flwr", "numpy")}

    def prepare(self, updates: int, shapes: list[list[int]], dtype: str, seed: int) -> None:
        """Make updates of the same sizes as ours; the values do not matter to a sum's time."""
        dice = np.random.default_rng(seed)
        self.arrays = [
            [dice.integers(-(2**20), 2**20, shape).astype(dtype) for shape in shapes]
            for _ in range(updates)
        ]
        self.results = [(None, _result(arrays)) for arrays in self.arrays]

    def aggregate(self) -> float:
        """Time Flower's weighted mean of arrays that are in memory."""
        pairs = [(arrays, 1) for arrays in self.arrays]
        began = time.perf_counter()
        aggregate(pairs)
        return time.perf_counter() - began

    def aggregate_inplace(self) -> float:
        """Time Flower's weighted mean of results as they come from clients."""
        began = time.perf_counter()
        aggregate_inplace(self.results)
        return time.perf_counter() - began

    def hash_file(self, path: str) -> float:
        """Time how Flower names an object: it reads it and takes the SHA-256 of its bytes."""
        began = time.perf_counter()
        hashlib.sha256(Path(path).read_bytes()).hexdigest()
        return time.perf_counter() - began

    def round_memory(self, members: int, shapes: list[list[int]], seed: int) -> int:
        """Return by how many bytes a round of so many members raises the process's peak memory."""
        dice = np.random.default_rng(seed)
        template = [dice.random(shape, dtype=np.float32) for shape in shapes]
        aggregate_inplace([(None, _result(template)), (None, _result(template))])
        gc.collect()
        before = _start_peak()
        results = [(None, _result(template)) for _ in range(members)]
        aggregate_inplace(results)
        return _peak() - before


def _result(arrays: list[Any]) -> Any:
    return FitRes(Status(Code.OK, ""), ndarrays_to_parameters(arrays), 1, {})


def _start_peak() -> int:
    """Let the peak of resident memory begin with what is resident now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return _peak()


def _peak() -> int:
    """Return the peak of resident memory. `ru_maxrss` would begin with that of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    peer = Peer()
    for line in sys.stdin:
        request = json.loads(line)
        print(json.dumps(getattr(peer, request.pop("do"))(**request)), flush=True)
