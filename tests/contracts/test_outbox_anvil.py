"""The trials of a stuck transaction on a real Anvil, and two real processes with one key."""

from __future__ import annotations

import json
import multiprocessing
import uuid
from collections.abc import Callable, Iterator
from multiprocessing.synchronize import Event
from pathlib import Path
from typing import Any

import pytest

from rescind.contracts import (
    Account,
    Chain,
    Deployment,
    DeploySettings,
    deploy,
    open_transactions,
)
from rescind.contracts.checksum import created_address
from rescind.contracts.send_node import SendSettings
from tests.contracts.deploy_settings import settings
from tests.support.chain import ETHER, Anvil, start_anvil
from tests.support.files import rescind
from tests.support.scripted_pool import BOB, FakeClock

KEY = bytes(31) + b"\x2a"
PASSWORD = "password"


class Killed(BaseException):
    """The process ends here."""


@pytest.fixture(scope="module")
def still_chain() -> Iterator[Anvil]:
    """A chain that makes blocks only on demand."""
    with start_anvil(options=["--no-mining"], seed=7) as anvil:
        yield anvil


@pytest.fixture
def keystore(tmp_path: Path, still_chain: Anvil) -> Path:
    account = Account.create(tmp_path / "keystore.json", PASSWORD)
    still_chain.rpc("anvil_setBalance", account.address, hex(1000 * ETHER))
    return tmp_path / "keystore.json"


def chain_of(
    anvil: Anvil, on_pause: Callable[[float], None], confirmations: int = 0
) -> tuple[Chain, list[str]]:
    said: list[str] = []
    chain = Chain(anvil.url, confirmations=confirmations)
    chain.sending = SendSettings(clock=FakeClock(on_pause=on_pause), tell=said.append)
    return chain, said


def die(_: float) -> None:
    raise Killed


def pay(anvil: Anvil, keystore: Path, on_pause: Callable[[float], None], **options: Any) -> Any:
    """Send one ether to Bob in a process of its own, as far as the outbox can tell."""
    chain, said = chain_of(anvil, on_pause, **options)
    account = Account.load(keystore, PASSWORD)
    account.outbox.process = uuid.uuid4().hex
    return chain.send(account, {"to": BOB, "data": "0x", "value": ETHER}), said


def mines(anvil: Anvil) -> Callable[[float], None]:
    return lambda _: anvil.rpc("anvil_mine", "0x1") and None


def test_two_runs_that_were_stopped_and_a_third_pay_once(
    still_chain: Anvil, keystore: Path
) -> None:
    before = still_chain.chain.balance(BOB)
    for _ in range(2):
        with pytest.raises(Killed):
            pay(still_chain, keystore, die)
    _, said = pay(still_chain, keystore, mines(still_chain))
    assert still_chain.chain.balance(BOB) - before == ETHER
    assert "no second one is sent" in said[0]
    pay(still_chain, keystore, mines(still_chain))
    assert still_chain.chain.balance(BOB) - before == 2 * ETHER, "the next one is deliberate"


def test_open_transactions_are_listed_without_a_password_and_without_secrets(
    still_chain: Anvil, keystore: Path
) -> None:
    with pytest.raises(Killed):
        pay(still_chain, keystore, die)
    done = rescind("outbox", "list", "--keystore", keystore, "--json")
    (line,) = json.loads(done.output)
    assert (line["nonce"], line["state"], line["value_ether"]) == (0, "open", "1")
    assert line["call"] == f"transfer to {BOB}"
    assert "raw" not in line
    assert open_transactions(keystore)[0].startswith(f"nonce 0: transfer to {BOB}")
    pay(still_chain, keystore, mines(still_chain))
    assert json.loads(rescind("outbox", "list", "--keystore", keystore, "--json").output) == []
    kept = rescind("outbox", "list", "--keystore", keystore, "--json", "--all")
    assert json.loads(kept.output)[0]["state"] == "done"


def test_a_dropped_transaction_is_sent_again(still_chain: Anvil, keystore: Path) -> None:
    before = still_chain.chain.balance(BOB)
    with pytest.raises(Killed):
        pay(still_chain, keystore, die)
    still_chain.rpc("anvil_dropAllTransactions")
    pay(still_chain, keystore, mines(still_chain))
    assert still_chain.chain.balance(BOB) - before == ETHER


