"""A daemon's Ethereum account, its certificate, and its connection to the consortium's contracts."""

from __future__ import annotations

import threading
from pathlib import Path

import structlog

from rescind.contracts import (
    Account,
    Chain,
    Consortium,
    ConsortiumReader,
    Deployment,
    EventIndex,
    SendSettings,
    fingerprint_message,
)
from rescind.core import demand_secret
from rescind.core.errors import ConfigError
from rescind.daemon.config import ChainSettings, IdentitySettings
from rescind.wire import TlsFiles, fingerprint, is_signed_by, sign_with_key

EVENTS_FILE = "events.db"
"""The index of the contracts' events in a daemon's state folder. It can be deleted at any time."""
GRACE_SECONDS = 600
"""Time for which others accept a certificate after its owner registered the next one. An owner whose
key was stolen registers the next one twice: then the stolen one is not the one before."""


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
        FileModeRefused: Other users can read one of the files.
        KeystoreError: The keystore cannot be read, or the password is wrong.
    """
    demand_secret(keystore)
    demand_secret(password_file)
    try:
        password = password_file.read_text(encoding="utf-8").strip()
    except (OSError, UnicodeDecodeError) as error:
        why = error.strerror if isinstance(error, OSError) else "it is not UTF-8 text"
        raise ConfigError(f"password file {password_file} cannot be read: {why}") from error
    return Account.load(keystore, password)


def open_consortium(
    settings: ChainSettings,
    account: Account | None = None,
    *,
    state: Path | None = None,
    stop: threading.Event | None = None,
) -> Consortium:
    """Connect to the chain and the contracts that a [chain] section names, and check both.

    Args:
        settings: The [chain] section.
        account: The account that signs transactions. Without it the record is read-only.
        state: The daemon's folder of durable state, which keeps the contracts' events in
            `events.db`. Without it they are kept in memory.
        stop: Set when the daemon that sends them is asked to stop; None for a command.

    Raises:
        ChainUnavailable: The RPC endpoint does not answer.
        ChainError: The chain or the contracts are not the expected ones.
    """
    chain = Chain(
        settings.rpc_url,
        settings.chain_id,
        confirmations=settings.confirmations,
        agree=settings.agree,
    )
    chain.sending = SendSettings(
        settings.max_fee_gwei, by_daemon=stop is not None, stop=stop or threading.Event()
    )
    deployment = Deployment.load(settings.contracts)
    index = EventIndex(
        chain,
        deployment,
        None if state is None else state / EVENTS_FILE,
        owned=True,
        report=structlog.get_logger().warning,
    )
    consortium = Consortium(chain, deployment, account, index=index)
    consortium.check()
    return consortium


def certificate_claim(deployment: Deployment, owner: str, tls: TlsFiles) -> tuple[str, bytes]:
    """Return the fingerprint and the proof with which an owner registers its certificate.

    They are what `Consortium.join` and `Consortium.set_fingerprint` take.

    Args:
        deployment: The consortium's contracts.
        owner: Address of the organization or the aggregator.
        tls: Its TLS files.

    Raises:
        CertificateProblem: A file cannot be read, or the key is not an elliptic-curve key.
    """
    key, certificate, _ = tls.read()
    proof = sign_with_key(key, fingerprint_message(deployment, owner))
    return fingerprint(certificate), proof


def certificate_owners(reader: ConsortiumReader, certificate: bytes) -> list[str]:
    """Return who owns a certificate: those whose claim on chain was signed with its key.

    Anyone can register any fingerprint, so a claim without such a proof counts for nothing. The
    certificate before an owner's present one counts for some minutes more, while the owner's daemon
    and its peers change to the next one.

    Args:
        reader: The public record.
        certificate: The certificate in PEM or DER.

    Raises:
        CertificateProblem: The bytes are not a certificate.
    """
    return [
        claim.owner
        for claim in reader.fingerprint_claims(fingerprint(certificate), GRACE_SECONDS)
        if is_signed_by(
            certificate, fingerprint_message(reader.deployment, claim.owner), claim.proof
        )
    ]
