"""Processes that are forked from one that has loaded the libraries: loading takes seconds of each."""

from __future__ import annotations

import os
import runpy
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from multiprocessing import forkserver, get_context
from multiprocessing.context import ForkServerContext, ForkServerProcess
from pathlib import Path

from rescind.core import append_private

_LOADED = ["rescind.cli.main", "rescind.devnet.loaded"]


def ready(threads: int) -> ForkServerContext:
    """Start the process that daemons are forked from, unless it runs; it loads in the background.

    The first call of a process decides the threads.

    Args:
        threads: Threads of each daemon's arithmetic.
    """
    context = get_context("forkserver")
    context.set_forkserver_preload(_LOADED)
    # Libraries read these when they are loaded.
    settings = {
        # cuBLAS: a replay on a GPU must give the same bytes.
        "CUBLAS_WORKSPACE_CONFIG": os.environ.get("CUBLAS_WORKSPACE_CONFIG", ":4096:8"),
        "OMP_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    with _environment(settings):
        forkserver.ensure_running()
    return context


def start(threads: int, arguments: Sequence[str], log: Path) -> ForkServerProcess:
    """Run `rescind ARGUMENTS` in a process of its own.

    Args:
        threads: Threads of its arithmetic, as for `ready`.
        arguments: Arguments of `rescind`.
        log: The file that its output is appended to.
    """
    process = ready(threads).Process(target=_run, args=(tuple(arguments), log))
    process.start()
    return process


def _run(arguments: Sequence[str], log: Path) -> None:
    # A signal to the demo's terminal is not for its daemons: the demo ends them in order.
    os.setsid()
    with append_private(log) as file:
        os.dup2(file.fileno(), sys.stdout.fileno())
        os.dup2(file.fileno(), sys.stderr.fileno())
    sys.argv = ["rescind", *arguments]
    runpy.run_module("rescind", run_name="__main__")


@contextmanager
def _environment(settings: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in settings}
    os.environ.update(settings)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
