"""Time to commit to the data of a round and to prove from it, and the size of proofs:
python -m benchmarks.ledger.manifests [--samples N] [--subjects N]

CPU time, so that other processes do not count.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import Callable

from rescind.ledger import Manifest, sample_bytes
from rescind.ledger.manifest import check


def _seconds(step: Callable[[], object], times: int = 1) -> float:
    began = time.process_time()
    for _ in range(times):
        step()
    return (time.process_time() - began) / times


def _proof(manifest: Manifest, name: str) -> list[tuple[str, float]]:
    proof, commitment = manifest.prove(name), manifest.commitment
    return [
        (f"prove {name!r}, ms", 1e3 * _seconds(lambda: manifest.prove(name), 20)),
        (f"check {name!r}, ms", 1e3 * _seconds(lambda: check(commitment, proof, name), 20)),
        (f"proof of {name!r}, kB", len(json.dumps(proof.to_json())) / 1e3),
    ]


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("--samples", type=int, default=100_000)
    parser.add_argument("--subjects", type=int, default=5_000)
    options = parser.parse_args()
    data = [
        (f"person {n % options.subjects}", sample_bytes(f"question {n}", f"answer {n}"))
        for n in range(options.samples)
    ]
    built = _seconds(lambda: Manifest.of(data, bytes(32)))
    manifest = Manifest.of(data, bytes(32))
    kept = manifest.to_json()
    rows = [
        ("build, s", built),
        ("read back and check, s", _seconds(lambda: Manifest.from_json(kept))),
        ("kept in the ledger, MB", len(json.dumps(kept)) / 1e6),
    ]
    for name in ("person 1", "nobody"):
        rows += _proof(manifest, name)
    lines = [f"{what:<28}{value:10.2f}" for what, value in rows]
    head = f"{options.samples} samples of {options.subjects} subjects"
    sys.stdout.write("\n".join([head, *lines]) + "\n")


if __name__ == "__main__":
    main()
