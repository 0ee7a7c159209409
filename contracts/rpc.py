"""JSON-RPC requests to a node, and the values in its answers.

Each value is checked where it is read: a proxy, another service or a broken node can answer
anything.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, TypeVar

from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_attempt,
    wait_exponential_jitter,
)
from urllib3.exceptions import HTTPError

from rescind.contracts.checksum import checksum_address
from rescind.contracts.errors import ChainUnavailable
from rescind.contracts.transport import Transport
from rescind.core.redaction import hide_parts_of, shown_url

_T = TypeVar("_T")
_HEXADECIMAL = re.compile("[0-9a-fA-F]{1,64}")
_REVERTED = 3
"""The code with which geth and others answer a call that the contract reverts (EIP-1474's draft)."""
_SHOWN = 80
"""Most characters of a wrong answer in a message: it may be a whole page."""


class NodeRefused(Exception):
    """A node answered a request with an error.

    Attributes:
        message: The node's words.
        data: Bytes with which a contract reverted: the selector of its error, and arguments.
        reverted: Whether a contract reverted the call.
    """

    def __init__(self, message: str, data: bytes = b"", *, reverted: bool = False) -> None:
        super().__init__(message)
        self.message, self.data, self.reverted = message, data, reverted


@dataclass(frozen=True)
class Log:
    """One entry of the chain's log.

    Attributes:
        address: The contract, EIP-55.
        topics: Its topics, 32 bytes each.
        data: The arguments that are not indexed, encoded.
        block: The block's number.
        tx_hash: The transaction, with 0x.
        block_hash: The block's hash, with 0x.
        index: The log's place in its block.
    """

    address: str
    topics: tuple[bytes, ...]
    data: bytes
    block: int
    tx_hash: str
    block_hash: str
    index: int


class Answer:
    """A value in a node's answer, read by its expected type.

    Args:
        url: Where it comes from, for error messages; the parts that may hold a key are left out.
        name: The value's place, such as "eth_getBlockByNumber: timestamp".
        value: The value as it stands in the JSON document.
    """

    def __init__(self, url: str, name: str, value: Any) -> None:
        self._url, self._name, self.value = url, name, value

    def __getitem__(self, field: str) -> Answer:
        """Return a field of an object; a field that is missing is null."""
        if not isinstance(self.value, Mapping):
            raise self._wrong("an object")
        return Answer(self._url, f"{self._name}: {field}", self.value.get(field))

    def is_null(self) -> bool:
        """Return whether the node knows no such value."""
        return self.value is None

    def number(self) -> int:
        """Return a number, which stands as 0x and hexadecimal digits."""
        digits = self._digits()
        # int() would take signs, spaces and underscores.
        if not _HEXADECIMAL.fullmatch(digits):
            raise self._wrong("a number in hexadecimal")
        return int(digits, 16)

    def data(self) -> bytes:
        """Return bytes, which stand as 0x and an even number of hexadecimal digits."""
        digits = self._digits()
        try:
            data = bytes.fromhex(digits)
        except ValueError:
            raise self._wrong("bytes in hexadecimal") from None
        # bytes.fromhex skips spaces.
        if 2 * len(data) != len(digits):
            raise self._wrong("bytes in hexadecimal")
        return data

    def hash(self) -> str:
        """Return 32 bytes as text with 0x."""
        return "0x" + self._of_length(32).hex()

    def address(self) -> str:
        """Return an address, EIP-55; empty for null."""
        return "" if self.is_null() else checksum_address("0x" + self._of_length(20).hex())

    def list(self) -> list[Answer]:
        """Return the items of a list."""
        if not isinstance(self.value, list):
            raise self._wrong("a list")
        return [Answer(self._url, f"{self._name}[{n}]", each) for n, each in enumerate(self.value)]

    def log(self) -> Log:
        """Return an entry of the log of blocks that are on the chain.

        Raises:
            ChainUnavailable: It is not one, or a reorganization removed its block.
        """
        if self["removed"].value not in (None, False):
            raise self["removed"]._wrong("false")
        return Log(
            self["address"].address(),
            tuple(topic._of_length(32) for topic in self["topics"].list()),
            self["data"].data(),
            self["blockNumber"].number(),
            self["transactionHash"].hash(),
            self["blockHash"].hash(),
            self["logIndex"].number(),
        )

    def _digits(self) -> str:
        if not isinstance(self.value, str) or not self.value.startswith("0x"):
            raise self._wrong("hexadecimal digits after 0x")
        return self.value[2:]

    def _of_length(self, length: int) -> bytes:
        data = self.data()
        if len(data) != length:
            raise self._wrong(f"{length} bytes")
        return data

    def _wrong(self, expected: str) -> ChainUnavailable:
        # A server may repeat the URL, which may hold a key.
        shown = hide_parts_of(self._url, repr(self.value))
        shown = shown if len(shown) <= _SHOWN else f"{shown[:_SHOWN]}..."
        return ChainUnavailable(
            f"{shown_url(self._url)} answered {self._name} with {shown} instead of {expected}, so it is not "
            "an Ethereum node or does not work. Correct rpc_url, or use another endpoint."
        )


class Rpc:
    """Requests to one node.

    Args:
        url: Where it answers, for error messages, as in `Answer`.
        transport: Sends requests.
    """

    def __init__(self, url: str, transport: Transport) -> None:
        self._url, self.transport = url, transport

    def request(self, method: str, *parameters: Any) -> Answer:
        """Return the result of a request, which is sent up to three times.

        Raises:
            NodeRefused: The node answers with an error.
            ChainUnavailable: The node does not answer, or not as JSON-RPC.
        """
        document = self._ask(lambda: self._send(method, parameters))
        answer = Answer(self._url, method, document)
        if isinstance(document, Mapping) and document.get("error") is not None:
            raise _refusal(self._url, document["error"])
        if not isinstance(document, Mapping) or "result" not in document:
            raise answer._wrong("a JSON-RPC answer")
        return Answer(self._url, method, document["result"])

    def _ask(self, question: Callable[[], _T]) -> _T:
        """Return the answer of a question, which is asked up to three times.

        Raises:
            ChainUnavailable: The node does not answer.
        """
        retrying = Retrying(
            retry=retry_if_exception_type(HTTPError),
            stop=stop_after_attempt(3),
            wait=wait_exponential_jitter(multiplier=0.1, max=1.0),
            reraise=True,
        )
        try:
            return retrying(question)
        except HTTPError as error:
            raise ChainUnavailable(
                f"no Ethereum node answers at {shown_url(self._url)} ({type(error).__name__}). Check "
                "rpc_url, and that the node is running."
            ) from None

    def _send(self, method: str, parameters: tuple[Any, ...]) -> Any:
        try:
            return self.transport.send(method, parameters)
        except HTTPError:
            raise
        except (ValueError, RecursionError) as error:
            raise ChainUnavailable(
                f"{shown_url(self._url)} answered {method} with a text that is not JSON, so it is not an "
                "Ethereum node. Correct rpc_url."
            ) from error


def block_name(block: int | str) -> str:
    """Return a block's number, or its name such as "latest", as requests name it."""
    return block if isinstance(block, str) else hex(block)


def _refusal(url: str, error: Any) -> NodeRefused:
    """Return the error of an answer, whatever form a node gives it."""
    if not isinstance(error, Mapping):
        return NodeRefused(hide_parts_of(url, str(error))[:_SHOWN])
    message = hide_parts_of(url, str(error.get("message", "no reason given")))
    data = error.get("data")
    if isinstance(data, Mapping):
        data = data.get("data", data.get("result"))
    # Nethermind puts a word before the bytes.
    digits = data.removeprefix("Reverted ") if isinstance(data, str) else ""
    try:
        reverted_with = bytes.fromhex(digits.removeprefix("0x")) if digits.startswith("0x") else b""
    except ValueError:
        reverted_with = b""
    reverted = error.get("code") == _REVERTED or "revert" in message or bool(reverted_with)
    return NodeRefused(message, reverted_with, reverted=reverted)
