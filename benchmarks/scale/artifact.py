"""A large artifact through every step, with its memory: `python -m benchmarks.scale.artifact`.

Two deltas of half the size are judged and summed to an adapter of the given size; it is accepted by
its opening, uploaded, downloaded, checked as an auditor does, and compared with another. The
process may have less private memory than the artifact is large (RLIMIT_DATA), so that a step that
holds all of it fails. Server and client are in this process, over loopback with TLS.

Each figure is the growth of memory of the process's own (RssAnon) over its value before the step, looked at
each 5 ms. Pages of mapped files do not count: the system drops them when memory is short.
"""

from __future__ import annotations

import argparse
import json
import resource
import sys
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.scale.shapes import lora_shapes
from benchmarks.wire.measuring import processor, table
from benchmarks.wire.upload import Handler, identity
from rescind.aggregator.adapter_file import written
from rescind.aggregator.checks import judge
from rescind.aggregator.digests import Digests
from rescind.audit.stores import Stores
from rescind.contracts import Entry
from rescind.core import (
    SHARED,
    ArtifactStore,
    ConsortiumParameters,
    Opening,
    TensorSpec,
    Term,
    encode_openings,
    norm_of_change,
    qualify,
    scan,
)
from rescind.core.artifact import METADATA
from rescind.core.tensor_header import in_file_order, write_header
from rescind.wire import AggregatorClient, CertificateAuthority, SubmittedUpdate, serve
from rescind.withdrawals import RecordedModel, accept_files, most_adapter_bytes
from tests.support.consortium import micro_parameters

RESULTS = Path(__file__).parent / "results" / "artifact.json"
PEOPLE = (f"0x{1:040x}", f"0x{2:040x}")
MIB, WEIGHT = 2**20, 5_000


class Publisher(Handler):
    """Keeps what was uploaded and serves it."""

    def submit(self, organization: str, update: SubmittedUpdate) -> None:
        artifact_id = update.artifact.artifact_id
        self._store.adopt(self._uploads.finish(organization, update.artifact), artifact_id)

    def piece(self, organization: str, artifact_id: str, offset: int, length: int) -> Any:  # noqa: ARG002
        return self._store.read(artifact_id, offset, length)


class Steps:
    """Runs steps, and notes time and memory of each."""

    def __init__(self) -> None:
        self.rows: list[dict[str, Any]] = []

    def run(self, name: str, work: Callable[[], Any]) -> Any:
        before, began = own_memory(), time.monotonic()
        with watched() as peak:
            result = work()
        seconds = time.monotonic() - began
        grown = max(peak[0] - before, 0)
        self.rows.append({"step": name, "seconds": round(seconds, 2), "bytes": grown})
        return result


