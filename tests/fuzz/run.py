"""Fuzz a target for a number of inputs, and go on where an earlier run ended.

    python -m tests.fuzz.run TARGET --folder runs/fuzz --runs 1000000
    python -m tests.fuzz.run all --folder runs/fuzz --runs 1000000
    python -m tests.fuzz.run TARGET --folder runs/fuzz --input FILE

With Atheris, inputs are guided by the coverage of Rescind's code, and half of them are changed as
JSON. Without it the same changes are made blindly. The folder keeps, for each target, `corpus/`
(inputs that reached new code), `progress.json` and `crashes/`. A run of all imports everything once
and forks a process for each target, because Atheris ends its own.
"""

from __future__ import annotations

import argparse
import atexit
import contextlib
import io
import json
import os
import random
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass
from hashlib import sha256
from pathlib import Path
from typing import Any

SAVE_SECONDS = 5.0
MOST_BYTES = 1 << 17
COMPILED = tuple(
    f"rescind.{name}"
    for name in (
        "agents.counter_random agents.payout agents.round_kernels agents.learners.base "
        "agents.learners.double_q agents.learners.sarsa agents.learners.fixed "
        "agents.learners.q_learning agents.learners.tabular agents.learners.bandit "
        "core._ntt core._sum_kernels"
    ).split()
)
"""Modules whose functions numba compiles: it cannot compile them with counters in them."""


@dataclass
class Progress:
    """The inputs that were tried, over all runs.

    Attributes:
        runs: Inputs.
        refused: Inputs that the target refused.
        crashes: Inputs that crashed it, or that it should have refused.
        engine: What made the inputs last.
    """

    runs: int = 0
    refused: int = 0
    crashes: int = 0
    engine: str = ""


class Session:
    """A target's folder, and the progress in it."""

    def __init__(self, target: Any, folder: Path, engine: str) -> None:
        self.target, self.folder = target, folder / target.name
        self.corpus, self.crashes = self.folder / "corpus", self.folder / "crashes"
        for path in (self.corpus, self.crashes):
            path.mkdir(parents=True, exist_ok=True)
        self.progress = read_progress(self.folder)
        self.progress.engine = engine
        self._truths = target.truths() if target.proves else []
        self._saved = time.monotonic()

    def seed(self) -> None:
        """Put the target's own seeds into the corpus."""
        for data in self.target.seeds:
            (self.corpus / sha256(data).hexdigest()[:16]).write_bytes(data)

    def check(self, data: bytes) -> None:
        """Try one input; keep it if it crashes the target."""
        from tests.fuzz.target import REFUSED

        try:
            refused = self.target.check(data, self._truths) is REFUSED
        except Exception:
            self.keep(data, traceback.format_exc())
            refused = False
        self.progress.runs += 1
        self.progress.refused += refused
        if time.monotonic() - self._saved > SAVE_SECONDS:
            self.save()

    def keep(self, data: bytes, trace: str) -> None:
        """Keep an input with its traceback, one for each place in the code."""
        place = next(line for line in reversed(trace.splitlines()) if line.startswith("  File "))
        name = sha256(f"{place} {trace.splitlines()[-1][:40]}".encode()).hexdigest()[:12]
        self.progress.crashes += 1
        if not (self.crashes / name).exists():
            (self.crashes / name).write_bytes(data)
            (self.crashes / f"{name}.txt").write_text(trace)
            print(f"{self.target.name}: {trace.splitlines()[-1][:200]}", flush=True)

    def save(self) -> None:
        self._saved = time.monotonic()
        from rescind.core.files import write_atomically

        content = json.dumps(asdict(self.progress), indent=1).encode()
        write_atomically(self.folder / "progress.json", content)


def read_progress(folder: Path) -> Progress:
    path = folder / "progress.json"
    return Progress(**json.loads(path.read_bytes())) if path.is_file() else Progress()


def atheris_or_none() -> Any:
    try:
        import atheris
    except ImportError:
        return None
    return atheris


