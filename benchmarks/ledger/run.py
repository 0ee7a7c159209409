"""Appends, proofs, fsck and memory of a ledger, with what the disk can do beside it:
python -m benchmarks.ledger.run [--records N] [--postgres URL] [--json FILE]

Without --postgres a cluster of its own is started where PostgreSQL is installed.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

from benchmarks.conditions import conditions
from rescind.ledger import (
    Ledger,
    LocalKey,
    LogKey,
    NewRecord,
    create_key,
    load_key,
    merkle,
)
from tests.support import postgres

BATCH = 1000


def fsyncs(folder: Path, seconds: float) -> float:
    """A second: 4 KiB appended to a file, and fsync."""
    with (folder / "fsync").open("wb", buffering=0) as file:

        def step() -> None:
            file.write(bytes(4096))
            os.fsync(file.fileno())

        return _rate(step, seconds)


def _rate(step: Callable[[], object], seconds: float, each: int = 1) -> float:
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        step()
        done += each
    return done / (time.perf_counter() - began)


def records(start: int, count: int = BATCH) -> list[NewRecord]:
    return [
        NewRecord(
            "decision",
            {"round": n, "effort": 1.0, "why": "the table's best action", "quality": 0.5},
            subject=f"person {n % 1000}",
        )
        for n in range(start, start + count)
    ]


def appends(where: Path | str, key: LocalKey, seconds: float) -> dict[str, float]:
    counter: Iterator[int] = iter(range(10**9))
    with Ledger.create(where, key) as ledger:
        one = _rate(lambda: ledger.append_all(records(next(counter), 1)), seconds)
        many = _rate(lambda: ledger.append_all(records(next(counter))), seconds, BATCH)
    return {"single_per_s": one, f"batches_of_{BATCH}_per_s": many}


def grow(where: str, key_file: str, count: int) -> None:
    """In a process of its own, so that its peak of memory is its own; prints it, in KiB."""
    with Ledger.create(where, load_key(Path(key_file))) as ledger:
        for start in range(0, count, BATCH):
            ledger.append_all(records(start))
    sys.stdout.write(f"{resource.getrusage(resource.RUSAGE_SELF).ru_maxrss}\n")


def check(where: str, key_file: str) -> None:
    with Ledger.open(where, load_key(Path(key_file))) as ledger:
        began = time.perf_counter()
        report = ledger.verify()
        assert report.sound, report.problems[:3]
        seconds = time.perf_counter() - began
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    sys.stdout.write(f"{seconds} {peak}\n")


def large(where: Path | str, folder: Path, count: int) -> dict[str, Any]:
    """A ledger of `count` records: how long a proof and fsck take, and how much memory."""
    key_file = folder / "key"
    began = time.perf_counter()
    peak = float(_apart("grow", str(where), str(key_file), str(count))[0])
    grown = time.perf_counter() - began
    with Ledger.open(where, load_key(key_file)) as ledger:
        size = ledger.size
        places = [n * size // 200 for n in range(200)]
        began = time.perf_counter()
        proofs = [ledger.prove(place) for place in places]
        proving = (time.perf_counter() - began) / len(places)
        began = time.perf_counter()
        for it in proofs:
            assert it.checkpoint.size == size
            it.checkpoint.check_signed(_verifier(ledger))
        checking = (time.perf_counter() - began) / len(places)
    seconds, checked = map(float, _apart("check", str(where), str(key_file)))
    return {
        "records": size,
        "build_s": grown,
        "build_peak_mib": peak / 1024,
        "prove_ms": proving * 1000,
        "check_signature_ms": checking * 1000,
        "fsck_s": seconds,
        "fsck_peak_mib": checked / 1024,
        "proof_hashes": max(len(it.path) for it in proofs),
    }


def _verifier(ledger: Ledger) -> Any:
    return LogKey.of(ledger.id, ledger.keyring.secrets.signing).verifier()


def _apart(what: str, *words: str) -> list[str]:
    command = [sys.executable, "-m", "benchmarks.ledger.run", "--apart", what, *words]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    return done.stdout.split()


def oracle(count: int) -> dict[str, float]:
    """Building a tree in memory alone, beside pymerkle's."""
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pymerkle import InmemoryTree
    data = [n.to_bytes(8, "big") for n in range(count)]
    began = time.perf_counter()
    frontier = merkle.Frontier()
    for item in data:
        frontier.add(merkle.leaf_hash(item))
    ours = time.perf_counter() - began
    began = time.perf_counter()
    theirs = InmemoryTree(algorithm="sha256")
    for item in data:
        theirs.append_entry(item)
    peer = time.perf_counter() - began
    assert theirs.get_root() == frontier.root()
    return {"leaves": count, "ours_s": ours, "pymerkle_s": peer}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--records", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--postgres", help="URL of an empty database; two are better: URL,URL")
    parser.add_argument("--json", type=Path)
    parser.add_argument("--apart", nargs="+", help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.apart:
        what, *words = arguments.apart
        if what == "grow":
            grow(words[0], words[1], int(words[2]))
        else:
            check(*words)
        return
    found = measured(arguments)
    text = json.dumps(found, indent=2)
    if arguments.json:
        arguments.json.write_text(text + "\n", encoding="utf-8")
    sys.stdout.write(text + "\n")


def measured(arguments: argparse.Namespace) -> dict[str, Any]:
    with ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory()))
        key = create_key(folder / "key")
        places: dict[str, list[Path | str]] = {"sqlite": [folder / "small", folder / "large"]}
        if arguments.postgres:
            places["postgresql"] = list(arguments.postgres.split(","))
        elif postgres.binaries() is not None:
            cluster = stack.enter_context(postgres.running(durable=True))
            places["postgresql"] = [cluster.new(), cluster.new()]
        found: dict[str, Any] = {"fsyncs_per_s": fsyncs(folder, arguments.seconds)}
        for name, where in places.items():
            sys.stderr.write(f"{name}: appending\n")
            found[name] = appends(where[0], key, arguments.seconds)
            found[name]["fsyncs_per_s_after"] = fsyncs(folder, arguments.seconds)
            for count in (arguments.records // 10, arguments.records):
                if len(where) > 1:
                    sys.stderr.write(f"{name}: {count} records\n")
                    place = where[1] if name == "postgresql" else folder / f"large-{count}"
                    if name == "postgresql" and count < arguments.records:
                        continue
                    found[name][f"of_{count}"] = large(place, folder, count)
        sys.stderr.write("trees in memory\n")
        found["tree"] = oracle(100_000)
        found["conditions"] = conditions()
    return found


if __name__ == "__main__":
    main()
