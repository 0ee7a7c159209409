"""Commitments by two libraries and two sets of generators: `python -m benchmarks.commitments.run`.

Writes results.json beside itself. docs/decisions/008-generators.md draws the conclusion.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from functools import partial
from importlib.metadata import version
from pathlib import Path
from typing import Any

import ckzg
import eth_account
import numpy as np
import py_ecc.optimized_bls12_381
from py_arkworks_bls12381 import G1Point, Scalar
from py_ecc.bls.point_compression import decompress_G1
from py_ecc.bls.typing import G1Compressed

from benchmarks.digest.run import processor
from rescind.core import (
    DIGEST_BYTES,
    Digest,
    Opening,
    check_point,
    commit,
    commit_at_once,
    commit_words,
    sum_points,
)
from rescind.core._generators import derive, generators
from rescind.core.ring import PRIMES, WORDS

REPEATS = 25
OPENING_REPEATS = 5
SEED = 0
MEMBERS = 64
SETUP = (
    Path(eth_account.__file__).parent / "typed_transactions/blob_transactions/kzg_trusted_setup.txt"
)
Row = dict[str, Any]
Times = tuple[float, float]
"""Seconds on the wall and of the processor. Only the latter stand still on a busy machine."""
CURVE: Any = py_ecc.optimized_bls12_381
"""py_ecc exports its functions without declaring it."""


def random_digests(count: int, rng: np.random.Generator) -> list[Digest]:
    return [
        Digest.from_residues(np.stack([rng.integers(0, p, WORDS // 2) for p in PRIMES]))
        for _ in range(count)
    ]


class Kzg:
    """ckzg under Ethereum's setup, with py_ecc for what ckzg has no function for."""

    def __init__(self) -> None:
        self.setup = ckzg.load_trusted_setup(str(SETUP), 0)

    def commit_words(self, words: np.ndarray) -> bytes:
        blob = np.zeros((WORDS, 32), dtype=np.uint8)
        blob[:, 24:] = words.astype(">u8").view(np.uint8).reshape(WORDS, 8)
        compressed = ckzg.blob_to_kzg_commitment(blob.tobytes(), self.setup)
        return encoded(decompress_G1(G1Compressed(int.from_bytes(compressed, "big"))))


def lagrange_points() -> list[G1Point]:
    """The 4,096 Lagrange points of the setup, decompressed by arkworks, in the blob's order."""
    lines = SETUP.read_text().split()[2 : 2 + WORDS]
    points = [G1Point.from_compressed_bytes_unchecked(bytes.fromhex(line)) for line in lines]
    bits = WORDS.bit_length() - 1
    return [points[int(f"{index:0{bits}b}"[::-1], 2)] for index in range(WORDS)]


def commit_under(points: list[G1Point], words: np.ndarray) -> G1Point:
    return G1Point.multiexp_unchecked(points, [Scalar(word) for word in words.tolist()])


def encoded(point: Any) -> bytes:
    if CURVE.is_inf(point):
        return bytes(128)
    x, y = CURVE.normalize(point)
    return int(x).to_bytes(64, "big") + int(y).to_bytes(64, "big")


def decoded(point: bytes) -> Any:
    return (
        CURVE.FQ(int.from_bytes(point[:64], "big")),
        CURVE.FQ(int.from_bytes(point[64:], "big")),
        CURVE.FQ.one(),
    )


def sum_by_py_ecc(terms: list[tuple[bytes, int]]) -> bytes:
    """The same grouping by coefficient as in rescind.core.sum_points."""
    groups: dict[int, Any] = {}
    for point, weight in terms:
        groups[weight] = CURVE.add(groups.get(weight, CURVE.Z1), decoded(point))
    total = CURVE.Z1
    for weight, point in groups.items():
        total = CURVE.add(total, CURVE.multiply(point, weight))
    return encoded(total)


def check_by_py_ecc(point: bytes) -> None:
    assert CURVE.is_inf(CURVE.multiply(decoded(point), CURVE.curve_order))


def seconds(work: Callable[[], Any], repeats: int) -> list[Times]:
    work()
    times = []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        times.append((time.perf_counter() - wall, time.process_time() - cpu))
    return times


def row(task: str, way: str, times: list[Times]) -> Row:
    wall, cpu = zip(*times, strict=True)
    result = {
        "task": task,
        "way": way,
        "n": len(times),
        "cpu_seconds_median": statistics.median(cpu),
        "cpu_seconds_min": min(cpu),
        "cpu_seconds_max": max(cpu),
        "wall_seconds_median": statistics.median(wall),
    }
    sys.stderr.write(f"{task}: {way}: {statistics.median(cpu) * 1e3:.3f} ms\n")
    return result


def in_new_process(code: str, repeats: int) -> list[Times]:
    """Seconds that a statement takes, each time in a process of its own that has the imports."""
    script = (
        "import time, ckzg\n"
        "from rescind.core._generators import generators\n"
        "from benchmarks.commitments.run import SETUP, lagrange_points\n"
        f"wall, cpu = time.perf_counter(), time.process_time()\n{code}\n"
        "print(time.perf_counter() - wall, time.process_time() - cpu)"
    )
    command = [sys.executable, "-c", script]
    outputs = [
        subprocess.run(command, capture_output=True, check=True, text=True).stdout.split()
        for _ in range(repeats)
    ]
    return [(float(wall), float(cpu)) for wall, cpu in outputs]


