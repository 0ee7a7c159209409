"""Names in certificates: of holders, and of the hosts at which they are reached."""

from __future__ import annotations

import ipaddress
import re

import idna
from cryptography import x509
from cryptography.x509.oid import NameOID

from rescind.wire.errors import CertificateProblem

MOST_NAME = 64
"""Most characters of a common name and of an organization's name (RFC 5280, ub-common-name)."""

_MOST_HOST = 253
"""Most characters of a host name (RFC 1035)."""

_LABEL = re.compile(r"(?!-)[a-z0-9_-]{1,63}(?<!-)", re.ASCII)

Host = x509.DNSName | x509.IPAddress


def subject(name: str) -> x509.Name:
    """Return the subject of a certificate: the organization, and its name as common name.

    Raises:
        CertificateProblem: The name is empty, too long, or holds control characters.
    """
    name = name.strip()
    if not name or not name.isprintable():
        raise CertificateProblem(
            f"{name!r} is not a usable name. Give a name of printable characters."
        )
    if len(name) > MOST_NAME:
        raise CertificateProblem(
            f"the name {name!r} has {len(name)} characters, and a certificate takes at most "
            f"{MOST_NAME}. Choose a shorter name with --name."
        )
    return x509.Name(
        [
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, name),
            x509.NameAttribute(NameOID.COMMON_NAME, name),
        ]
    )


def parse_host(host: str) -> Host:
    """Return a host as a certificate names it.

    Args:
        host: An IPv4 or IPv6 address, in brackets or not, or a host name. A name with other than
            ASCII letters is turned into its IDNA form.

    Raises:
        CertificateProblem: It is neither.
    """
    bare = host.strip().removeprefix("[").removesuffix("]")
    try:
        return x509.IPAddress(ipaddress.ip_address(bare))
    except ValueError:
        return x509.DNSName(ascii_host(bare))


def ascii_host(host: str) -> str:
    """Return a host name in lower case and ASCII (IDNA 2008, UTS 46).

    Raises:
        CertificateProblem: It is not a host name.
    """
    bare = host.removesuffix(".").lower()
    try:
        name = bare if bare.isascii() else idna.encode(bare, uts46=True).decode()
    except idna.IDNAError as error:
        raise CertificateProblem(f"{host!r} is not a host name: {error}") from error
    if "*" in name:
        raise CertificateProblem(
            f"{host!r} stands for many hosts. Name each host that the certificate is for."
        )
    if len(name) > _MOST_HOST or not all(_LABEL.fullmatch(part) for part in name.split(".")):
        raise CertificateProblem(
            f"{host!r} is not a host name or an IP address. Give it without scheme and port, such "
            "as node.hospital.example, 192.0.2.7 or 2001:db8::7."
        )
    return name


def target(address: str) -> str:
    """Return HOST:PORT as gRPC takes it: with the host in ASCII.

    Raises:
        CertificateProblem: The host is not a host name or an IP address.
    """
    host, colon, port = address.rpartition(":")
    return f"{host if host.isascii() else ascii_host(host)}{colon}{port}"


def hosts_in(extensions: x509.Extensions) -> tuple[Host, ...]:
    """Return the hosts that a certificate or a request names.

    Raises:
        CertificateProblem: It names something else, such as a mail address.
    """
    try:
        names = extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    except x509.ExtensionNotFound:
        return ()
    hosts: list[Host] = []
    for name in names:
        if not isinstance(name, x509.DNSName | x509.IPAddress):
            raise CertificateProblem(
                f"the request names {_described(name)}, which is not a host. Make it with host "
                "names and IP addresses only."
            )
        hosts.append(parse_host(str(name.value)))
    return tuple(dict.fromkeys(hosts))


def common_name(name: x509.Name) -> str:
    """Return the common name in a subject, or the whole subject if there is none."""
    values = name.get_attributes_for_oid(NameOID.COMMON_NAME)
    return str(values[-1].value) if values else name.rfc4514_string()


def _described(name: x509.GeneralName) -> str:
    kinds = {
        x509.RFC822Name: "the mail address",
        x509.UniformResourceIdentifier: "the URI",
        x509.DirectoryName: "the directory name",
    }
    kind = kinds.get(type(name), f"a {type(name).__name__}")
    return f"{kind} {getattr(name, 'value', '')}".strip()
