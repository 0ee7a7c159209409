"""Nodes that do not show the whole chain, or not in the usual form."""

from __future__ import annotations

from typing import Any

from tests.support.rpc_proxy.calls import (
    BLOCK_PARAMETERS,
    Call,
    Forward,
    Mode,
    at_block,
    block_of,
    head,
    missing,
    number_of,
)


class LogRange(Mode):
    """eth_getLogs over more than `amount` blocks is refused."""

    name = "log-range"
    default = 1000
    methods = frozenset({"eth_getLogs"})
    words = (
        (-32602, "range {n} exceeds limit of {limit}", 200),
        (-32602, "query exceeds max block range {limit}", 200),
        (-32600, "You can make eth_getLogs requests with up to a {limit} block range.", 400),
        (-32614, "eth_getLogs is limited to a {limit} range", 413),
        (-32000, "exceed maximum block range: {limit}", 200),
        (-32005, "block range is too wide", 200),
        (-32000, "query block range exceeds server limit, narrow your filter: {limit}", 200),
    )

    def answer(self, call: Call, forward: Forward) -> Any:
        if self.hits(call) and (blocks := self._range(call, forward)) > self.amount:
            code, message, status = self.drawn(self.words)
            words = message.format(n=blocks, limit=self.blocks)
            raise self.refuse(code, words, status=status)
        return forward(call)

    @staticmethod
    def _range(call: Call, forward: Forward) -> int:
        wanted = call.params[0]
        if "blockHash" in wanted:
            return 1
        newest = None
        ends = []
        for name, default in (("fromBlock", "latest"), ("toBlock", "latest")):
            block = wanted.get(name) or default
            number = 0 if block == "earliest" else number_of(block)
            if number is None:
                newest = head(forward) if newest is None else newest
                number = newest
            ends.append(number)
        return ends[1] - ends[0] + 1


class LogResults(Mode):
    """eth_getLogs with more than `amount` logs is refused, even for a single block's."""

    name = "log-results"
    default = 10_000
    methods = frozenset({"eth_getLogs"})
    words = (
        (-32005, "query returned more than {limit} results", 200),
        (-32602, "Log response size exceeded. You can make eth_getLogs requests with up to a 2K block range and no limit on the response size", 200),
        (-32602, "query exceeds max results {limit}, retry with the range {first}-{middle}", 200),
        (-32000, "logs matched by query exceeds limit of {limit}", 200),
    )  # fmt: skip

    def answer(self, call: Call, forward: Forward) -> Any:
        logs = forward(call)
        if self.hits(call) and len(logs) > self.amount:
            wanted = call.params[0]
            first, last = (number_of(wanted.get(k)) or 0 for k in ("fromBlock", "toBlock"))
            # No provider refuses a single block: nothing could be asked for instead.
            if last > first:
                code, message, status = self.drawn(self.words)
                middle = (first + last) // 2
                words = message.format(limit=self.blocks, first=first, middle=middle)
                raise self.refuse(code, words, status=status)
        return logs


def behind(call: Call, forward: Forward, newest: int) -> Any:
    """Return the answer of a node whose newest block is `newest`."""
    method, block = call.method, block_of(call)
    if method == "eth_blockNumber":
        return hex(newest)
    if method == "eth_getLogs" and "blockHash" not in call.params[0]:
        return _logs_behind(call, forward, newest)
    if method in BLOCK_PARAMETERS or method == "eth_feeHistory":
        if block in (None, "latest", "safe", "finalized"):
            return forward(at_block(call, hex(newest)))
        if (number_of(block) or 0) > newest:
            raise RuntimeError("header not found")
    if method == "eth_getBlockByNumber":
        if block in ("latest", "safe", "finalized"):
            return forward(at_block(call, hex(newest)))
        if (number_of(block) or 0) > newest:
            return None
    result = forward(call)
    return _hide_later(method, result, newest)


def _logs_behind(call: Call, forward: Forward, newest: int) -> Any:
    """A node returns the logs that it has, without a word about blocks that it lacks."""
    wanted = dict(call.params[0])
    first = number_of(wanted.get("fromBlock"))
    last = number_of(wanted.get("toBlock"))
    if first is not None and first > newest:
        return []
    wanted["toBlock"] = hex(newest if last is None else min(last, newest))
    return forward(Call(call.method, (wanted,)))


