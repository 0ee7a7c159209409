"""Anvil as a child process: finding it, starting it on a free port, its state in a file."""

from __future__ import annotations

import json
import os
import platform
import shutil
import socket
import time
import urllib.error
import urllib.request
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from devnet.errors import NodePackagesMissing, PortInUse, ProcessDied
from devnet.processes import Program, Running, last_lines, spawn

HOST = "127.0.0.1"
NODE_MODULES = "RESCIND_NODE_MODULES"
BLOCK_SECONDS = 1
_START_SECONDS = 30.0
_PLATFORMS = {"Linux": "linux", "Darwin": "darwin"}
_MACHINES = {"x86_64": "amd64", "amd64": "amd64", "aarch64": "arm64", "arm64": "arm64"}


@dataclass(frozen=True)
class Anvil:
    """A running chain. `state` is written when it ends."""

    running: Running
    url: str
    port: int
    chain_id: int
    state: Path


def find_anvil() -> Path:
    """The program of the npm package @foundry-rs/anvil, or `anvil` on the PATH.

    Looks in $RESCIND_NODE_MODULES, beside this package and in the current folder. Raises
    NodePackagesMissing with the places looked at.
    """
    folders = _node_modules()
    system = _PLATFORMS.get(platform.system(), "")
    machine = _MACHINES.get(platform.machine().lower(), "")
    for folder in folders:
        native = folder / "@foundry-rs" / f"anvil-{system}-{machine}" / "bin" / "anvil"
        for candidate in (native, folder / ".bin" / "anvil"):
            if os.access(candidate, os.X_OK):
                return candidate
    on_path = shutil.which("anvil")
    if on_path:
        return Path(on_path)
    looked = ", ".join(str(folder) for folder in folders)
    raise NodePackagesMissing(
        f"anvil was found neither in {looked} nor on the PATH: run `make setup` (or `npm ci`) in "
        f"the project folder, or set {NODE_MODULES} to a node_modules folder that has it"
    )


def _node_modules() -> list[Path]:
    given = os.environ.get(NODE_MODULES)
    if given:
        return [Path(given)]
    beside = Path(__file__).resolve().parent.parent / "node_modules"
    here = Path.cwd() / "node_modules"
    return [beside] if here == beside else [beside, here]


def free_port(preferred: int | None = None) -> int:
    """`preferred` if nothing listens there, else one that the system picks."""
    if preferred is not None and port_is_free(preferred):
        return preferred
    with socket.socket() as probe:
        probe.bind((HOST, 0))
        return int(probe.getsockname()[1])


def port_is_free(port: int) -> bool:
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((HOST, port))
        except OSError:
            return False
    return True


def anvil_program(folder: Path, *, port: int, chain_id: int) -> Program:
    """How to run the chain of a run folder's `chain/`: a block for each transaction, and one a
    second besides, so that block time goes on while nobody transacts."""
    command = (
        str(find_anvil()),
        *("--host", HOST, "--port", str(port), "--chain-id", str(chain_id)),
        *("--mixed-mining", "--block-time", str(BLOCK_SECONDS), "--accounts", "1"),
        *("--state", str(folder / "anvil-state.json"), "--preserve-historical-states"),
    )
    return Program("chain", command, folder / "anvil.log", {"TARGET_TOOL": "anvil"})


def start_anvil(folder: Path, *, port: int, chain_id: int, detached: bool = False) -> Anvil:
    """Start and wait until it answers. Raises PortInUse, or ProcessDied with its last words."""
    if not port_is_free(port):
        raise PortInUse(f"port {port} on {HOST} is taken by another program: choose another")
    program = anvil_program(folder, port=port, chain_id=chain_id)
    running = spawn(program, detached=detached)
    url = f"http://{HOST}:{port}"
    deadline = time.monotonic() + _START_SECONDS
    try:
        while chain_id_at(url) != chain_id:
            if running.process.poll() is not None or time.monotonic() > deadline:
                raise ProcessDied(f"anvil did not start: {last_lines(program.log)}")
            time.sleep(0.02)
    except BaseException:
        running.end()
        raise
    return Anvil(running, url, port, chain_id, folder / "anvil-state.json")


def chain_id_at(url: str) -> int | None:
    """The chain id that the RPC URL answers with; None if nothing answers."""
    try:
        return int(rpc(url, "eth_chainId"), 16)
    except (OSError, ValueError, KeyError):
        return None


def rpc(url: str, method: str, *parameters: object) -> Any:
    """One JSON-RPC call. Raises OSError when nothing answers, ValueError on an error reply."""
    body = {"jsonrpc": "2.0", "id": 1, "method": method, "params": list(parameters)}
    request = urllib.request.Request(
        url, json.dumps(body).encode(), {"Content-Type": "application/json"}
    )
    try:
        with _direct().open(request, timeout=5) as response:
            reply = json.load(response)
    except urllib.error.HTTPError as error:
        raise ValueError(f"{method}: HTTP {error.code}") from error
    if "error" in reply:
        raise ValueError(f"{method}: {reply['error'].get('message', reply['error'])}")
    return reply["result"]


def _direct() -> urllib.request.OpenerDirector:
    """The chain is on this machine: no proxy from the environment."""
    return urllib.request.build_opener(urllib.request.ProxyHandler({}))


def set_balance(url: str, address: str, ether: int) -> None:
    """Give a development account its coins; only a development chain can."""
    rpc(url, "anvil_setBalance", address, hex(ether * 10**18))
