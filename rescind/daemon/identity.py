"""A daemon's Ethereum account and its connection to the consortium's contracts."""

from __future__ import annotations

from pathlib import Path

from rescind.contracts import Account, Chain, Consortium, Deployment
from rescind.core.errors import ConfigError
from rescind.daemon.config import ChainSettings, IdentitySettings


def load_account(identity: IdentitySettings) -> Account:
    """Decrypt the keystore that an [identity] section names.

    Raises:
        ConfigError: The password file cannot be read.
        KeystoreError: The keystore cannot be read, or the password is wrong.
    """
    return open_keystore(identity.keystore, identity.password_file)


def open_keystore(keystore: Path, password_file: Path) -> Account:
    """Decrypt a keystore with the password in a file.

    Args:
        keystore: A Web3 Secret Storage file, version 3.
        password_file: A UTF-8 text file. White space around the password is ignored.

    Raises:
        ConfigError: The password file cannot be read.
        KeystoreError: The keystore cannot be read, or the password is wrong.
    """
    try:
        password = password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"password file {password_file} cannot be read: {why}") from error
    return Account.load(keystore, password)


def open_consortium(settings: ChainSettings, account: Account | None = None) -> Consortium:
    """Connect to the chain and the contracts that a [chain] section names, and check both.

    Args:
        settings: The [chain] section.
        account: The account that signs transactions. Without it the record is read-only.

    Raises:
        ChainUnavailable: The RPC endpoint does not answer.
        ChainError: The chain or the contracts are not the expected ones.
    """
    chain = Chain(settings.rpc_url, settings.chain_id, confirmations=settings.confirmations)
    consortium = Consortium(chain, Deployment.load(settings.contracts), account)
    consortium.check()
    return consortium
