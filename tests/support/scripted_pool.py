"""A chain in memory that misbehaves when it is asked to: fast, and without a clock of its own."""

from __future__ import annotations

import hashlib
import json
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from rescind.contracts.checksum import checksum_address
from rescind.contracts.endpoint_faults import METHOD_MISSING, REVERTED
from rescind.contracts.errors import ChainUnavailable, NodeRefused
from rescind.contracts.faults import classify
from rescind.contracts.outbox import Outbox
from rescind.contracts.rpc import Answer
from rescind.contracts.send_node import SendNode, SendSettings
from rescind.contracts.sending import Sender

GWEI = 10**9
ALICE = checksum_address("0x" + "a1" * 20)
BOB = checksum_address("0x" + "b0" * 20)


@dataclass
class FakeClock:
    """Time that passes only in pauses. `on_pause` is called in each."""

    now: float = 1_000_000.0
    on_pause: Callable[[float], None] = lambda _: None

    def time(self) -> float:
        return self.now

    def monotonic(self) -> float:
        return self.now

    def pause(self, seconds: float, stop: threading.Event) -> None:
        self.now += seconds
        self.on_pause(seconds)


class DurableOutbox(Outbox):
    """An outbox that outlives its process, without a disk."""

    durable = True  # type: ignore[assignment]


class FakeAccount:
    """A key whose signatures are JSON: signing takes no time. The outbox is a real one."""

    def __init__(self, outbox: Outbox, address: str = ALICE) -> None:
        self.address, self.outbox = address, outbox
        self.processes = 0

    def restarted(self) -> FakeAccount:
        """Let another process have the key from now on."""
        self.processes += 1
        self.outbox.process = f"process {self.processes}"  # type: ignore[misc]
        self.outbox.waiting.clear()
        return self

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        raw = json.dumps({**transaction, "from": self.address}, sort_keys=True).encode()
        return raw, hash_of(raw)


def _snake(method: str) -> str:
    """Return the name of the function that answers a method."""
    return re.sub("([A-Z])", lambda m: "_" + m[1].lower(), method.removeprefix("eth_"))


def hash_of(raw: bytes) -> str:
    return "0x" + hashlib.sha256(raw).hexdigest()


@dataclass
class Tx:
    """A transaction as the chain has it."""

    hash: str
    sender: str
    nonce: int
    max_fee: int
    tip: int
    data: str
    value: int


