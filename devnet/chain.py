"""Start and stop the chain of a run, on its own port: Anvil or Hardhat."""

from __future__ import annotations

import os
import signal
import socket
import time
from pathlib import Path
from typing import Literal

import psutil

from rescind.contracts import Chain, ChainUnavailable, NodeRefused, check_precompiles
from rescind.contracts.compiler import foundry
from rescind.core import make_private_folder
from rescind.core.errors import ChainError
from rescind.devnet.hardhat import ENVIRONMENT, hardhat_command

CHAIN_ID = 31337
# Both answer within seconds on an idle machine; a loaded one may need much longer.
_START_SECONDS = 30.0
_NO_ACCOUNT = "0x" + "0" * 40

ChainKind = Literal["anvil", "hardhat"]
"""Anvil writes its state into the run's folder. Hardhat keeps a chain in memory only."""


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


def check_chain(url: str) -> Chain:
    """Check that a devnet can be set up on a running chain.

    Args:
        url: Its RPC URL.

    Raises:
        ChainUnavailable: The chain does not answer.
        WrongChain: It has another id than Anvil's and Hardhat's, or lacks EIP-2537.
        ChainError: It is neither Anvil nor Hardhat, so it gives accounts no ether.
    """
    chain = Chain(url, CHAIN_ID)
    chain.check()
    check_precompiles(chain)
    try:
        set_balance(chain, _NO_ACCOUNT, chain.balance(_NO_ACCOUNT))
    except NodeRefused as error:
        raise ChainError(
            f"{chain.shown} gives accounts no ether ({error}), so it is neither Anvil nor Hardhat. "
            "Set a consortium up on another chain with rescind deploy: see docs/deploy.md."
        ) from error
    return chain


def set_balance(chain: Chain, address: str, wei: int) -> None:
    """Set what an account holds. Anvil has this method of Hardhat's as well."""
    chain.rpc.request("hardhat_setBalance", address, hex(wei))


def chain_command(
    kind: ChainKind, folder: Path, port: int, hardfork: str | None = None
) -> list[str]:
    """Return the command that starts a chain on 127.0.0.1.

    Args:
        kind: The program.
        folder: Where Anvil keeps its state and Hardhat its configuration.
        port: The port that it listens on.
        hardfork: The newest upgrade of Ethereum that the chain has. Without it, Anvil has all that
            it knows and Hardhat has Prague, the first with EIP-2537.

    Raises:
        ChainError: The program is not installed.
    """
    if kind == "hardhat":
        return hardhat_command(folder, port, CHAIN_ID, hardfork or "prague")
    command = [str(foundry("anvil")), "--host", "127.0.0.1", "--port", str(port)]
    command += ["--chain-id", str(CHAIN_ID), "--silent"]
    command += ["--hardfork", hardfork] if hardfork else []
    return [*command, "--state", str(folder / "anvil-state.json"), "--state-interval", "5"]


def start_chain(folder: Path, port: int, kind: ChainKind = "anvil") -> int:
    """Start a chain in the background, and return its process id.

    Anvil continues from the state in `folder`; Hardhat begins with an empty chain.

    Raises:
        ChainError: The chain ended or did not answer within 30 s. The message names its log.
    """
    make_private_folder(folder)
    log = folder / "chain.log"
    pid = _spawn(chain_command(kind, folder, port), log)
    (folder / "chain.pid").write_text(f"{pid}\n", encoding="ascii")
    chain, deadline = Chain(url_of(port), CHAIN_ID), time.monotonic() + _START_SECONDS
    while True:
        try:
            chain.check()
        except ChainUnavailable:
            if running_chain(folder) is None or time.monotonic() > deadline:
                raise ChainError(f"{kind} did not start. Its log is {log}.") from None
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
    environment = {**os.environ, **ENVIRONMENT}
    return os.posix_spawn(command[0], command, environment, file_actions=files, setsid=True)


def url_of(port: int) -> str:
    """Return the RPC URL of a chain on this machine."""
    return f"http://127.0.0.1:{port}"


def running_chain(folder: Path) -> int | None:
    """Return the process id of the chain that runs on this folder, or None."""
    try:
        pid = int((folder / "chain.pid").read_text(encoding="ascii"))
        process = psutil.Process(pid)
        alive = process.is_running() and process.status() != psutil.STATUS_ZOMBIE
        is_run = any(str(folder) in word for word in process.cmdline())
    except (OSError, ValueError, psutil.Error):
        return None
    return pid if alive and is_run else None


def stop_chain(folder: Path) -> bool:
    """Stop the chain. Anvil writes its state first. Return whether a chain was running."""
    pid = running_chain(folder)
    if pid is None:
        return False
    process = psutil.Process(pid)
    os.kill(pid, signal.SIGTERM)
    try:
        process.wait(30)
    except psutil.TimeoutExpired:
        process.kill()
    (folder / "chain.pid").unlink(missing_ok=True)
    return True