def test_a_fee_spike_after_sending_is_followed(still_chain: Anvil, keystore: Path) -> None:
    before = still_chain.chain.balance(BOB)
    with pytest.raises(Killed):
        pay(still_chain, keystore, die)
    spike = hex(60 * 10**9)

    def mine(_: float) -> None:
        still_chain.rpc("anvil_setNextBlockBaseFeePerGas", spike)
        still_chain.rpc("anvil_mine", "0x1")

    mine(0)
    pay(still_chain, keystore, mine)
    assert still_chain.chain.balance(BOB) - before == ETHER
    still_chain.rpc("anvil_setNextBlockBaseFeePerGas", hex(10**9))
    still_chain.rpc("anvil_mine", "0x1")


def test_a_reorganization_brings_it_back(still_chain: Anvil, keystore: Path) -> None:
    before = still_chain.chain.balance(BOB)
    blocks: list[int] = []

    def mine(_: float) -> None:
        still_chain.rpc("anvil_mine", "0x1")
        blocks.append(1)
        if len(blocks) == 3:
            still_chain.rpc("anvil_reorg", 3, [])

    pay(still_chain, keystore, mine, confirmations=5)
    assert still_chain.chain.balance(BOB) - before == ETHER


def _pay_many(url: str, folder: str, first: int, ready: Event | None = None) -> None:
    chain, account = Chain(url), Account.load(Path(folder) / "keystore.json", PASSWORD)
    if ready is not None:
        ready.set()
    for number in range(first, first + 20):
        chain.send(account, {"to": BOB, "data": "0x", "value": number})


def test_two_processes_with_one_key_never_collide(anvil: Anvil, tmp_path: Path) -> None:
    account = Account.create(tmp_path / "keystore.json", PASSWORD)
    anvil.rpc("anvil_setBalance", account.address, hex(ETHER))
    before = anvil.chain.balance(BOB)
    spawn = multiprocessing.get_context("spawn")
    ready = spawn.Event()
    other = spawn.Process(target=_pay_many, args=(anvil.url, str(tmp_path), 21, ready))
    other.start()
    assert ready.wait(60)
    _pay_many(anvil.url, str(tmp_path), 1)
    other.join(60)
    assert other.exitcode == 0
    assert anvil.chain.balance(BOB) - before == sum(range(1, 41))
    assert anvil.chain.nonce(account.address) == 40


# Deployments


def deployed(anvil: Anvil, keystore: Path, agreed: DeploySettings, dies_at: int) -> Deployment:
    """Deploy in a process of its own, which dies at one of the broadcasts."""
    chain = Chain(anvil.url)
    account = Account.load(keystore, PASSWORD)
    account.outbox.process = uuid.uuid4().hex
    real, sent = chain.send_node.broadcast, []

    def broadcast(raw: bytes) -> Any:
        sent.append(raw)
        if len(sent) == dies_at:
            if dies_at % 2:
                real(raw)
            raise Killed
        return real(raw)

    chain.send_node.broadcast = broadcast
    return deploy(chain, account, agreed, keystore.parent / "contracts.json")


def test_a_deployment_goes_on_with_the_same_addresses_wherever_it_was_killed(
    anvil: Anvil, tmp_path: Path
) -> None:
    account = Account.create(tmp_path / "keystore.json", PASSWORD)
    anvil.rpc("anvil_setBalance", account.address, hex(150 * ETHER))
    agreed = settings(auditors=(anvil.funded().address,))
    # Each run gets on by one or two broadcasts, and the pool of 100 ether is paid once.
    for dies_at in (1, 2, 1, 3, 2, 1):
        with pytest.raises(Killed):
            deployed(anvil, tmp_path / "keystore.json", agreed, dies_at)
    done = deployed(anvil, tmp_path / "keystore.json", agreed, 0)
    assert done.members == created_address(account.address, 0)
    assert anvil.chain.nonce(account.address) == 9
    assert anvil.chain.balance(done.rewards) == 100 * ETHER
    assert Deployment.load(tmp_path / "contracts.json") == done