def _hide_later(method: str, result: Any, newest: int) -> Any:
    if not isinstance(result, dict):
        return result
    if method == "eth_getBlockByHash" and (number_of(result.get("number")) or 0) > newest:
        return None
    later = (number_of(result.get("blockNumber")) or 0) > newest
    if later and method == "eth_getTransactionReceipt":
        return None
    if later and method == "eth_getTransactionByHash":
        return {**result, "blockNumber": None, "blockHash": None, "transactionIndex": None}
    return result


class StaleHead(Mode):
    """The node is `amount` blocks behind, at every call that is hit."""

    name = "stale-head"
    default = 2

    def answer(self, call: Call, forward: Forward) -> Any:
        if not self.hits(call) or call.method == "eth_sendRawTransaction":
            return forward(call)
        self.count()
        try:
            return behind(call, forward, max(0, head(forward) - self.blocks))
        except RuntimeError as error:
            raise self.refuse(-32000, str(error)) from None


class TwoBackEnds(Mode):
    """Every other call is answered by a node that is `amount` blocks behind."""

    name = "two-back-ends"
    default = 1
    turn = 0

    def answer(self, call: Call, forward: Forward) -> Any:
        with self.lock:
            self.turn += 1
            lagging = self.turn % 2 == 0
        if not lagging or not self.hits(call) or call.method == "eth_sendRawTransaction":
            return forward(call)
        self.count()
        newest = max(0, head(forward) - self.blocks)
        if call.method == "eth_getTransactionCount" and block_of(call) == "pending":
            # The transactions of the other node's pool are unknown here.
            call = at_block(call, "latest")
        try:
            return behind(call, forward, newest)
        except RuntimeError as error:
            raise self.refuse(-32000, str(error)) from None


class MissingTag(Mode):
    """A block's name is unknown."""

    tag = ""
    words: tuple[tuple[int, str], ...] = ()

    def answer(self, call: Call, forward: Forward) -> Any:
        wanted = call.params[0] if call.method == "eth_getLogs" else {}
        blocks = {block_of(call), wanted.get("fromBlock"), wanted.get("toBlock")}
        if self.tag in blocks and self.hits(call):
            raise self.refuse(*self.drawn(self.words))
        return forward(call)


class NoPending(MissingTag):
    name = tag = "pending"
    words = (
        (-32000, "pending block is not available"),
        (-32602, 'invalid argument 0: hex string without 0x prefix, "pending"'),
        (-32001, "resource not found"),
    )


class NoSafe(MissingTag):
    name = tag = "safe"
    words = ((-32000, "safe block not found"), (-39001, "Unknown block"))


class NoFinalized(MissingTag):
    name = tag = "finalized"
    words = ((-32000, "finalized block not found"), (-39001, "Unknown block"))


class NoArchive(Mode):
    """A state that is older than `amount` blocks is gone."""

    name = "no-archive"
    default = 128
    methods = frozenset(BLOCK_PARAMETERS)

    def answer(self, call: Call, forward: Forward) -> Any:
        number = 0 if block_of(call) == "earliest" else number_of(block_of(call))
        if number is not None and self.hits(call) and number < head(forward) - self.amount:
            root = f"{number:064x}"
            raise self.refuse(
                -32000, f"missing trie node {root} (path ) state 0x{root} is not available"
            )
        return forward(call)


class LongExtraData(Mode):
    """The headers of a proof-of-authority chain, with `amount` bytes of extraData."""

    name = "long-extra-data"
    default = 97
    methods = frozenset({"eth_getBlockByNumber", "eth_getBlockByHash"})

    def answer(self, call: Call, forward: Forward) -> Any:
        block = forward(call)
        if isinstance(block, dict) and self.hits(call):
            self.count()
            block = {**block, "extraData": "0x" + "ab" * self.blocks}
        return block


class MissingMethods(Mode):
    """Some methods do not exist."""

    def answer(self, call: Call, forward: Forward) -> Any:
        if self.hits(call):
            raise self.refuse(*missing(call.method))
        return forward(call)


class NoFeeHistory(MissingMethods):
    name = "no-fee-history"
    methods = frozenset({"eth_feeHistory"})


class NoDevMethods(MissingMethods):
    """A public chain: nothing of Anvil's and Hardhat's own methods."""

    name = "no-dev-methods"

    def hits(self, call: Call) -> bool:
        return call.method.startswith(("anvil_", "hardhat_", "evm_")) and super().hits(call)
