"""A real chain with a real consortium on it, for tests that need no daemons."""

from __future__ import annotations

import contextlib
import socket
import subprocess
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from tenacity import retry, stop_after_delay, wait_fixed

from adapters import ConsortiumParameters, LoraParameters, TrainingParameters
from contracts import Account, Chain, Consortium, Deployment, DeploySettings, deploy
from contracts.compiler import node_modules

ETHER = 10**18


@dataclass(frozen=True)
class Anvil:
    url: str
    process: subprocess.Popen[bytes]

    def chain(self) -> Chain:
        return Chain(self.url, 31337)

    def funded(self) -> Account:
        """A new account with a thousand ether."""
        account = Account.from_key(_fresh_key())
        self.rpc("anvil_setBalance", account.address, hex(1000 * ETHER))
        return account

    def rpc(self, method: str, *arguments: object) -> object:
        return self.chain().web3.provider.make_request(method, list(arguments))  # type: ignore[arg-type]

    def pass_time(self, seconds: int) -> None:
        self.rpc("evm_increaseTime", seconds)
        self.rpc("evm_mine")


def _fresh_key() -> bytes:
    import secrets

    return secrets.token_bytes(32)


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@contextlib.contextmanager
def start_anvil(state: Path | None = None) -> Iterator[Anvil]:
    port = free_port()
    command = [str(node_modules() / ".bin" / "anvil"), "--port", str(port), "--silent"]
    command += ["--state", str(state)] if state else []
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    url = f"http://127.0.0.1:{port}"
    try:
        _wait(url)
        yield Anvil(url, process)
    finally:
        process.terminate()
        process.wait(20)


@retry(stop=stop_after_delay(20), wait=wait_fixed(0.05), reraise=True)
def _wait(url: str) -> None:
    Chain(url).check()


def micro_parameters(
    base_model_id: str = "11" * 32, shapes: dict[str, tuple[int, ...]] | None = None
) -> ConsortiumParameters:
    return ConsortiumParameters(
        name="test",
        base_model_id=base_model_id,
        coupling="isolated",
        layout="blocks",
        seed=0,
        lora=LoraParameters(rank=2, alpha=4, train_a=True),
        training=TrainingParameters(
            steps_per_round=2, batch_size=4, learning_rate=1e-2, max_length=256
        ),
        fraction_bits=16,
        clip_norm=100.0,
        max_artifact_bytes=2**22,
        shapes=shapes or {"layer.lora_A": (2, 8), "layer.lora_B": (8, 2)},
    )


@dataclass(frozen=True)
class TestConsortium:
    """`organizations` are active members in ascending order of addresses."""

    __test__ = False
    deployment: Deployment
    governance: Account
    aggregator: Account
    organizations: list[Account]
    parameters: ConsortiumParameters
    anvil: Anvil

    def of(self, account: Account | None = None) -> Consortium:
        return Consortium(self.anvil.chain(), self.deployment, account)


def make_consortium(
    anvil: Anvil, members: int = 3, parameters: ConsortiumParameters | None = None
) -> TestConsortium:
    parameters = parameters or micro_parameters()
    governance, aggregator = anvil.funded(), anvil.funded()
    organizations = sorted(
        (anvil.funded() for _ in range(members)), key=lambda a: a.address.lower()
    )
    settings = DeploySettings(
        parameters_id=parameters.id,
        base_model_id=parameters.base_model_id,
        coupling=parameters.coupling,
        layout=parameters.layout,
        aggregator=aggregator.address,
        aggregator_fingerprint="0a" * 32,
    )
    deployment = deploy(anvil.chain(), governance, settings)
    made = TestConsortium(deployment, governance, aggregator, organizations, parameters, anvil)
    for place, account in enumerate(organizations):
        made.of(governance).admit(account.address, f"org-{place}", f"{place + 1:064x}")
        made.of(account).join()
    return made