@dataclass
class ScriptedNode:
    """The chain and its pool.

    Attributes:
        base_fee: Of the next block.
        least_tip: What the pool asks for.
        missing: Methods that the provider lacks.
        shift: What is added to every count of transactions.
        refusals: Answers to the next broadcasts instead of the pool's; None passes one on.
        lost: How many of the next broadcasts arrive, but are answered by an error.
        blind: How many of the next questions for receipts are answered by null.
        pooled: Whether the pool takes anything.
        reverting: Whether calls fail when they are mined.
    """

    base_fee: int = GWEI
    least_tip: int = 0
    legacy: bool = False
    missing: set[str] = field(default_factory=set)
    shift: int = 0
    refusals: list[str | None] = field(default_factory=list)
    lost: int = 0
    blind: int = 0
    reverting: bool = False
    genesis: int = 0
    funds: int = 1000 * 10**18
    blocks: list[list[Tx]] = field(default_factory=lambda: [[]])
    pool: dict[tuple[str, int], Tx] = field(default_factory=dict)
    broadcasts: list[str] = field(default_factory=list)
    asked: list[str] = field(default_factory=list)

    # What a test does to the chain

    def mine(self, count: int = 1) -> None:
        for _ in range(count):
            block: list[Tx] = []
            self.blocks.append(block)
            while True:
                ready = [
                    tx
                    for (sender, nonce), tx in self.pool.items()
                    if nonce == self.count(sender) and tx.max_fee >= self.base_fee
                ]
                if not ready:
                    break
                for tx in ready:
                    block.append(tx)
                    del self.pool[tx.sender, tx.nonce]

    def reorganize(self, depth: int) -> list[Tx]:
        """Replace the last blocks by empty ones, and return what was in them."""
        dropped = [tx for block in self.blocks[-depth:] for tx in block]
        self.blocks[-depth:] = [[] for _ in range(depth)]
        return dropped

    def lose_pool(self) -> None:
        self.pool.clear()

    def wallet_sends(self, nonce: int, sender: str = ALICE, max_fee: int = 50 * GWEI) -> Tx:
        """Let another wallet with the same key send something."""
        tx = Tx(
            hash_of(f"{sender}{nonce}{len(self.blocks)}".encode()),
            sender,
            nonce,
            max_fee,
            GWEI,
            "wallet",
            1,
        )
        self.pool[sender, nonce] = tx
        return tx

    def count(self, sender: str, block: int | None = None) -> int:
        blocks = self.blocks if block is None else self.blocks[: block + 1]
        return sum(tx.sender == sender for each in blocks for tx in each)

    def mined(self, sender: str = ALICE) -> list[str]:
        """Return the data of an account's mined calls, in order, without empty transfers."""
        return [
            tx.data
            for block in self.blocks
            for tx in block
            if tx.sender == sender and tx.data not in ("0x", "wallet")
        ]

    # JSON-RPC

    def request(self, method: str, *parameters: Any) -> Answer:
        self.asked.append(method)
        if method in self.missing:
            raise NodeRefused(f"the method {method} does not exist", fault=METHOD_MISSING)
        return Answer("http://scripted", method, getattr(self, _snake(method))(*parameters))

    def chain_id(self) -> str:
        return "0x7"

    def block_number(self) -> str:
        return hex(len(self.blocks) - 1)

    def get_balance(self, *_: Any) -> str:
        return hex(self.funds)

    def estimate_gas(self, call: dict[str, Any], *_: str) -> str:
        if self.reverting and call["data"] != "0x":
            raise NodeRefused("execution reverted", b"\x01\x02\x03\x04", fault=REVERTED)
        return hex(50_000)

    def gas_price(self) -> str:
        return hex(self.base_fee + GWEI)

    def max_priority_fee_per_gas(self) -> str:
        return hex(GWEI)

    def fee_history(self, *_: Any) -> dict[str, Any]:
        fees = [hex(0 if self.legacy else self.base_fee)] * 2
        return {
            "oldestBlock": hex(len(self.blocks) - 1),
            "baseFeePerGas": fees,
            "reward": [[hex(GWEI)]],
        }

    def get_transaction_count(self, address: str, block: str) -> str:
        if block == "pending":
            nonce = self.count(address)
            while (address, nonce) in self.pool:
                nonce += 1
        elif block == "latest":
            nonce = self.count(address)
        else:
            nonce = self.count(address, int(block, 16))
        return hex(max(0, nonce + self.shift))

    def get_block_by_number(self, name: str, full: bool) -> dict[str, Any] | None:
        number = len(self.blocks) - 1 if name == "latest" else int(name, 16)
        if number >= len(self.blocks):
            return None
        block: dict[str, Any] = {
            "number": hex(number),
            "hash": hash_of(f"{self.genesis}|{number}".encode()),
            "transactions": [
                {"hash": tx.hash, "from": tx.sender.lower(), "nonce": hex(tx.nonce)}
                for tx in self.blocks[number]
            ],
        }
        return block if self.legacy else {**block, "baseFeePerGas": hex(self.base_fee)}

    def get_transaction_receipt(self, tx_hash: str) -> dict[str, Any] | None:
        if self.blind:
            self.blind -= 1
            return None
        for number, block in enumerate(self.blocks):
            if any(tx.hash == tx_hash for tx in block):
                return {
                    "blockNumber": hex(number),
                    "gasUsed": hex(21_000),
                    "contractAddress": None,
                    "status": "0x0" if self.reverting else "0x1",
                }
        return None

    def get_transaction_by_hash(self, tx_hash: str) -> dict[str, Any] | None:
        everywhere = [*self.pool.values(), *(tx for block in self.blocks for tx in block)]
        return {"hash": tx_hash} if any(tx.hash == tx_hash for tx in everywhere) else None

    def send_raw_transaction(self, data: str) -> str:
        raw = bytes.fromhex(data[2:])
        fields = json.loads(raw)
        tx = Tx(
            hash_of(raw),
            fields["from"],
            fields["nonce"],
            fields.get("maxFeePerGas", fields.get("gasPrice")),
            fields.get("maxPriorityFeePerGas", fields.get("gasPrice")),
            fields["data"],
            fields["value"],
        )
        self.broadcasts.append(tx.hash)
        refusal = self.refusals.pop(0) if self.refusals else None
        if refusal is None:
            if self.legacy and "gasPrice" not in fields:
                refusal = "transaction type not supported"
            else:
                refusal = self._take(tx)
        if refusal is not None:
            fault = classify(method="eth_sendRawTransaction", message=refusal)
            raise NodeRefused(refusal, fault=fault)
        if self.lost:
            self.lost -= 1
            raise ChainUnavailable("the answer was lost")
        return tx.hash

    def _take(self, tx: Tx) -> str | None:
        if self.get_transaction_by_hash(tx.hash) is not None:
            return "already known"
        if tx.nonce < self.count(tx.sender):
            return "nonce too low"
        if tx.tip < self.least_tip:
            return f"transaction underpriced: gas tip cap {tx.tip}, minimum needed {self.least_tip}"
        older = self.pool.get((tx.sender, tx.nonce))
        if older and not (tx.max_fee * 10 >= older.max_fee * 11 and tx.tip * 10 >= older.tip * 11):
            return "replacement transaction underpriced"
        self.pool[tx.sender, tx.nonce] = tx
        return None


class ScriptedChain:
    """The part of a chain that senders need, in front of a scripted node."""

    shown = "http://scripted"

    def __init__(self, node: ScriptedNode, confirmations: int = 0) -> None:
        self.rpc, self.confirmations = node, confirmations
        self.clock, self.said = FakeClock(), []
        self.sending = SendSettings(clock=self.clock, tell=self.said.append)
        self.send_node = SendNode(self)  # type: ignore[arg-type]

    def check(self) -> int:
        return self.rpc.request("eth_chainId").number()

    def sender(self, account: FakeAccount) -> Sender:
        return Sender(self.send_node, account)  # type: ignore[arg-type]


def payment(number: int, value: int = 5) -> dict[str, Any]:
    """Return the call of an intent with a number."""
    return {"to": BOB, "data": f"0x{number:064x}", "value": value}
