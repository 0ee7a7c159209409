"""The TLS folder of an organization: from a request to a certificate, and from one to the next.

An organization has two keys. `organization.key` belongs to its organization certificate, which the
authority signs once in five years. `key.pem` is the daemon's, with a certificate that the
organization issues to itself. A daemon can also have a certificate of the authority alone.

A new certificate is first staged, in the folder `next`. Its fingerprint is registered on chain, and
then it is installed. Each file is replaced whole, the key before its certificate. A reader that
comes between the two finds that they do not belong together and keeps those that it has.
"""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509

from rescind.core import make_private_folder, write_atomically, write_private
from rescind.wire.authority import OrganizationIssuer, pem_of
from rescind.wire.errors import CertificateProblem
from rescind.wire.identity import TlsFiles, fingerprint
from rescind.wire.keys import generate_key, key_pem, load_key
from rescind.wire.signing_requests import signing_request
from rescind.wire.validity import check_identity, is_issued_by, read_certificates


@dataclass(frozen=True)
class Enrolment:
    """The TLS files of a daemon, and what they are renewed with.

    Attributes:
        tls: The files that the daemon uses.
    """

    tls: TlsFiles

    @classmethod
    def in_folder(cls, folder: Path) -> Enrolment:
        """Return the enrolment whose files are in one folder, with the usual names."""
        return cls(TlsFiles.in_folder(folder))

    @property
    def folder(self) -> Path:
        """The folder of the daemon's certificate."""
        return self.tls.certificate.parent

    @property
    def organization_key(self) -> Path:
        """The key of the organization certificate."""
        return self.folder / "organization.key"

    @property
    def organization_certificate(self) -> Path:
        """The organization certificate."""
        return self.folder / "organization.pem"

    @property
    def staged(self) -> TlsFiles:
        """The files of a certificate that is not installed yet."""
        place = self.folder / "next"
        return TlsFiles(place / "key.pem", place / "certificate.pem", self.tls.authority)

    @property
    def is_staged(self) -> bool:
        """Return whether a certificate waits to be installed."""
        return self.staged.certificate.is_file()

    @property
    def renews_itself(self) -> bool:
        """Return whether the organization issues its daemon's certificates itself."""
        return self.organization_key.is_file() and self.organization_certificate.is_file()

    def request(self, name: str, hosts: Sequence[str] = (), *, daemon: bool = False) -> bytes:
        """Make a signing request, with a new key if there is none yet.

        Args:
            name: Name of the organization.
            hosts: Hosts at which it is reached; empty if it only calls others.
            daemon: Ask for a certificate of the daemon's key alone, which only the authority
                renews, instead of an organization certificate.

        Returns:
            The request in PEM.

        Raises:
            CertificateProblem: A name is not usable, or the present key is not readable.
        """
        path = self.tls.key if daemon else self.organization_key
        if path.is_file():
            key = load_key(path.read_bytes(), str(path))
            return signing_request(key, name, hosts, organization=not daemon)
        # The request is made before the key is written: a name that cannot be used leaves no key.
        fresh = generate_key()
        request = signing_request(fresh, name, hosts, organization=not daemon)
        make_private_folder(path.parent)
        write_private(path, key_pem(fresh))
        return request

    def accept(self, certificate: bytes, authority: bytes | None = None) -> str:
        """Take the answer to a request.

        The first certificate is installed. A later one is staged: its fingerprint has to be
        registered on chain before it is used.

        Args:
            certificate: The certificate in PEM.
            authority: The authority's certificate in PEM, the first time. Later the one in the folder
                counts, which only `trust` replaces.

        Returns:
            The fingerprint of the daemon's certificate.

        Raises:
            CertificateProblem: The certificate is for another key, or of another authority.
        """
        known = authority is None or self.tls.authority.is_file()
        roots = self.tls.read_authority() if known else authority
        assert roots is not None
        answer = read_certificates(certificate, Path("the certificate"))[0]
        issuers = read_certificates(roots, self.tls.authority)
        if not any(is_issued_by(answer, root) for root in issuers):
            raise CertificateProblem(
                "the authority did not issue this certificate. Use the authority.pem of those who "
                "signed your request; if you have another already, rescind org trust replaces it."
            )
        key = self._key_of(answer)
        if key != self.organization_key:
            return self._take(key.read_bytes(), pem_of(answer), roots)
        loaded = load_key(key.read_bytes(), str(key))
        issuer = OrganizationIssuer(loaded, answer)
        daemon = generate_key()
        chain = issuer.issue(daemon.public_key())
        self._check(key_pem(daemon), chain, roots)
        write_atomically(self.organization_certificate, pem_of(answer))
        return self._take(key_pem(daemon), chain, roots)

    def renew(self) -> str:
        """Stage a new key with a new certificate, which the organization issues to itself.

        Returns:
            The fingerprint of the new certificate.

        Raises:
            CertificateProblem: There is no organization certificate, or it is about to expire.
        """
        if not self.renews_itself:
            raise CertificateProblem(
                f"{self.folder} holds no organization certificate, so only the authority renews "
                "this one. Make a request with rescind org request, have it signed, and take the "
                "answer with rescind org accept."
            )
        issuer = OrganizationIssuer.read(
            self.organization_key, self.organization_certificate, "organization certificate"
        )
        key = generate_key()
        chain = issuer.issue(key.public_key())
        return self._take(key_pem(key), chain, self.tls.read_authority())

    def install(self) -> None:
        """Put the staged certificate in the place of the present one; safe to repeat."""
        staged = self.staged
        if not self.is_staged:
            return
        if staged.key.is_file():
            write_private(self.tls.key, staged.key.read_bytes())
        write_atomically(self.tls.certificate, staged.certificate.read_bytes())
        shutil.rmtree(staged.certificate.parent)

    def resume(self) -> None:
        """Finish an installation that was cut short after the key was replaced."""
        staged, key = self.staged, self.tls.key
        if not (self.is_staged and key.is_file() and self.tls.certificate.is_file()):
            return
        public = load_key(key.read_bytes(), str(key)).public_key()
        present, coming = (
            read_certificates(path.read_bytes(), path)[0].public_key()
            for path in (self.tls.certificate, staged.certificate)
        )
        if public == coming != present:
            self.install()

    def trust(self, authority: bytes) -> list[str]:
        """Replace the authority, or the authorities, that this daemon trusts.

        Args:
            authority: One or more certificates in PEM.

        Returns:
            The names of the authorities.

        Raises:
            CertificateProblem: The daemon's own certificate is of none of them.
        """
        roots = read_certificates(authority, Path("the authority's file"))
        key, certificate, _ = self.tls.read()
        self._check(key, certificate, authority)
        write_atomically(self.tls.authority, b"".join(pem_of(root) for root in roots))
        return [root.subject.rfc4514_string() for root in roots]

    def _take(self, key: bytes, certificate: bytes, roots: bytes) -> str:
        """Install the first certificate, or stage a later one."""
        self._check(key, certificate, roots)
        first = not self.tls.certificate.is_file()
        if not self.tls.authority.is_file():
            write_atomically(self.tls.authority, roots)
        staged = self.staged
        make_private_folder(staged.key.parent)
        # The certificate is written last: only with it is anything staged.
        staged.certificate.unlink(missing_ok=True)
        write_private(staged.key, key)
        write_atomically(staged.certificate, certificate)
        if first:
            self.install()
        return fingerprint(certificate)

    def _check(self, key: bytes, certificate: bytes, roots: bytes) -> None:
        check_identity(self.tls.paths, (key, certificate, roots))

    def _key_of(self, certificate: x509.Certificate) -> Path:
        """Return the file of the key that a certificate is for."""
        for path in (self.organization_key, self.tls.key):
            if path.is_file():
                key = load_key(path.read_bytes(), str(path))
                if key.public_key() == certificate.public_key():
                    return path
        raise CertificateProblem(
            f"the certificate is for none of the keys in {self.folder}. It answers a request of "
            "another folder, or its key was replaced since."
        )