def own_memory(field: str = "RssAnon") -> int:
    """Return bytes of memory of this process's own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return 1024 * next(int(line.split()[1]) for line in lines if line.startswith(field))


@contextmanager
def watched() -> Iterator[list[int]]:
    """Yield a list whose only entry is the peak of own memory during the block."""
    peak, over = [own_memory()], threading.Event()

    def look() -> None:
        while not over.wait(0.005):
            peak[0] = max(peak[0], own_memory())

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield peak
    finally:
        over.set()
        thread.join()


def draw(path: Path, parameters: ConsortiumParameters, seed: int) -> None:
    """Write a delta, tensor by tensor."""
    shapes = parameters.delta_shapes()
    specs = {qualify(SHARED, name): TensorSpec("I32", shape) for name, shape in shapes.items()}
    dice = np.random.default_rng(seed)
    with path.open("wb") as file:
        file.write(write_header(specs, METADATA))
        for spec in in_file_order(specs).values():
            file.write(dice.integers(-900, 900, spec.shape, dtype=np.int32).data)


def sum_up(
    store: ArtifactStore, parameters: ConsortiumParameters, terms: list[Term], folder: Path
) -> str:
    with written(folder, {SHARED: terms}, parameters.delta_shapes(), store.load) as file:
        store.adopt(file.path, file.scanned.artifact_id)
        return file.scanned.artifact_id


def through_the_wire(
    steps: Steps, store: ArtifactStore, artifact: str, most: int, folder: Path
) -> None:
    """Upload the artifact and download it again, over a real server."""
    authority = CertificateAuthority.create(folder / "ca", "benchmark")
    tls = [identity(folder / name, authority) for name in ("aggregator", "node")]
    server = serve(Publisher(folder, most), "127.0.0.1:0", tls[0])  # type: ignore[arg-type]
    address, parts = f"localhost:{server.port}", folder / "parts"
    with AggregatorClient(address, tls[1], downloads=parts) as client:

        def upload() -> None:
            client.submit(1, client.upload(store.view(artifact)), 1, bytes(65))

        steps.run("upload, until it is stored", upload)
        store.delete(artifact)
        steps.run("download", lambda: client.download_into(store, artifact, most))
    server.stop(0)


def play(mebibytes: int, folder: Path, steps: Steps) -> None:
    shapes = lora_shapes(mebibytes * MIB // 8)
    parameters = micro_parameters(
        federated=True,
        shapes=shapes,
        lora={"rank": 16, "alpha": 16, "train_a": True},
        clip_norm=2.0**18,
        max_rounds=1,
    )
    store = ArtifactStore(folder / "s")
    digests, terms, entries, points = Digests(store), list[Term](), list[Entry](), {}
    for number, person in enumerate(PEOPLE):
        draw(path := folder / "delta", parameters, number)
        with path.open("rb") as file:
            scanned = scan(file)
        store.adopt(path, scanned.artifact_id)
        points[scanned.point_hash] = scanned.commitment
        terms.append(Term(1, person, scanned.artifact_id, WEIGHT, scanned.point_hash))
        entries.append(Entry(1, person, number, WEIGHT, scanned.point_hash))

    def judged() -> None:
        for number, term in enumerate(terms):
            verdict = judge(
                term.organization,
                term.artifact_id,
                store,
                digests,
                parameters,
                submitted=True,
                point_hash=term.point_hash,
                member=number,
            )
            assert verdict.accepted, verdict.what

    steps.run("judge two deltas of half the size", judged)
    adapter = steps.run("sum", lambda: sum_up(store, parameters, terms, folder / "b"))
    opening = encode_openings(
        [Opening.build(SHARED, [(digests.of(t.artifact_id), WEIGHT) for t in terms])]
    )
    record = RecordedModel(0, tuple(entries), (), points)

    def accepted() -> None:
        data = store.view(adapter, check=False)
        result = accept_files(record, parameters, data, opening, adapter)
        assert result.complete, result.sentence()

    through_the_wire(steps, store, adapter, most_adapter_bytes(parameters), folder)
    steps.run("accept by the opening", accepted)

    def audited() -> None:
        data = Stores([folder / "s"]).load(adapter)
        assert data is not None
        assert accept_files(record, parameters, data, opening).complete

    steps.run("verify from a folder of artifacts", audited)

    def compared() -> None:
        with store.open_tensors(adapter) as after, store.open_tensors(terms[0].artifact_id) as one:
            assert norm_of_change(after, one) > 0

    steps.run("size of a change", compared)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--mebibytes", type=int, default=2048, help="size of the adapter")
    parser.add_argument(
        "--room", type=int, default=512, help="MiB of own memory beside the start's"
    )
    parser.add_argument("--json", type=Path, default=RESULTS)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        small, steps = Path(folder) / "small", Steps()
        small.mkdir()
        # Compiles the kernels and starts what stays.
        play(1, small, Steps())
        room = own_memory("VmData") + options.room * MIB
        resource.setrlimit(resource.RLIMIT_DATA, (room, room))
        large = Path(folder) / "large"
        large.mkdir()
        play(options.mebibytes, large, steps)
    rows = [[r["step"], f"{r['seconds']:.1f}", f"{r['bytes'] / MIB:,.0f}"] for r in steps.rows]
    sys.stdout.write(table(["step", "s", "own memory, MiB"], rows) + "\n")
    setting = {"machine": processor(), "mebibytes": options.mebibytes, "room": options.room}
    options.json.write_text(json.dumps({"setting": setting, "steps": steps.rows}, indent=1) + "\n")


if __name__ == "__main__":
    main()
