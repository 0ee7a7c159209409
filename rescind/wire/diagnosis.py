"""The reason why a server is not reached: the network, or a certificate on either side."""

from __future__ import annotations

import socket
import ssl

from rescind.wire.identity import TlsFiles

_SECONDS = 5.0
"""Time for each step of the trial connection."""


def why_unreachable(address: str, tls: TlsFiles) -> str:
    """Return why a server is not reached, as a sentence for a person, or "" if a trial reaches it.

    gRPC says "Socket closed" for an expired certificate and for a cut cable alike. A trial handshake
    tells them apart.

    Args:
        address: HOST:PORT of the server.
        tls: The caller's TLS files.
    """
    own = tls.problem()
    if own:
        return own
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    try:
        plain = socket.create_connection((host, int(port)), timeout=_SECONDS)
    except (OSError, ValueError) as error:
        return f"there is no connection ({error}): check the address, the network and the server"
    with plain:
        plain.settimeout(_SECONDS)
        return _handshake(plain, host, tls)


def _handshake(plain: socket.socket, host: str, tls: TlsFiles) -> str:
    try:
        context = ssl.create_default_context(cafile=str(tls.authority))
        context.load_cert_chain(tls.certificate, tls.key)
        context.set_alpn_protocols(["h2"])
        with context.wrap_socket(plain, server_hostname=host) as secured:
            return _first_byte(secured, tls)
    except ssl.SSLCertVerificationError as error:
        return (
            f"the server's certificate is not accepted: {error.verify_message}. Check its expiry "
            "and names, and that both sides have the authority of the same consortium"
        )
    except ssl.SSLError as error:
        return f"the TLS handshake fails: {error}"
    except TimeoutError:
        return "the connection is open, but nothing comes back: the network drops what is sent"
    except OSError as error:
        return f"the connection is cut during the TLS handshake ({error}): check the network"


def _first_byte(secured: ssl.SSLSocket, tls: TlsFiles) -> str:
    """Wait for the server's HTTP/2 settings.

    A server of TLS 1.3 judges the client's certificate only after the handshake, and gRPC's closes
    the connection without an alert if it does not accept it.
    """
    try:
        if secured.recv(1):
            return ""
    except TimeoutError:
        raise
    except OSError:
        pass
    return (
        f"the server ends the connection once it has seen your certificate {tls.certificate}. Check "
        "its expiry, and that the authority of the server's consortium issued it"
    )
