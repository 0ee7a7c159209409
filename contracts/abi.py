"""Functions of a contract, encoded and decoded by their place in the ABI.

web3 looks a function up in the whole ABI for every call, and hashes each signature on the way: ten
milliseconds for each read. Here that is done once.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Self

from eth_abi.abi import decode, encode
from eth_hash.auto import keccak
from eth_utils.abi import collapse_if_tuple

from rescind.contracts.decoding import decode_result


@dataclass(frozen=True)
class Function:
    """A function of a contract.

    Attributes:
        source: Contract and function, such as "Models.foldOf".
        selector: The first four bytes of its calldata.
        inputs: Types of its arguments.
        outputs: Its outputs in the ABI.
    """

    source: str
    selector: bytes
    inputs: tuple[str, ...]
    outputs: Sequence[Mapping[str, Any]]

    @classmethod
    def of(cls, contract: str, item: Mapping[str, Any]) -> Self:
        """Return the function of an item of a contract's ABI."""
        inputs = tuple(collapse_if_tuple(each) for each in item["inputs"])
        selector = keccak(f"{item['name']}({','.join(inputs)})".encode())[:4]
        return cls(f"{contract}.{item['name']}", selector, inputs, item["outputs"])

    def encode(self, arguments: Sequence[Any]) -> bytes:
        """Return the calldata of a call."""
        return self.selector + encode(self.inputs, arguments)

    def decode(self, data: bytes) -> Any:
        """Return the result of a call; structs and several outputs come as `Struct`.

        Raises:
            eth_abi.exceptions.DecodingError: The bytes are not such a result.
        """
        types = [collapse_if_tuple(dict(each)) for each in self.outputs]
        values = decode(types, data)
        return decode_result(self.source, self.outputs, values[0] if len(types) == 1 else values)
