"""Upload over loopback with TLS, beside raw TLS over TCP and Flower: `python -m benchmarks.wire.upload`.

Each server is a process of its own. An upload ends when the server says that it has hashed the
bytes, flushed them to the disk and stored them. Raw TLS is measured twice: the bytes dropped, and
hashed and written as Rescind does. A node names an artifact by the id under which its store keeps it.
Flower's client hashes an object whenever it sends it, so that is measured of Rescind, too. `--flower-python` names the interpreter of a virtual environment
with flwr, which needs other versions of protobuf and typer; its upload of the same bytes is then
measured in the same run, interleaved. Writes a JSON file in results/ beside itself.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import multiprocessing
import os
import platform
import socket
import ssl
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from multiprocessing.connection import Connection
from pathlib import Path
from typing import Any

from benchmarks.wire.measuring import Row, in_turns, processor, table, write
from rescind.aggregator.uploads import Quotas, Uploads
from rescind.core import ArtifactStore
from rescind.core.mapped import Bytes
from rescind.wire import (
    Admission,
    AggregatorClient,
    CertificateAuthority,
    SizedArtifact,
    SubmittedUpdate,
    TlsFiles,
    new_key,
    serve,
    signing_request,
)

RAW = "raw TLS, hashed and written"
BLOCK = 2**20


class Handler:
    """The aggregator's intake without a chain: uploads and store are the real ones."""

    def __init__(self, folder: Path, most: int) -> None:
        self.max_artifact_bytes = most
        self._uploads = Uploads(folder / "uploads", Quotas(4, 4 * most, 4, 4 * most, 3600.0))
        self._store = ArtifactStore(folder / "store")

    def admit(self, certificate: bytes) -> Admission:  # noqa: ARG002
        return Admission("sender")

    def begin_upload(self, organization: str, artifact: SizedArtifact) -> int:
        return self._uploads.begin(organization, artifact, "update", 1)

    def put_piece(self, organization: str, artifact_id: str, offset: int, data: Bytes) -> int:
        return self._uploads.put(organization, artifact_id, offset, data)

    def submit(self, organization: str, update: SubmittedUpdate) -> None:
        artifact_id = update.artifact.artifact_id
        self._store.adopt(self._uploads.finish(organization, update.artifact), artifact_id)
        self._uploads.drop(organization, artifact_id)
        # The next repeat sends the same bytes.
        self._store.delete(artifact_id)


