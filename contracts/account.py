"""An Ethereum key in an encrypted keystore file (Web3 Secret Storage, version 3)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, Self

from eth_account import Account as EthAccount
from eth_account.signers.local import LocalAccount

from rescind.contracts.errors import KeystoreError
from rescind.contracts.outbox import Outbox, outbox_file, shared_outbox
from rescind.core import create_private, make_private_folder
from rescind.core.json_text import parse_json
from rescind.core.recursion import restore_recursion_limit

restore_recursion_limit()

SCRYPT_ROUNDS = 2**14


class Account:
    """A key that signs for one address. It is held in memory only.

    Args:
        signer: The key.
        keystore: The file that holds it, if there is one.
    """

    def __init__(self, signer: LocalAccount, keystore: Path | None = None) -> None:
        self._signer, self.keystore = signer, keystore
        self._outbox: Outbox | None = None

    @property
    def outbox(self) -> Outbox:
        """The transactions of the key: in a file beside the keystore, or in memory without one.

        Raises:
            StoreError: The file cannot be opened.
        """
        if self._outbox is None:
            path = self.keystore and outbox_file(self.keystore)
            self._outbox = shared_outbox(path, self.address)
        return self._outbox

    @classmethod
    def create(cls, path: Path, password: str) -> Self:
        """Return a new key, saved in a new file of mode 0600.

        Raises:
            KeystoreError: The file exists.
        """
        return cls(EthAccount.create()).save(path, password)

    @classmethod
    def load(cls, path: Path, password: str) -> Self:
        """Return the key of a keystore file.

        Raises:
            KeystoreError: The file is missing or damaged, or the password is wrong.
        """
        try:
            content = parse_json(path.read_text(encoding="utf-8"))
            key = EthAccount.decrypt(content, password)
        except OSError as error:
            raise KeystoreError(f"keystore {path} cannot be read: {error.strerror}") from error
        except (ValueError, KeyError, TypeError, NotImplementedError) as error:
            raise KeystoreError(
                f"keystore {path} cannot be opened: wrong password or damaged file ({error})"
            ) from error
        return cls(EthAccount.from_key(key), path)

    @classmethod
    def from_key(cls, private_key: bytes | str) -> Self:
        """Return the account of a private key."""
        return cls(EthAccount.from_key(private_key))

    def save(self, path: Path, password: str) -> Self:
        """Write the key to a new keystore file, and return this account.

        Raises:
            KeystoreError: The file exists.
        """
        content = EthAccount.encrypt(
            self._signer.key, password, kdf="scrypt", iterations=SCRYPT_ROUNDS
        )
        make_private_folder(path.parent)
        try:
            file = create_private(path)
        except FileExistsError as error:
            raise KeystoreError(
                f"{path} exists already, and a key is never overwritten. Choose another file."
            ) from error
        with file:
            file.write(json.dumps(content).encode())
        self.keystore, self._outbox = path, None
        return self

    @property
    def address(self) -> str:
        """The address, EIP-55."""
        return str(self._signer.address)

    @property
    def key(self) -> bytes:
        """The private key, 32 bytes."""
        return bytes(self._signer.key)

    def sign_transaction(self, transaction: dict[str, Any]) -> tuple[bytes, str]:
        """Return a signed transaction's raw bytes and its hash, with 0x."""
        signed = self._signer.sign_transaction(transaction)
        return bytes(signed.raw_transaction), "0x" + bytes(signed.hash).hex()
