"""Anvil, as a child of the run: its own port, its state under the run's folder."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import psutil

from rescind.contracts import Chain, ChainUnavailable
from rescind.contracts.compiler import foundry
from rescind.core.errors import ChainError

CHAIN_ID = 31337
_START_SECONDS = 30.0


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start_chain(folder: Path, port: int) -> int:
    """Start Anvil detached, on the state that the folder holds; returns its process id."""
    folder.mkdir(parents=True, exist_ok=True)
    command = [str(foundry("anvil")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--chain-id", str(CHAIN_ID), "--silent"]
    command += ["--state", str(folder / "anvil-state.json"), "--state-interval", "5"]
    pid = _spawn(command, folder / "anvil.log")
    (folder / "anvil.pid").write_text(f"{pid}\n", encoding="ascii")
    chain, deadline = Chain(url_of(port), CHAIN_ID), time.monotonic() + _START_SECONDS
    while True:
        try:
            chain.check()
        except ChainUnavailable:
            if running_chain(folder) is None or time.monotonic() > deadline:
                raise ChainError(f"Anvil did not start, see {folder / 'anvil.log'}") from None
        else:
            return pid


def _spawn(command: list[str], log: Path) -> int:
    """A process in a session of its own, which outlives this one."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o644),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)


def url_of(port: int) -> str:
    return f"http://127.0.0.1:{port}"


def running_chain(folder: Path) -> int | None:
    """Process id of the Anvil that was started on this folder, if it still runs."""
    try:
        pid = int((folder / "anvil.pid").read_text(encoding="ascii"))
        process = psutil.Process(pid)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        ours = any(str(folder) in word for word in process.cmdline())
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if alive and ours else None


def stop_chain(folder: Path) -> bool:
    """Ask Anvil to write its state and end; True if one was running."""
    pid = running_chain(folder)
    if pid is None:
        return False
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGTERM)
    try:
        process.wait(30)
    except psutil.TimeoutExpired:
        process.kill()
    (folder / "anvil.pid").unlink(missing_ok=True)
    return True
