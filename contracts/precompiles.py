"""The chain's own functions that the contracts need."""

from __future__ import annotations

from rescind.contracts.chain import Chain
from rescind.contracts.endpoint_faults import METHOD_MISSING
from rescind.contracts.errors import NodeRefused, WrongChain

_G1MSM = "0x000000000000000000000000000000000000000C"


def check_precompiles(chain: Chain) -> None:
    """Check that a chain can add points of BLS12-381 (EIP-2537).

    Elsewhere the address of the precompile is an empty account, and a call returns nothing.

    Raises:
        WrongChain: It cannot.
        ChainUnavailable: The chain does not answer.
    """
    # 1 x infinity is infinity: 160 zero bytes in, 128 zero bytes out.
    try:
        sum_of_nothing = chain.call(_G1MSM, bytes(160), "latest")
    except NodeRefused as error:
        if error.fault is METHOD_MISSING:
            raise
        sum_of_nothing = b""
    if sum_of_nothing != bytes(128):
        raise WrongChain(
            f"{chain.shown} is a chain without the BLS12-381 precompiles of EIP-2537, which the "
            "contracts need to add commitments. Use a chain that has the Prague upgrade."
        )
