"""Signatures of Ethereum accounts."""

from __future__ import annotations

from eth_keys.backends import NativeECCBackend, get_backend
from eth_keys.main import KeyAPI
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.contracts import Account


@settings(max_examples=10)
@given(st.integers(1, 2**255), st.binary(min_size=32, max_size=32))
def test_the_fast_library_signs_the_same_bytes_as_the_slow_one(number: int, hash_: bytes) -> None:
    key = number.to_bytes(32, "big")
    fast, slow = KeyAPI(get_backend()), KeyAPI(NativeECCBackend())
    signature = fast.PrivateKey(key).sign_msg_hash(hash_)
    assert signature.to_bytes() == slow.PrivateKey(key).sign_msg_hash(hash_).to_bytes()
    signer = fast.ecdsa_recover(hash_, signature).to_checksum_address()
    assert signer == Account.from_key(key).address


def test_the_fast_library_is_the_one_in_use() -> None:
    assert type(get_backend()).__name__ == "CoinCurveECCBackend"
