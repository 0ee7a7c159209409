"""Memory of the aggregator's process by the number of members, beside Flower's server.

Run `python -m benchmarks.wire.memory --flower-python PATH`. Each figure is by how much one round
raises the peak resident memory of a fresh process that has done a small round before. Ours judges
every update by its point and writes the file of their sum, as the daemon does; Flower's holds the
results of all clients and takes their mean.
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.wire.measuring import Flower, arguments, setting, table, write
from benchmarks.wire.sum import RANK, WIDTH, lora_shapes
from rescind.aggregator.adapter_file import written
from rescind.aggregator.checks import judge
from rescind.aggregator.digests import Digests
from rescind.core import (
    SHARED,
    ArtifactStore,
    ConsortiumParameters,
    LoraParameters,
    Term,
    TrainingParameters,
    encode,
    weights,
)

MEMBERS = (4, 16, 64, 256)
DISTINCT = 8
"""Files in the store. More members have the same ones: they are loaded once for each member."""


def agreed(parameters: int) -> ConsortiumParameters:
    shapes = {
        f"layers.{n // 2:04d}.lora_{'AB'[n % 2]}": tuple(shape)
        for n, shape in enumerate(lora_shapes(parameters))
    }
    return ConsortiumParameters(
        name="benchmark",
        base_model_id="11" * 32,
        coupling="federated",
        layout="shared",
        seed=0,
        lora=LoraParameters(rank=RANK, alpha=RANK, train_a=True),
        training=TrainingParameters(
            steps_per_round=1, batch_size=1, learning_rate=1e-3, max_length=WIDTH
        ),
        fraction_bits=16,
        clip_norm=100.0,
        max_artifact_bytes=2**30,
        max_members=max(MEMBERS),
        max_rounds=1,
        shapes=shapes,
    )


def fill(store: ArtifactStore, parameters: ConsortiumParameters, seed: int) -> dict[str, str]:
    """Store some updates and return the point's hash of each artifact."""
    dice, digests = np.random.default_rng(seed), Digests(store)
    points = {}
    for _ in range(DISTINCT):
        delta = {
            f"shared/{name}": dice.integers(-2000, 2000, shape).astype(np.int32)
            for name, shape in parameters.delta_shapes().items()
        }
        artifact = store.put(encode(delta))
        points[artifact] = digests.point_hash(artifact)
    return points


def play(
    store: ArtifactStore, parameters: ConsortiumParameters, points: dict[str, str], members: int
) -> None:
    """Judge the updates of a round and sum them."""
    addresses, artifacts, digests = (
        [f"0x{n:040x}" for n in range(members)],
        list(points),
        Digests(store),
    )
    share, terms = weights("shared", addresses), []
    for n, address in enumerate(addresses):
        artifact = artifacts[n % len(artifacts)]
        verdict = judge(
            address,
            artifact,
            store,
            digests,
            parameters,
            submitted=True,
            point_hash=points[artifact],
            member=n,
        )
        assert verdict.accepted, verdict.what
        terms.append(Term(1, address, artifact, share[address]))
    shapes = parameters.delta_shapes()
    with (
        tempfile.TemporaryDirectory() as folder,
        written(Path(folder), {SHARED: terms}, shapes, store.load) as file,
    ):
        store.adopt(file.path, file.scanned.artifact_id)


def start_peak() -> int:
    """Let the peak of resident memory begin with what is resident now, and return that."""
    Path("/proc/self/clear_refs").write_text("5")
    return peak()


def peak() -> int:
    """Return the peak of resident memory. `ru_maxrss` would begin with that of the parent process."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def child(folder: str, parameters: str, points: str, members: str) -> None:
    """Play a small round and then a round; print by how much the peak rose."""
    small = agreed(2 * RANK * WIDTH)
    with tempfile.TemporaryDirectory() as scratch:
        store = ArtifactStore(scratch)
        play(store, small, fill(store, small, 1), 2)
    before = start_peak()
    play(ArtifactStore(folder), agreed(int(parameters)), json.loads(points), int(members))
    sys.stdout.write(str(peak() - before))


def ours(folder: Path, parameters: int, points: dict[str, str], members: int) -> int:
    command = [sys.executable, "-m", "benchmarks.wire.memory", "--child"]
    values = [str(folder), str(parameters), json.dumps(points), str(members)]
    return int(
        subprocess.run([*command, *values], check=True, capture_output=True, text=True).stdout
    )


def cells(name: str, figures: dict[int, list[int]]) -> list[str]:
    shown = [
        f"{statistics.median(each) / 2**20:,.0f} ({min(each) / 2**20:,.0f} to {max(each) / 2**20:,.0f})"
        for each in figures.values()
    ]
    return [name, *shown]


def main() -> None:
    options = arguments(__doc__ or "", parameters=2_000_000, repeats=3, seed=0)
    parameters, shapes = agreed(options.parameters), lora_shapes(options.parameters)
    figures: dict[str, dict[int, list[int]]] = {"rescind": {}, "Flower": {}}
    with tempfile.TemporaryDirectory() as folder:
        points = fill(ArtifactStore(folder), parameters, options.seed)
        with Flower(options.flower_python) as flower:
            found = setting(flower, options)
        for members in MEMBERS:
            for _ in range(options.repeats):
                figures["rescind"].setdefault(members, []).append(
                    ours(Path(folder), options.parameters, points, members)
                )
                with Flower(options.flower_python) as flower:
                    grown = flower.ask(
                        "round_memory", members=members, shapes=shapes, seed=options.seed
                    )
                figures["Flower"].setdefault(members, []).append(grown)
    ratios = [
        f"{statistics.median(figures['Flower'][n]) / max(1, statistics.median(figures['rescind'][n])):.1f}"
        for n in MEMBERS
    ]
    rows: Sequence[Sequence[str]] = [
        *(cells(name, each) for name, each in figures.items()),
        ["Flower / rescind", *ratios],
    ]
    head = ["MiB, median (range)", *(f"{n} members" for n in MEMBERS)]
    sys.stdout.write(f"{found}\nn = {options.repeats}\n\n{table(head, rows)}\n")
    write(options, "memory", {"setting": found, "bytes": figures})


if __name__ == "__main__":
    if sys.argv[1:2] == ["--child"]:
        child(*sys.argv[2:])
    else:
        main()
