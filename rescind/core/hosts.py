"""Hosts that are this machine. They are reached directly, and only its own users reach them."""

from __future__ import annotations

import ipaddress
import socket


def is_loopback(host: str) -> bool:
    """Return whether a host is this machine.

    Example:
        >>> [is_loopback(host) for host in ("localhost", "127.8.0.1", "127.1", "::1")]
        [True, True, True, True]
        >>> is_loopback("localhost.example")
        False
    """
    host = host.rstrip(".").lower()
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return socket.inet_aton(host)[0] == 127  # also the short forms that resolvers take
    except (OSError, UnicodeError):
        pass
    try:
        address = ipaddress.IPv6Address(host)
    except ValueError:
        return False
    return (address.ipv4_mapped or address).is_loopback