@contextlib.contextmanager
def instrumented(atheris: Any) -> Iterator[None]:
    """Instrument what is imported of Rescind for coverage, if Atheris is there."""
    if atheris is None:
        yield
        return
    with (
        contextlib.redirect_stderr(io.StringIO()),
        atheris.instrument_imports(include=["rescind"], exclude=list(COMPILED)),
    ):
        yield


def fuzz(session: Session, atheris: Any, runs: int) -> None:
    """Try inputs until `runs` are tried in all, over all runs of the program."""
    left = runs - session.progress.runs
    if left <= 0:
        return
    if atheris is None:
        from tests.fuzz.loop import mutated

        for number in range(session.progress.runs, runs):
            session.check(mutated(session.target, number))
        session.save()
        return
    session.seed()

    def mutator(data: bytes, most: int, seed: int) -> bytes:
        rng = random.Random(seed)
        if rng.random() < 0.5:
            return bytes(atheris.Mutate(data, most))
        return bytes(session.target.mutate(data, rng)[:most])

    def one_input(data: bytes) -> None:
        session.check(data)
        if session.progress.runs >= runs:
            session.save()
            atexit._run_exitfuncs()  # a target's chain and files end with the process
            os._exit(0)  # libFuzzer would end the process with a report of its own

    words = [sys.argv[0], str(session.corpus), f"-max_len={MOST_BYTES}", f"-runs={2 * left}"]
    words += ["-timeout=60", "-rss_limit_mb=4096", "-print_final_stats=0", "-verbosity=0"]
    words += [f"-artifact_prefix={session.crashes}/", f"-seed={session.progress.runs + 1}"]
    atheris.Setup(words, one_input, custom_mutator=mutator)
    atheris.Fuzz()


def run_all(names: Sequence[str], folder: Path, runs: int) -> int:
    """Fuzz each target in a process of its own, and print what was tried in all."""
    from tests.fuzz.registry import module_of

    atheris, failed = atheris_or_none(), 0
    for name in names:
        status, progress = 0, read_progress(folder / name)
        if progress.runs < runs:
            # Most of a start is the import, which the processes share from here on.
            with instrumented(atheris):
                module_of(name)
            status = forked(lambda name=name: run_one(name, folder, runs, atheris))
            progress = read_progress(folder / name)
        print(
            f"{name}: {progress.runs} tried, {progress.refused} refused, {progress.crashes} "
            f"crashes or false yes, {progress.engine}",
            flush=True,
        )
        failed += bool(status or progress.crashes)
    return failed


def forked(work: Callable[[], int]) -> int:
    """Do some work in a process of its own, and return its exit status."""
    process = os.fork()
    if not process:
        status = 1
        try:
            status = work()
        except BaseException:
            traceback.print_exc()
        finally:
            sys.stdout.flush()
            atexit._run_exitfuncs()
            os._exit(status)
    return os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])


def run_one(name: str, folder: Path, runs: int, atheris: Any) -> int:
    """Fuzz a target, and return the exit status of the process. With Atheris it does not return."""
    from tests.fuzz.registry import find

    with instrumented(atheris):
        target = find(name)
    session = Session(target, folder, "Atheris" if atheris else "without coverage")
    fuzz(session, atheris, runs)
    return int(session.progress.crashes > 0)


def main() -> int:
    from tests.fuzz.registry import find, names, slow_names

    parser = argparse.ArgumentParser(description=__doc__)
    every = ", ".join([*names(), *slow_names()])
    parser.add_argument("target", help=f"all that need no chain, or one of {every}")
    parser.add_argument("--folder", type=Path, default=Path("runs/fuzz"))
    parser.add_argument(
        "--runs", type=int, default=1_000_000, help="Inputs in all, earlier ones too"
    )
    parser.add_argument("--input", type=Path, help="Try one input, and show what comes of it")
    given = parser.parse_args()
    if given.target == "all":
        return run_all(names(), given.folder, given.runs)
    if given.input:
        target = find(given.target)
        print(target.check(given.input.read_bytes(), target.truths()))
        return 0
    return run_one(given.target, given.folder, given.runs, atheris_or_none())


if __name__ == "__main__":
    sys.exit(main())
