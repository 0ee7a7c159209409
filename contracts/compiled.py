"""The compiled contracts that come with the package."""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

_FOLDER = Path(__file__).parent / "artifacts"


@dataclass(frozen=True)
class CompiledContract:
    """A contract as it was compiled.

    Attributes:
        name: Its name.
        abi: Its interface.
        bytecode: Creation code, hexadecimal, without constructor arguments.
        deployed_bytecode: Runtime code, hexadecimal, with zeros for immutables.
        immutable_spans: (start, length) in bytes of the immutables in the runtime code.
    """

    name: str
    abi: list[dict[str, Any]]
    bytecode: str
    deployed_bytecode: str
    immutable_spans: tuple[tuple[int, int], ...]

    def is_code(self, code: bytes) -> bool:
        """Return whether `code` is this contract's runtime code, apart from its immutables."""
        expected = bytes.fromhex(self.deployed_bytecode)
        return len(code) == len(expected) and self._masked(code) == self._masked(expected)

    def _masked(self, code: bytes) -> bytes:
        masked = bytearray(code)
        for start, length in self.immutable_spans:
            masked[start : start + length] = bytes(length)
        return bytes(masked)


@cache
def load_compiled(name: str) -> CompiledContract:
    """Return a compiled contract by name."""
    data = json.loads((_FOLDER / f"{name}.json").read_text(encoding="utf-8"))
    return CompiledContract(
        name,
        data["abi"],
        data["bytecode"],
        data["deployed_bytecode"],
        tuple((start, length) for start, length in data["immutable_spans"]),
    )