def identity(folder: Path, authority: CertificateAuthority) -> TlsFiles:
    request = signing_request(new_key(folder / "key.pem"), folder.name, ["localhost", "127.0.0.1"])
    (folder / "certificate.pem").write_bytes(authority.issue(request))
    (folder / "authority.pem").write_bytes(authority.pem)
    return TlsFiles(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")


def serve_rescind(folder: Path, tls: TlsFiles, most: int, ready: Connection) -> None:
    server = serve(Handler(folder, most), "127.0.0.1:0", tls)  # type: ignore[arg-type]
    ready.send(server.port)
    ready.recv()
    server.stop(0)


def serve_raw(folder: Path, tls: TlsFiles, most: int, ready: Connection) -> None:  # noqa: ARG001
    """Receive "size mode" lines, each followed by that many bytes; answer with their SHA-256."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(tls.certificate, tls.key)
    context.load_verify_locations(tls.authority)
    context.verify_mode = ssl.CERT_REQUIRED
    with socket.create_server(("127.0.0.1", 0)) as listener:
        ready.send(listener.getsockname()[1])
        while True:
            plain, _ = listener.accept()
            with plain, context.wrap_socket(plain, server_side=True) as connection:
                size, mode = connection.recv(64).split()
                if mode == b"stop":
                    return
                connection.sendall(b"go")
                connection.sendall(receive(connection, int(size), folder, keep=mode == b"keep"))


def receive(connection: ssl.SSLSocket, size: int, folder: Path, *, keep: bool) -> bytes:
    buffer = bytearray(BLOCK)
    view, digest = memoryview(buffer), hashlib.sha256()
    with (folder / "raw").open("wb", buffering=0) as file:
        while size:
            count = connection.recv_into(view, min(size, BLOCK))
            size -= count
            if keep:
                digest.update(view[:count])
                file.write(view[:count])
        os.fsync(file.fileno())
    (folder / "raw").unlink()
    return digest.digest()


@contextmanager
def process(target: Callable[..., None], *arguments: object) -> Iterator[int]:
    """Run a server in a process of its own, and yield its port."""
    context = multiprocessing.get_context("spawn")
    near, far = context.Pipe()
    server = context.Process(target=target, args=(*arguments, far), daemon=True)
    server.start()
    yield near.recv()
    server.terminate()
    server.join()


def send_raw(port: int, tls: TlsFiles, data: bytes, mode: str) -> float:
    context = ssl.create_default_context(cafile=str(tls.authority))
    context.load_cert_chain(tls.certificate, tls.key)
    began = time.perf_counter()
    with (
        socket.create_connection(("127.0.0.1", port)) as plain,
        context.wrap_socket(plain, server_hostname="localhost") as connection,
    ):
        connection.sendall(f"{len(data)} {mode}".encode())
        connection.recv(2)
        view = memoryview(data)
        for offset in range(0, len(data), BLOCK):
            connection.sendall(view[offset : offset + BLOCK])
        digest = connection.recv(64)
        seconds = time.perf_counter() - began
    assert mode != "keep" or digest == hashlib.sha256(data).digest()
    return seconds


def send_rescind(port: int, tls: TlsFiles, data: bytes, artifact_id: str | None) -> float:
    with AggregatorClient(f"localhost:{port}", tls) as client:
        began = time.perf_counter()
        artifact = client.upload(data, artifact_id=artifact_id)
        client.submit(1, artifact, 1, bytes(65))
        return time.perf_counter() - began


class Flower:
    """Flower's upload, in a process of its virtual environment; see flower_upload.py."""

    def __init__(self, python: str, folder: Path, server: TlsFiles, payload: Path) -> None:
        script = str(Path(__file__).parent / "flower_upload.py")
        files = [str(each) for each in (server.key, server.certificate, server.authority)]
        self._process = subprocess.Popen(
            [python, script, *files, str(payload), str(folder)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.version = self._line()["flwr"]

    def _line(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        line = self._process.stdout.readline()
        if not line:
            raise SystemExit("the process that runs Flower's upload ended: see its messages above")
        value: dict[str, Any] = json.loads(line)
        return value

    def send(self) -> float:
        assert self._process.stdin is not None
        self._process.stdin.write("upload\n")
        self._process.stdin.flush()
        return float(self._line()["seconds"])

    def close(self) -> None:
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def measure(
    size: int, repeats: int, flower_python: str | None, folder: Path
) -> tuple[dict[str, Any], list[Row]]:
    data = os.urandom(size)
    artifact_id = hashlib.sha256(data).hexdigest()
    payload = folder / "payload"
    payload.write_bytes(data)
    authority = CertificateAuthority.create(folder / "ca", "benchmark")
    server, sender = identity(folder / "server", authority), identity(folder / "sender", authority)
    versions = {name: version(name) for name in ("grpcio", "protobuf")}
    with ExitStack() as stack:
        most = max(size, 2**20)
        rescind = stack.enter_context(process(serve_rescind, folder, server, most))
        raw = stack.enter_context(process(serve_raw, folder, server, most))
        ways: dict[str, Callable[[], float]] = {
            "raw TLS, dropped": lambda: send_raw(raw, sender, data, "drop"),
            RAW: lambda: send_raw(raw, sender, data, "keep"),
            "Rescind": lambda: send_rescind(rescind, sender, data, artifact_id),
            "Rescind, hashed by the sender first": lambda: send_rescind(
                rescind, sender, data, None
            ),
        }
        if flower_python:
            flower = Flower(flower_python, folder, server, payload)
            stack.callback(flower.close)
            versions["flwr"] = flower.version
            ways["Flower"] = flower.send
        load = os.getloadavg()[0]
        rows = in_turns(ways, repeats, size / 1e6)
    setting = {
        "bytes": size,
        "repeats": repeats,
        "machine": f"{processor()}, {os.cpu_count()} cores",
        "load_at_start": load,
        "state": "loopback, mutual TLS; a server says that the bytes are on the disk, Flower's in memory",
        "python": platform.python_version(),
        "openssl": ssl.OPENSSL_VERSION,
        "versions": versions,
    }
    return setting, rows


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--mib", type=int, default=1024, help="size of the upload in MiB")
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--flower-python", help="python of an environment with flwr")
    parser.add_argument("--json", type=Path, help="where to write the results")
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        size = options.mib * 2**20
        setting, rows = measure(size, options.repeats, options.flower_python, Path(folder))
    peer = next(row.speed for row in rows if row.name == RAW)
    head = ["upload", "MB/s (median)", "range", "times raw TLS, hashed and written"]
    sys.stdout.write(
        f"{setting}\n{options.mib} MiB, n = {options.repeats}\n\n"
        f"{table(head, [row.cells(peer) for row in rows])}\n"
    )
    write(options, "upload", {"setting": setting, "rows": [row.to_json() for row in rows]})


if __name__ == "__main__":
    main()
