"""Sweep of an experiment's cells on this machine's processes or on a Ray cluster."""

from __future__ import annotations

import logging
import multiprocessing
import os
import socket
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor, as_completed
from concurrent.futures.process import BrokenProcessPool

from rescind.agents.experiments.config import Cell, Experiment
from rescind.agents.experiments.results import write_results
from rescind.agents.experiments.run import CellResult, run_cell
from rescind.agents.experiments.store import RunFolder
from rescind.core.errors import AgentError

_TRIES = 3
"""Attempts before a sweep gives up on workers that die, most often for lack of memory."""

Say = Callable[[str], object]


def sweep(
    experiment: Experiment,
    folder: RunFolder,
    *,
    say: Say,
    processes: int | None = None,
    ray_address: str | None = None,
) -> None:
    """Run the cells that are missing, join the tables and write results.json.

    Args:
        experiment: The experiment.
        folder: Where results are kept; cells that are there already are not run again.
        say: Called with each line of progress.
        processes: Processes on this machine; one for each core by default.
        ray_address: Ray cluster to run on in place of this machine, or "local" to start one.

    Raises:
        AgentError: Processes or workers died too often, or no cluster answers. The sweep can be run
            again, and continues.
    """
    cells = experiment.cells()
    folder.begin(experiment)
    missing = [cell for cell in cells if not folder.has(cell)]
    done = len(cells) - len(missing)
    if done:
        say(f"{done} of {len(cells)} cells are already done")
    if ray_address is not None:
        results = _on_ray(missing, ray_address, say)
    else:
        results = _on_this_machine(missing, processes or os.cpu_count() or 1, say)
    for cell, result in results:
        folder.put(cell, result)
        done += 1
        name = f"{cell.learner.title}, {cell.label}" if cell.label else cell.learner.title
        say(f"{done} of {len(cells)}: {name}")
    folder.join(experiment)
    write_results(folder)


def _on_this_machine(
    cells: Sequence[Cell], processes: int, say: Say
) -> Iterator[tuple[Cell, CellResult]]:
    """Run cells in processes; when one dies, run the unfinished cells again in new ones."""
    if processes == 1:
        yield from ((cell, run_cell(cell)) for cell in cells)
        return
    left = {cell.key: cell for cell in cells}
    for attempt in range(1, _TRIES + 1):
        # Spawned, because a fork of a process with threads, as numba and torch start, can deadlock.
        context = multiprocessing.get_context("spawn")
        with ProcessPoolExecutor(min(processes, max(1, len(left))), context) as pool:
            running = {pool.submit(run_cell, cell): cell for cell in left.values()}
            try:
                for future in as_completed(running):
                    cell = running[future]
                    yield cell, future.result()
                    del left[cell.key]
            except BrokenProcessPool:
                say(f"a process died; {len(left)} cells are left (try {attempt} of {_TRIES})")
                continue
            except GeneratorExit:
                pool.shutdown(cancel_futures=True)
                raise
        return
    raise AgentError(
        f"Worker processes died {_TRIES} times, perhaps for lack of memory. Run the sweep again "
        "with fewer --processes; it continues with the cells that are left."
    )


def _check_answers(address: str) -> None:
    """Check that a cluster answers: Ray itself tries for minutes and then ends the process."""
    host, colon, port = address.removeprefix("ray://").rpartition(":")
    if not colon:
        if address in ("local", "auto"):
            return
        raise AgentError(f"--ray {address} is not an address. Give HOST:PORT, 'auto' or 'local'.")
    try:
        socket.create_connection((host, int(port)), timeout=5).close()
    except (OSError, ValueError, OverflowError) as error:
        raise AgentError(
            f"--ray {address}: no cluster answers there ({error}). Start one, or pass --ray local."
        ) from error


def _on_ray(cells: Sequence[Cell], address: str, say: Say) -> Iterator[tuple[Cell, CellResult]]:
    """Run cells on a cluster; Ray gives a dead worker's cell to another."""
    try:
        import ray
    except ImportError as error:
        raise AgentError(f"--ray needs {error.name}. Run: pip install 'rescind[ray]'") from error
    _check_answers(address)
    try:
        ray.init(address=address, log_to_driver=False, logging_level=logging.ERROR)
    except (ConnectionError, ValueError, RuntimeError) as error:
        raise AgentError(
            f"--ray {address}: no cluster answers there ({error}). Start one, or pass --ray local."
        ) from error
    try:
        resources: dict[str, float] = ray.cluster_resources()  # type: ignore[no-untyped-call]
        say(f"Ray: {resources.get('CPU', 0):.0f} CPUs")
        remote = ray.remote(num_cpus=1, max_retries=_TRIES)(run_cell)
        waiting = {remote.remote(cell): cell for cell in cells}
        while waiting:
            [ready], _ = ray.wait(list(waiting), num_returns=1)
            cell = waiting.pop(ready)
            try:
                yield cell, ray.get(ready)
            except ray.exceptions.WorkerCrashedError as error:
                raise AgentError(
                    f"The workers of cell {cell.label or cell.learner.title} died {_TRIES + 1} "
                    f"times: {error}"
                ) from error
    finally:
        ray.shutdown()
