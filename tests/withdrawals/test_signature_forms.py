"""One signature has one form: anyone can write another's in others, which contracts refuse."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from rescind.contracts import Account
from rescind.wire import BadSignature, offer_typed_data, recover_signer, sign_typed
from rescind.withdrawals.signed_text import sign_text, text_signer

ORDER = 0xFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFEBAAEDCE6AF48A03BBFD25E8CD0364141
SIGNER = Account.from_key(bytes(31) + b"\x09")
DOCUMENT = offer_typed_data(
    chain_id=31337,
    rounds_address="0x" + "04" * 20,
    offer_id=1,
    round_id=2,
    artifact_id="ab" * 32,
    size=3,
    report=b"{}",
)


def mirrored(signature: bytes) -> bytes:
    """The same point above the half of the order: n - s, and the other v."""
    s = ORDER - int.from_bytes(signature[32:64], "big")
    return signature[:32] + s.to_bytes(32, "big") + bytes([55 - signature[64]])


def with_chain(signature: bytes) -> bytes:
    """The v of a transaction on chain 28 (EIP-155)."""
    return signature[:64] + bytes([signature[64] + 8 + 2 * 28])


def bare(signature: bytes) -> bytes:
    """A v of 0 or 1."""
    return signature[:64] + bytes([signature[64] - 27])


@pytest.mark.parametrize("other", [mirrored, with_chain, bare])
def test_a_signature_in_another_form_is_refused(other: Callable[[bytes], bytes]) -> None:
    signature = sign_typed(DOCUMENT, SIGNER.key)
    assert recover_signer(DOCUMENT, signature) == SIGNER.address
    with pytest.raises(BadSignature, match="form that contracts refuse"):
        recover_signer(DOCUMENT, other(signature))
    text = sign_text(b"statement", SIGNER)
    assert text_signer(b"statement", text) == SIGNER.address
    raw = bytes.fromhex(text.removeprefix("0x"))
    with pytest.raises(BadSignature, match="form that contracts refuse"):
        text_signer(b"statement", "0x" + other(raw).hex())


def test_what_is_no_signature_is_refused() -> None:
    for signature in ("", "0x", "0x12", "zz" * 65, "0x" + "00" * 64 + "1b"):
        with pytest.raises(BadSignature):
            text_signer(b"statement", signature)
