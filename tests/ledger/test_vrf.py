"""ECVRF-EDWARDS25519-SHA512-TAI against RFC 9381, appendix B.3."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rescind.ledger import ProofInvalid
from rescind.ledger.vrf import VrfKey, output, verify

SECRET = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
PUBLIC = "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
PROOF = (
    "8657106690b5526245a92b003bb079ccd1a92130477671f6fc01ad16f26f723f"
    "26f8a57ccaed74ee1b190bed1f479d9727d2d0f9b005a6e456a35d4fb0daab12"
    "68a1b0db10836d9826a528ca76567805"
)
OUTPUT = (
    "90cf1df3b703cce59e2a35b925d411164068269d7b2d29f3301c03dd757876ff"
    "66b71dda49d2de59d03450451af026798e8f81cd2e333de5cdf4f3e140fdd8ae"
)


def test_a_proof_equals_the_first_example_of_the_rfc() -> None:
    key = VrfKey(bytes.fromhex(SECRET))
    assert key.public.hex() == PUBLIC
    assert key.prove(b"").hex() == PROOF
    assert verify(key.public, b"", bytes.fromhex(PROOF)).hex() == OUTPUT


@given(st.binary(min_size=32, max_size=32), st.binary(max_size=40), st.integers(0, 8 * 80 - 1))
@settings(deadline=None, max_examples=50)
def test_a_proof_with_a_changed_bit_is_rejected(secret: bytes, alpha: bytes, bit: int) -> None:
    key = VrfKey(secret)
    proof = key.prove(alpha)
    assert verify(key.public, alpha, proof) == output(proof)
    changed = bytearray(proof)
    changed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(ProofInvalid):
        verify(key.public, alpha, bytes(changed))
    with pytest.raises(ProofInvalid):
        verify(key.public, alpha + b"x", proof)


@given(st.binary(max_size=90), st.binary(max_size=34))
@settings(deadline=None)
def test_malformed_proofs_are_rejected(proof: bytes, public: bytes) -> None:
    with pytest.raises(ProofInvalid):
        verify(public, b"name", proof)
