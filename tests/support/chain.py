"""Anvil and Hardhat for tests: a local chain, its accounts and its clock."""

from __future__ import annotations

import contextlib
import hashlib
import os
import subprocess
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from tenacity import (
    retry,
    retry_if_exception_type,
    retry_if_not_exception_type,
    stop_after_attempt,
    stop_after_delay,
    wait_fixed,
)

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


class ChainEnded(Exception):
    """A chain ended before it answered."""


@contextlib.contextmanager
def start_anvil(
    state: Path | None = None, *, seed: int = 0, options: Sequence[str] = ()
) -> Iterator[Anvil]:
    """Start a chain. Two chains that are open together need different seeds."""

    def command(port: int) -> list[str]:
        kept = ["--state", str(state)] if state else []
        return [str(foundry("anvil")), "--port", str(port), "--silent", *kept, *options]

    with _running(command, seed) as anvil:
        yield anvil


@contextlib.contextmanager
def start_hardhat(folder: Path, *, seed: int = 0, hardfork: str | None = None) -> Iterator[Anvil]:
    """Start Hardhat, with its configuration in `folder`."""
    with _running(lambda port: chain_command("hardhat", folder, port, hardfork), seed) as hardhat:
        yield hardhat


@contextlib.contextmanager
def _running(command: Callable[[int], list[str]], seed: int) -> Iterator[Anvil]:
    url, process = _start(command)
    try:
        yield Anvil(url, process, seed)
    finally:
        process.terminate()
        process.wait(120)


@retry(retry=retry_if_exception_type(ChainEnded), stop=stop_after_attempt(3), reraise=True)
def _start(command: Callable[[int], list[str]]) -> tuple[str, subprocess.Popen[bytes]]:
    """Start a chain, on another port if another program has meanwhile taken the first."""
    port = free_port()
    process = subprocess.Popen(
        command(port),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        env={**os.environ, **ENVIRONMENT},
    )
    try:
        _wait(url_of(port), process)
    except BaseException:
        process.kill()
        process.wait()
        raise
    return url_of(port), process


@retry(
    retry=retry_if_not_exception_type(ChainEnded),
    stop=stop_after_delay(120),
    wait=wait_fixed(0.05),
    reraise=True,
)
def _wait(url: str, process: subprocess.Popen[bytes]) -> None:
    if process.poll() is not None:
        raise ChainEnded(f"the chain at {url} ended before it answered")
    Chain(url).check()
