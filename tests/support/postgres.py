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

from tenacity import retry, stop_after_attempt

from rescind.devnet.chain import free_port

_WAIT = ("-w", "-t", "300")
"""For the server, on a loaded machine too."""


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
        _run("createdb", "-h", "127.0.0.1", "-p", str(self.port), "-U", "rescind", name)
        return f"postgresql://rescind@127.0.0.1:{self.port}/{name}"


@contextmanager
def running(*, durable: bool = False) -> Iterator[Cluster]:
    """Start a server. Only a `durable` one survives a crash of the machine; the other is quicker."""
    folder = Path(tempfile.mkdtemp(prefix="rescind-postgres-"))
    data = folder / "data"
    try:
        if user := _user():
            shutil.chown(folder, user)
        _run("initdb", "-D", str(data), "-U", "rescind", "-A", "trust", "-E", "UTF8", "--no-sync")
        options = f"-h 127.0.0.1 -k {folder}"
        if not durable:
            options += " -c fsync=off -c full_page_writes=off -c autovacuum=off"
        port = _start(data, options)
        try:
            yield Cluster(data, port)
        finally:
            _run("pg_ctl", "-D", str(data), "-m", "immediate", *_WAIT, "stop")
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@retry(stop=stop_after_attempt(3), reraise=True)
def _start(data: Path, options: str) -> int:
    """Start the server, on another port if another program has meanwhile taken the first."""
    port, log = free_port(), str(data.parent / "log")
    _run("pg_ctl", "-D", str(data), "-o", f"-p {port} {options}", "-l", log, *_WAIT, "start")
    return port


def _run(program: str, *words: str) -> None:
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


def _user() -> str | None:
    """Return the user to run as, because PostgreSQL does not run as root."""
    if os.geteuid():
        return None
    users = {entry.pw_name for entry in pwd.getpwall()}
    return "postgres" if "postgres" in users else "nobody"
