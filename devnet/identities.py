"""Making who an organization is: its Ethereum key, its TLS key and certificate, its ledger."""

from __future__ import annotations

import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import tomli_w

from adapters.errors import ConfigError
from contracts import Account
from ledger import Ledger, create_key
from protocol import CertificateAuthority, fingerprint, new_key, signing_request

LOCAL = ("localhost", "127.0.0.1")


@dataclass(frozen=True)
class Identity:
    """`fingerprint` is None while the certificate is still to be issued."""

    name: str
    folder: Path
    address: str
    fingerprint: str | None

    @property
    def keystore(self) -> Path:
        return self.folder / "keystore.json"

    @property
    def password_file(self) -> Path:
        return self.folder / "password"

    @property
    def tls_key(self) -> Path:
        return self.folder / "tls" / "key.pem"

    @property
    def tls_certificate(self) -> Path:
        return self.folder / "tls" / "certificate.pem"

    @property
    def tls_request(self) -> Path:
        return self.folder / "tls" / "request.pem"

    @property
    def authority(self) -> Path:
        return self.folder / "tls" / "authority.pem"

    @property
    def ledger(self) -> Path:
        return self.folder / "ledger"

    @property
    def ledger_key(self) -> Path:
        return self.folder / "ledger.key"

    def account(self) -> Account:
        return Account.load(self.keystore, read_password(self.password_file))

    def section(self) -> dict[str, str]:
        """The [identity] table of a TOML file beside it."""
        return {
            "keystore": "keystore.json",
            "password_file": "password",
            "tls_key": "tls/key.pem",
            "tls_certificate": "tls/certificate.pem",
            "ca_certificate": "tls/authority.pem",
        }


def create_identity(
    folder: Path,
    name: str,
    authority: CertificateAuthority | None,
    *,
    hosts: Sequence[str] = LOCAL,
) -> Identity:
    """New keys in `folder`, which may exist but must hold none yet.

    With an authority the certificate is issued at once; without, `tls/request.pem` is for the
    consortium's authority to sign. Raises ConfigError when there is an identity already.
    """
    identity = Identity(name, folder, "", None)
    if identity.keystore.exists() or identity.tls_key.exists():
        raise ConfigError(
            f"{folder} holds an identity already, and keys are never overwritten: choose another "
            "folder, or move the old one away"
        )
    folder.mkdir(parents=True, exist_ok=True)
    password = secrets.token_urlsafe(24)
    write_secret(identity.password_file, password + "\n")
    account = Account.create(identity.keystore, password)
    request = signing_request(new_key(identity.tls_key), name, hosts)
    if authority is None:
        identity.tls_request.write_bytes(request)
        return Identity(name, folder, account.address, None)
    certificate = authority.issue(request)
    identity.tls_certificate.write_bytes(certificate)
    identity.authority.write_bytes(authority.pem)
    return Identity(name, folder, account.address, fingerprint(certificate))


def create_organization(
    folder: Path,
    name: str,
    authority: CertificateAuthority | None,
    *,
    hosts: Sequence[str] = LOCAL,
) -> Identity:
    """An identity and an empty ledger with its key."""
    identity = create_identity(folder, name, authority, hosts=hosts)
    Ledger.create(identity.ledger, create_key(identity.ledger_key)).close()
    (folder / "data").mkdir(exist_ok=True)
    return identity


def read_password(path: Path) -> str:
    try:
        return path.read_text(encoding="utf-8").rstrip("\n")
    except OSError as error:
        raise ConfigError(f"password file {path} cannot be read: {error.strerror}") from error


def write_secret(path: Path, text: str) -> None:
    """A new file of mode 0600."""
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(text)


def write_toml(path: Path, sections: Mapping[str, Mapping[str, Any]], heading: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"# {heading}\n\n{tomli_w.dumps(dict(sections))}", encoding="utf-8")
