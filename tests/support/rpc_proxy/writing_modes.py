"""Nodes that make it hard to send a transaction once."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import rlp
from eth_utils.crypto import keccak

from tests.support.rpc_proxy.calls import Broken, Call, Forward, Mode, Refusal, block_of, missing

SEND = "eth_sendRawTransaction"


@dataclass(frozen=True)
class Sent:
    """A signed transaction."""

    raw: bytes
    sender: str
    nonce: int
    tip: int
    most: int

    @property
    def hash(self) -> str:
        return "0x" + keccak(self.raw).hex()

    @classmethod
    def of(cls, call: Call) -> Sent:
        """Return the transaction that a call sends."""
        # These take seconds to import, and few modes need them.
        from eth_account import Account
        from eth_account.typed_transactions import TypedTransaction
        from hexbytes import HexBytes

        raw = bytes.fromhex(call.params[0][2:])
        sender = Account.recover_transaction(raw)
        if raw[0] < 0x80:
            fields = TypedTransaction.from_bytes(HexBytes(raw)).as_dict()
            legacy = fields.get("gasPrice", 0)
            tip = fields.get("maxPriorityFeePerGas", legacy)
            return cls(raw, sender, fields["nonce"], tip, fields.get("maxFeePerGas", legacy))
        nonce, price = (int.from_bytes(each) for each in rlp.decode(raw)[:2])
        return cls(raw, sender, nonce, price, price)


class Sending(Mode):
    """A mode that concerns only sent transactions."""

    methods = frozenset({SEND})

    def answer(self, call: Call, forward: Forward) -> Any:
        return self.send(call, forward) if call.method == SEND else forward(call)

    def send(self, call: Call, forward: Forward) -> Any:
        """Answer a transaction that is sent."""
        raise NotImplementedError


class RawLimit(Sending):
    """A transaction of more than `amount` bytes is refused, as by geth's pool."""

    name = "raw-limit"
    default = 131_072

    def send(self, call: Call, forward: Forward) -> Any:
        size = len(call.params[0]) // 2 - 1
        if size > self.amount and self.hits(call):
            raise self.refuse(
                -32000, f"oversized data: transaction size {size}, limit {self.blocks}"
            )
        return forward(call)


class Vanish(Sending):
    """A transaction is accepted, and never heard of again."""

    name = "vanish"

    def send(self, call: Call, forward: Forward) -> Any:
        if not self.hits(call):
            return forward(call)
        self.count()
        return "0x" + keccak(bytes.fromhex(call.params[0][2:])).hex()


class AnswerLost(Sending):
    """A transaction is taken, and the connection ends before the answer."""

    name = "answer-lost"

    def send(self, call: Call, forward: Forward) -> Any:
        result = forward(call)
        if self.hits(call):
            self.count()
            raise Broken(cut=True)
        return result


class AlreadyKnown(Sending):
    """The answer to a transaction that the node has, or that a second back end has taken first."""

    name = "already-known"
    words = ((-32000, "already known"), (-32010, "AlreadyKnown"), (-32000, "Known transaction"))

    def send(self, call: Call, forward: Forward) -> Any:
        hit = self.hits(call)
        try:
            result = forward(call)
        except Refusal as refusal:
            # Anvil's own words for a resend.
            if hit and "already" in refusal.error["message"]:
                raise self.refuse(*self.drawn(self.words)) from None
            raise
        if hit:
            raise self.refuse(*self.drawn(self.words))
        return result


class Underpriced(Sending):
    """A transaction stays in the pool until another one with the same nonce pays 10 % more."""

    name = "underpriced"
    words = (
        (-32000, "replacement transaction underpriced"),
        (-32010, "ReplacementNotAllowed"),
        (-32000, "Replacement transaction underpriced"),
    )

    def __init__(self, rate: float = 1.0, amount: float | None = None, seed: int = 0) -> None:
        super().__init__(rate, amount, seed)
        self.pool: dict[tuple[str, int], Sent] = {}

    def answer(self, call: Call, forward: Forward) -> Any:
        if call.method == "eth_getTransactionByHash":
            for held in list(self.pool.values()):
                if held.hash == call.params[0]:
                    return _pending(held)
        result = super().answer(call, forward)
        if call.method == "eth_getTransactionCount" and block_of(call) == "pending":
            sender, nonce = call.params[0].lower(), int(result, 16)
            while (sender, nonce) in self.pool:
                nonce += 1
            return hex(nonce)
        return result

    def send(self, call: Call, forward: Forward) -> Any:
        sent = Sent.of(call)
        place = (sent.sender.lower(), sent.nonce)
        with self.lock:
            held = self.pool.get(place)
            if held is None and self.hits(call):
                self.count()
                self.pool[place] = sent
                return sent.hash
        if held is None:
            return forward(call)
        if held.raw == sent.raw:
            raise Refusal(-32000, "already known")
        if sent.tip * 10 < held.tip * 11 or sent.most * 10 < held.most * 11:
            with self.lock:
                self.counts["refused replacements"] += 1
            raise Refusal(*self.drawn(self.words))
        result = forward(call)
        with self.lock:
            self.pool.pop(place, None)
        return result


def _pending(sent: Sent) -> dict[str, Any]:
    return {
        "hash": sent.hash,
        "from": sent.sender,
        "nonce": hex(sent.nonce),
        "maxFeePerGas": hex(sent.most),
        "maxPriorityFeePerGas": hex(sent.tip),
        "blockNumber": None,
        "blockHash": None,
        "transactionIndex": None,
    }


class MinimumTip(Sending):
    """A tip below `amount` gwei is refused; eth_maxPriorityFeePerGas says how much is enough."""

    name = "minimum-tip"
    default = 25

    def answer(self, call: Call, forward: Forward) -> Any:
        if call.method == "eth_maxPriorityFeePerGas":
            return hex(int(self.amount * 10**9))
        result = super().answer(call, forward)
        if call.method == "eth_gasPrice":
            return hex(int(result, 16) + int(self.amount * 10**9))
        return result

    def send(self, call: Call, forward: Forward) -> Any:
        least, tip = int(self.amount * 10**9), Sent.of(call).tip
        if tip < least and self.hits(call):
            raise self.refuse(
                -32000, f"transaction underpriced: gas tip cap {tip}, minimum needed {least}"
            )
        return forward(call)


class No1559(Mode):
    """A chain from before the London upgrade: only legacy transactions."""

    name = "no-1559"
    absent = ("eth_maxPriorityFeePerGas", "eth_feeHistory")

    def answer(self, call: Call, forward: Forward) -> Any:
        if call.method in self.absent and self.hits(call):
            raise self.refuse(*missing(call.method))
        if call.method == SEND and call.params[0].startswith("0x02") and self.hits(call):
            raise self.refuse(-32000, "transaction type not supported")
        result = forward(call)
        if isinstance(result, dict) and "baseFeePerGas" in result and self.hits(call):
            self.count()
            result = {key: value for key, value in result.items() if key != "baseFeePerGas"}
        return result


class WrongNonce(Mode):
    """A wrong number of the account's transactions."""

    methods = frozenset({"eth_getTransactionCount"})
    step = 0

    def answer(self, call: Call, forward: Forward) -> Any:
        result = forward(call)
        if not self.hits(call):
            return result
        self.count()
        return hex(max(0, int(result, 16) + self.step))


class NonceBehind(WrongNonce):
    name = "nonce-behind"
    step = -1


class NonceAhead(WrongNonce):
    name = "nonce-ahead"
    step = 1