def measure_generators() -> list[Row]:
    loads = {
        "hash-to-curve, from our file": "generators()",
        "KZG setup, by ckzg": "ckzg.load_trusted_setup(str(SETUP), 0)",
        "KZG setup, by arkworks": "lagrange_points()",
    }
    rows = [row("load", way, in_new_process(code, 5)) for way, code in loads.items()]
    derived = seconds(lambda: [derive(index) for index in range(WORDS)], 5)
    return [*rows, row("derive all", "hash-to-curve, by arkworks", derived)]


def measure_commitments(kzg: Kzg, rng: np.random.Generator) -> list[Row]:
    lagrange = lagrange_points()
    residues = random_digests(1, rng)[0].residues.reshape(-1).astype(np.uint64)
    wide = rng.integers(0, 2**64, WORDS, dtype=np.uint64)
    rows = []
    for task, words in (("commit to a digest", residues), ("commit to 64-bit words", wide)):
        xy = commit_under(lagrange, words).to_xy_bytes_be()
        point = kzg.commit_words(words)
        assert point == bytes(16) + xy[:48] + bytes(16) + xy[48:], "the two libraries disagree"
        ways: dict[str, Callable[[np.ndarray], object]] = {
            "hash-to-curve, by arkworks": commit_words,
            "KZG setup, by arkworks": lambda w: commit_under(lagrange, w),
            "KZG setup, by ckzg and py_ecc": kzg.commit_words,
        }
        for way, work in ways.items():
            rows.append(row(task, way, seconds(lambda work=work, w=words: work(w), REPEATS)))  # type: ignore[misc]
    return rows


def measure_openings(rng: np.random.Generator) -> list[Row]:
    data = [
        Opening.build("shared", [(value, 10_000)]).data for value in random_digests(MEMBERS, rng)
    ]
    points = [Opening("shared", each).commitment for each in data]
    wrong = Opening.build("shared", [(random_digests(1, rng)[0], 10_000)]).data

    def check(files: list[bytes], *, at_once: bool) -> int:
        openings = [Opening("shared", each) for each in files]
        if at_once:
            commit_at_once(list(zip(openings, points, strict=True)))
        return sum(
            opening.commitment == point for opening, point in zip(openings, points, strict=True)
        )

    rows = []
    for task, files, right in (
        (f"open {MEMBERS}", data, MEMBERS),
        (f"open {MEMBERS}, one wrong", [wrong, *data[1:]], MEMBERS - 1),
    ):
        for way, at_once in (("one by one", False), ("at once", True)):
            assert check(files, at_once=at_once) == right
            work = partial(check, files, at_once=at_once)
            rows.append(row(task, way, seconds(work, OPENING_REPEATS)))
    return rows


def measure_sums(rng: np.random.Generator) -> list[Row]:
    points = [commit(value) for value in random_digests(MEMBERS, rng)]
    weights = [int(w) for w in rng.integers(1, 10_000, MEMBERS)]
    equal = [(point, 10_000) for point in points]
    distinct = list(zip(points, weights, strict=True))
    rows = []
    for task, terms in (("sum of 64, one weight", equal), ("sum of 64, 64 weights", distinct)):
        assert sum_points(terms) == sum_by_py_ecc(terms), "the two libraries disagree"
        rows.append(row(task, "arkworks", seconds(lambda t=terms: sum_points(t), REPEATS)))  # type: ignore[misc]
        rows.append(row(task, "py_ecc", seconds(lambda t=terms: sum_by_py_ecc(t), REPEATS)))  # type: ignore[misc]
    rows.append(row("check a point", "arkworks", seconds(lambda: check_point(points[0]), REPEATS)))
    rows.append(
        row("check a point", "py_ecc", seconds(lambda: check_by_py_ecc(points[0]), REPEATS))
    )
    return rows


def machine() -> dict[str, Any]:
    names = ("ckzg", "py-arkworks-bls12381", "py-ecc", "numpy")
    return {
        "processor": processor(),
        "cores": len(os.sched_getaffinity(0)),
        "load_average_before": os.getloadavg()[0],
        "system": f"{platform.system()} {platform.machine()}",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in names},
    }


def main() -> None:
    about = machine()
    generators()
    rng = np.random.default_rng(SEED)
    rows = measure_generators()
    rows += measure_commitments(Kzg(), rng)
    rows += measure_sums(rng)
    rows += measure_openings(rng)
    result = {
        "command": "python -m benchmarks.commitments.run",
        "machine": about,
        "seed": SEED,
        "digest_bytes": DIGEST_BYTES,
        "rows": rows,
    }
    Path(__file__).with_name("results.json").write_text(json.dumps(result, indent=1) + "\n")
    out = sys.stdout
    versions = ", ".join(f"{name} {value}" for name, value in about["versions"].items())
    load = about["load_average_before"]
    out.write(f"{about['processor']}, {about['cores']} cores (load {load:.2f} before), ")
    out.write(f"Python {about['python']}, {versions}, seed {SEED}\n\n")
    out.write(
        f"{'task':24}{'way':32}{'n':>4}{'CPU ms':>10}{'min':>10}{'max':>10}{'wall ms':>10}{'x first':>9}\n"
    )
    for measured in rows:
        first = next(other for other in rows if other["task"] == measured["task"])
        ratio = measured["cpu_seconds_median"] / first["cpu_seconds_median"]
        times = [measured[f"cpu_seconds_{key}"] * 1e3 for key in ("median", "min", "max")]
        times.append(measured["wall_seconds_median"] * 1e3)
        out.write(f"{measured['task']:24}{measured['way']:32}{measured['n']:>4}")
        out.write("".join(f"{ms:>10.3f}" for ms in times) + f"{ratio:>9.1f}\n")


if __name__ == "__main__":
    main()
