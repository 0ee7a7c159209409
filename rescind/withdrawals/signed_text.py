"""Signatures of canonical bytes by Ethereum accounts (EIP-191, version 0x45).

The prefix of EIP-191 keeps them apart from transactions and from the documents that contracts
check; the `format` field inside the bytes keeps two kinds of statements apart.
"""

from __future__ import annotations

from eth_account import Account as EthAccount
from eth_account.messages import encode_defunct

from rescind.contracts import Account
from rescind.wire import BadSignature, check_signature_form


def sign_text(data: bytes, account: Account) -> str:
    """Return an account's signature of bytes: 65 bytes in hexadecimal, with 0x."""
    signed = EthAccount.sign_message(encode_defunct(primitive=data), account.key)
    return "0x" + bytes(signed.signature).hex()


def text_signer(data: bytes, signature: str) -> str:
    """Return the address that signed bytes.

    Raises:
        BadSignature: It is not a signature of anything, or not in the form that contracts take.
    """
    try:
        raw = bytes.fromhex(signature.removeprefix("0x"))
        check_signature_form(raw)
        return str(EthAccount.recover_message(encode_defunct(primitive=data), signature=raw))
    except BadSignature:
        raise
    except Exception as error:  # eth-account raises several unrelated types
        raise BadSignature(f"{signature[:20]!r} is not a valid signature: {error}") from error
