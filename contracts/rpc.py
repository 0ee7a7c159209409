"""The values in a node's answers to JSON-RPC requests.

Each value is checked where it is read: a proxy, another service or a broken node can answer
anything.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from rescind.contracts.checksum import checksum_address
from rescind.contracts.errors import ChainUnavailable, NodeRefused
from rescind.core.redaction import hide_parts_of, shown_url

_HEXADECIMAL = re.compile("[0-9a-fA-F]{1,64}")
_SHOWN = 80
"""Most characters of a wrong answer in a message: it may be a whole page."""


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
        shown = shown_answer(self._url, repr(self.value))
        return ChainUnavailable(
            f"{shown_url(self._url)} answered {self._name} with {shown} instead of {expected}, so it is not "
            "an Ethereum node or does not work. Correct rpc_url, or use another endpoint."
        )


def block_name(block: int | str) -> str:
    """Return a block's number, or its name such as "latest", as requests name it."""
    return block if isinstance(block, str) else hex(block)


def shown_answer(url: str, text: str, most: int = _SHOWN) -> str:
    """Return what a server answered for a message, in one line.

    Args:
        url: Its URL. The server may repeat it, and the key in it.
        text: What it answered.
        most: Most characters.
    """
    # Not all of a large page is looked through. A key that the cut halves is not found, so the end
    # is left out.
    start = text[: 100 * _SHOWN]
    hidden = hide_parts_of(url, start)
    if len(start) < len(text):
        hidden = hidden[: -2 * len(url)]
    shown = " ".join(hidden.split())
    return shown if len(shown) <= most else f"{shown[:most]}..."


__all__ = ["Answer", "Log", "NodeRefused", "block_name", "shown_answer"]
