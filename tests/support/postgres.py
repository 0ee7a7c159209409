"""A PostgreSQL server for tests, on a free local port. Root runs it as the user `postgres`."""

import os
import pwd
import secrets
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from rescind.devnet.chain import free_port


def binaries() -> Path | None:
    """Return the folder of the newest PostgreSQL, on the PATH or where Debian installs it."""
    debian = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda p: int(p.parent.name))
    program = shutil.which("initdb")
    folders = [*([Path(program).resolve().parent] if program else []), *reversed(debian)]
    return next((f for f in folders if (f / "initdb").exists() and (f / "pg_ctl").exists()), None)


@dataclass(frozen=True)
class Cluster:
    folder: Path
    port: int

    def new(self) -> str:
        """Return the URL of a new, empty database."""
        name = f"ledger_{secrets.token_hex(6)}"
        self.run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "rescind", name)
        return f"postgresql://rescind@127.0.0.1:{self.port}/{name}"

    def run(self, program: str, *words: str) -> None:
        tools = binaries()
        assert tools is not None
        result = subprocess.run(
            [str(tools / program), *words],
            capture_output=True,
            text=True,
            cwd="/",
            user=_user(),
            check=False,
        )
        assert result.returncode == 0, result.stderr


@contextmanager
def running(*, durable: bool = False) -> Iterator[Cluster]:
    """Start a server. Only a `durable` one survives a crash of the machine; the other is quicker."""
    folder = Path(tempfile.mkdtemp(prefix="rescind-postgres-"))
    cluster = Cluster(folder / "data", free_port())
    try:
        if user := _user():
            shutil.chown(folder, user)
        cluster.run(
            "initdb",
            "-D",
            str(cluster.folder),
            "-U",
            "rescind",
            "-A",
            "trust",
            "-E",
            "UTF8",
            "--no-sync",
        )
        options = f"-p {cluster.port} -h 127.0.0.1 -k {folder}"
        if not durable:
            options += " -c fsync=off -c full_page_writes=off -c autovacuum=off"
        log = str(folder / "log")
        cluster.run("pg_ctl", "-D", str(cluster.folder), "-o", options, "-l", log, "-w", "start")
        try:
            yield cluster
        finally:
            cluster.run("pg_ctl", "-D", str(cluster.folder), "-m", "immediate", "-w", "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _user() -> str | None:
    """Return the user to run as, because PostgreSQL does not run as root."""
    if os.geteuid():
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"
