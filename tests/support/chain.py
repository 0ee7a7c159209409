"""Anvil and Hardhat for tests: a local chain, its accounts and its clock."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tenacity import retry, stop_after_delay, wait_fixed

from rescind.contracts import Account, Chain
from rescind.contracts.compiler import foundry
from rescind.contracts.send_node import SendNode
from rescind.devnet.chain import CHAIN_ID, chain_command, free_port, url_of
from rescind.devnet.hardhat import ENVIRONMENT

ETHER = 10**18


@dataclass
class Anvil:
    """A running chain: Anvil, or Hardhat, whose methods Anvil has as well.

    Its accounts follow from `seed`, so they are the same in every run. Addresses seed initial values
    and the order of rows, and no test's outcome may depend on random ones.
    """

    url: str
    process: subprocess.Popen[bytes]
    seed: int = 0
    accounts: int = 0

    @cached_property
    def chain(self) -> Chain:
        """A client."""
        return Chain(self.url, CHAIN_ID)

    def funded(self) -> Account:
        """Return a new account with a thousand ether."""
        account = Account.from_key(seeded_key(self.seed, self.accounts))
        self.accounts += 1
        self.rpc("hardhat_setBalance", account.address, hex(1000 * ETHER))
        return account

    def rpc(self, method: str, *arguments: object) -> object:
        """Return the result of a call of the node's, which must succeed."""
        return self.chain.rpc.request(method, *arguments).value

    @contextlib.contextmanager
    def rewound(self) -> Iterator[None]:
        """Undo everything that happens to the chain inside the block, its clock included."""
        snapshot, accounts = self.rpc("evm_snapshot"), self.accounts
        try:
            yield
        finally:
            assert self.rpc("evm_revert", snapshot) is True
            begin_timeline()
            self.chain._written = 0
            self.accounts = accounts

    def pass_time(self, seconds: int) -> None:
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")


_timelines = [0]
_identity = SendNode.identity


def begin_timeline() -> None:
    """Let every outbox forget what it sent: the chain was wound back, and must stay so.

    To an outbox it looks like a reorganization, and it would send what was dropped again.
    """
    _timelines[0] += 1


def _identity_of_timeline(node: SendNode) -> str:
    identity = _identity(node)
    return f"{identity}, timeline {_timelines[0]}" if isinstance(node.chain, Chain) else identity


SendNode.identity = _identity_of_timeline  # type: ignore[method-assign,assignment]


def seeded_key(seed: int, number: int) -> bytes:
    """Return the private key of a seed's account with that number."""
    return hashlib.sha256(f"rescind.test-account|{seed}|{number}".encode()).digest()


@contextlib.contextmanager
def start_anvil(
    state: Path | None = None, *, seed: int = 0, options: Sequence[str] = ()
) -> Iterator[Anvil]:
    """Start a chain. Two chains that are open together need different seeds."""
    port = free_port()
    command = [str(foundry("anvil")), "--port", str(port), "--silent"]
    command += ["--state", str(state)] if state else []
    command += options
    with _running(command, port, seed) as anvil:
        yield anvil


@contextlib.contextmanager
def start_hardhat(folder: Path, *, seed: int = 0, hardfork: str | None = None) -> Iterator[Anvil]:
    """Start Hardhat, with its configuration in `folder`."""
    port = free_port()
    with _running(chain_command("hardhat", folder, port, hardfork), port, seed) as hardhat:
        yield hardhat


@contextlib.contextmanager
def _running(command: list[str], port: int, seed: int) -> Iterator[Anvil]:
    process = subprocess.Popen(
        command,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ENVIRONMENT},
    )
    url = url_of(port)
    try:
        _wait(url)
        yield Anvil(url, process, seed)
    finally:
        process.terminate()
        process.wait(20)


@retry(stop=stop_after_delay(20), wait=wait_fixed(0.05), reraise=True)
def _wait(url: str) -> None:
    Chain(url).check()
