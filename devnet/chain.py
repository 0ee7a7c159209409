"""Start and stop the Anvil of a run, on its own port and with its state in the run's folder."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path

import psutil

from rescind.contracts import Chain, ChainUnavailable
from rescind.contracts.compiler import foundry
from rescind.core import make_private_folder
from rescind.core.errors import ChainError

CHAIN_ID = 31337
# Anvil answers within a second on an idle machine; a loaded one may need much longer.
_START_SECONDS = 30.0


def free_port() -> int:
    """Return a TCP port of 127.0.0.1 that is free now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    """Return whether a TCP port of 127.0.0.1 can be bound now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True


def start_chain(folder: Path, port: int) -> int:
    """Start Anvil in the background, on the state in `folder`, and return its process id.

    Raises:
        ChainError: Anvil ended or did not answer within 30 s. The message names its log.
    """
    make_private_folder(folder)
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
                raise ChainError(
                    f"Anvil did not start. Its log is {folder / 'anvil.log'}."
                ) from None
        else:
            return pid


def _spawn(command: list[str], log: Path) -> int:
    """Start a process in its own session, so that it outlives this one."""
    append = os.O_WRONLY | os.O_CREAT | os.O_APPEND
    files = [
        (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, str(log), append, 0o600),
        (os.POSIX_SPAWN_DUP2, 1, 2),
    ]
    return os.posix_spawn(command[0], command, os.environ, file_actions=files, setsid=True)


def url_of(port: int) -> str:
    """Return the RPC URL of a chain on this machine."""
    return f"http://127.0.0.1:{port}"


def running_chain(folder: Path) -> int | None:
    """Return the process id of the Anvil that runs on this folder, or None."""
    try:
        pid = int((folder / "anvil.pid").read_text(encoding="ascii"))
        process = psutil.Process(pid)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        is_run = any(str(folder) in word for word in process.cmdline())
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if alive and is_run else None


def stop_chain(folder: Path) -> bool:
    """Stop Anvil, which writes its state first. Return whether one was running."""
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
