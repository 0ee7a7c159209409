"""The part that both kinds of auditors' attestations share: the file, and who signed it."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Self, TypeVar

from eth_account import Account as EthAccount
from pydantic import Field, ValidationError

from rescind.contracts import Account, Address, ConsortiumReader
from rescind.wire import BadSignature, check_signature_form
from rescind.withdrawals.evidence import EvidenceUnreadable, Part, first_problem

StatementT = TypeVar("StatementT")


def read_statement(path: Path, parse: Callable[[bytes], StatementT]) -> StatementT:
    """Return the statement in a file.

    Args:
        path: The file.
        parse: Pydantic's reader of the kinds of statements that are wanted.

    Raises:
        EvidenceUnreadable: The file cannot be read, or does not hold such a statement.
    """
    try:
        return parse(path.read_bytes())
    except OSError as error:
        raise EvidenceUnreadable(f"{path} cannot be read: {error.strerror}") from error
    except ValidationError as error:
        raise EvidenceUnreadable(
            f"{path} is not a valid attestation: {first_problem(error)}"
        ) from error


class SignedFile(Part):
    """A statement that an auditor signs by EIP-712, as a small JSON file.

    Attributes:
        auditor: The signer.
        signature: 65 bytes in hexadecimal; empty in a draft.
    """

    auditor: Address
    signature: str = Field(default="", pattern=r"^(0x[0-9a-f]{130})?$")

    @classmethod
    def read(cls, path: Path) -> Self:
        """Return the statement in a file.

        Raises:
            EvidenceUnreadable: The file cannot be read, or does not hold a statement of this kind.
        """
        return read_statement(path, cls.model_validate_json)

    def save(self, path: Path) -> None:
        """Write the statement to a file."""
        text = json.dumps(self.model_dump(mode="json"), sort_keys=True, indent=2)
        path.write_text(f"{text}\n", encoding="ascii")

    def signed(self, hash_: bytes, auditor: Account) -> Self:
        """Return the statement with an auditor's signature of its hash."""
        signature = bytes(EthAccount.unsafe_sign_hash(hash_, auditor.key).signature)
        return self.model_copy(update={"signature": "0x" + signature.hex()})

    def checked_signature(self, hash_: bytes, reader: ConsortiumReader) -> bytes:
        """Return the signature of the statement's hash, 65 bytes.

        Raises:
            BadSignature: It is not the auditor's, or the auditor is not one on chain.
        """
        signature = bytes.fromhex(self.signature.removeprefix("0x"))
        check_signature_form(signature)
        try:
            signer = str(EthAccount._recover_hash(hash_, signature=signature))
        except Exception as error:  # eth-account raises several unrelated types
            raise BadSignature(f"the signature of {self.auditor} is not valid: {error}") from error
        if signer != self.auditor:
            raise BadSignature(f"the attestation of {self.auditor} is signed by {signer}")
        if signer not in reader.auditors():
            raise BadSignature(f"{signer} is not an auditor of the consortium")
        return signature
