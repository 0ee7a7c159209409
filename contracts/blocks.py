"""Headers of blocks, as far as readers need them."""

from __future__ import annotations

from dataclasses import dataclass

from rescind.contracts.rpc import Answer


@dataclass(frozen=True)
class Header:
    """A block's header.

    Attributes:
        number: Its number.
        hash: Its hash, with 0x.
        parent: The hash of the block before it, with 0x.
        time: Its time, Unix seconds.
    """

    number: int
    hash: str
    parent: str
    time: int

    @classmethod
    def of(cls, block: Answer) -> Header:
        """Return the header in a node's answer.

        Only these fields are read: chains differ in the rest, such as the length of `extraData`.

        Raises:
            ChainUnavailable: A field is missing or of another form.
        """
        return cls(
            block["number"].number(),
            block["hash"].hash(),
            block["parentHash"].hash(),
            block["timestamp"].number(),
        )
