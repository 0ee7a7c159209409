"""Parts that the benchmarks of the wire share: a peer in its own Python, turns, tables and conditions."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any, Self

RESULTS = Path(__file__).parent / "results"
PEER = Path(__file__).with_name("flower_peer.py")


class Flower:
    """A process of another Python that has Flower, and does what it is asked, one line of JSON each.

    Our environment cannot hold Flower: it needs an older protobuf and typer.
    """

    def __init__(self, python: Path) -> None:
        self._process = subprocess.Popen(
            [str(python), str(PEER)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._process.communicate()

    def ask(self, do: str, **arguments: Any) -> Any:
        """Let the process do something and return its answer."""
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps({"do": do, **arguments}) + "\n")
        self._process.stdin.flush()
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit(f"the process of Flower ended while it did {do!r}: see its output")
        return json.loads(line)

    def seconds(self, do: str, **arguments: Any) -> float:
        """Let the process do something and return how long it took, by its own clock."""
        return float(self.ask(do, **arguments))


@dataclass(frozen=True)
class Row:
    """The times of one way to do the work.

    Attributes:
        name: The way.
        megabytes: Size of the work, in 10^6 bytes.
        seconds: How long it took each time.
    """

    name: str
    megabytes: float
    seconds: tuple[float, ...]

    @property
    def speed(self) -> float:
        """Median MB/s."""
        return self.megabytes / statistics.median(self.seconds)

    def cells(self, best: float) -> list[str]:
        fastest, slowest = self.megabytes / min(self.seconds), self.megabytes / max(self.seconds)
        ratio = f"{self.speed / best:.2f}"
        return [self.name, f"{self.speed:,.0f}", f"{slowest:,.0f} to {fastest:,.0f}", ratio]

    def to_json(self) -> dict[str, Any]:
        return {"name": self.name, "median_mb_s": round(self.speed, 1), "seconds": self.seconds}


def timed(work: Callable[[], Any]) -> float:
    """Return the seconds that some work takes."""
    began = time.perf_counter()
    work()
    return time.perf_counter() - began


def in_turns(ways: Mapping[str, Callable[[], float]], repeats: int, megabytes: float) -> list[Row]:
    """Measure each way in turn, over and over, so that other load falls on all alike.

    The first turn does not count: it compiles, and it touches the memory.
    """
    times: dict[str, list[float]] = {name: [] for name in ways}
    for repeat in range(repeats + 1):
        for name, seconds in ways.items():
            taken = seconds()
            if repeat:
                times[name].append(taken)
    return [Row(name, megabytes, tuple(taken)) for name, taken in times.items()]


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Return a table in Markdown."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def arguments(description: str, **defaults: int) -> argparse.Namespace:
    """Parse the options that all benchmarks have, and whole numbers by name."""
    parser = argparse.ArgumentParser(description=description)
    parser.add_argument(
        "--flower-python", type=Path, required=True, help="python of an environment with flwr"
    )
    for name, value in defaults.items():
        parser.add_argument(f"--{name.replace('_', '-')}", type=int, default=value)
    parser.add_argument("--json", type=Path, help="where to write the results")
    return parser.parse_args()


def setting(flower: Flower, options: argparse.Namespace) -> dict[str, Any]:
    """Return what the figures depend on: options, machine, load, versions."""
    shown = {k: v for k, v in vars(options).items() if k not in ("flower_python", "json")}
    return {
        **shown,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load_at_start": os.getloadavg()[0],
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("numpy", "numba", "safetensors")},
        "flower": flower.ask("versions"),
    }


def write(options: argparse.Namespace, name: str, results: Mapping[str, Any]) -> None:
    """Write the results as JSON."""
    path: Path = options.json or RESULTS / f"{name}.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(results, indent=1) + "\n")


def processor() -> str:
    info = Path("/proc/cpuinfo")
    lines = info.read_text().splitlines() if info.exists() else []
    names = [line.partition(":")[2].strip() for line in lines if line.startswith("model name")]
    return names[0] if names else platform.machine()
