"""PgBouncer in transaction mode in front of a PostgreSQL server of the tests."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tenacity import retry, retry_if_exception_type, stop_after_delay, wait_fixed

from rescind.devnet.chain import free_port
from tests.support.postgres import Cluster


def program() -> str | None:
    """Return the program, on the PATH or where Debian installs it."""
    return shutil.which("pgbouncer", path=f"{os.environ['PATH']}:/usr/sbin")


@contextmanager
def pooled(cluster: Cluster) -> Iterator[int]:
    """Run a pooler for all databases of a cluster, with one session each, and yield its port."""
    binary, port = program(), free_port()
    assert binary is not None
    folder = Path(tempfile.mkdtemp(prefix="rescind-pgbouncer-"))
    (folder / "users.txt").write_text('"rescind" ""\n')
    (folder / "pgbouncer.ini").write_text(
        f"[databases]\n* = host=127.0.0.1 port={cluster.port}\n"
        f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {port}\nunix_socket_dir =\n"
        f"auth_type = trust\nauth_file = {folder}/users.txt\npool_mode = transaction\n"
        "default_pool_size = 2\nserver_reset_query = DISCARD ALL\n"
    )
    user = "nobody" if os.geteuid() == 0 else None
    if user:
        for path in (folder, *folder.iterdir()):
            shutil.chown(path, user)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [binary, str(folder / "pgbouncer.ini")], stdout=log, stderr=log, user=user, cwd="/"
        )
    try:
        _wait(port)
        yield port
    finally:
        process.terminate()
        process.wait()
        shutil.rmtree(folder, ignore_errors=True)


@retry(
    retry=retry_if_exception_type(OSError),
    stop=stop_after_delay(30),
    wait=wait_fixed(0.05),
    reraise=True,
)
def _wait(port: int) -> None:
    socket.create_connection(("127.0.0.1", port), timeout=5).close()
