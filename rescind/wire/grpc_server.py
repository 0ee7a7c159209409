"""The base of the gRPC servers: mutual TLS, health, reflection, errors that travel."""

from __future__ import annotations

from collections.abc import Callable
from concurrent import futures
from typing import Any, TypeVar

import grpc
import structlog
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from rescind.core.errors import RescindError, WireError
from rescind.wire.errors import CODE_KEY, NotAMember, status_of
from rescind.wire.identity import TlsFiles
from rescind.wire.transfer import CHUNK_BYTES

MESSAGE_BYTES = CHUNK_BYTES + 2**16
"""Largest message: a chunk and 64 KiB of other fields."""

_THREADS = 16
"""Calls that a server answers at a time; the others wait."""

_OPTIONS = [
    ("grpc.max_receive_message_length", MESSAGE_BYTES),
    ("grpc.max_send_message_length", MESSAGE_BYTES),
    # Without this, two servers could share the port, each answering some of the calls.
    ("grpc.so_reuseport", 0),
]

_Reply = TypeVar("_Reply")


def start_server(
    add: Callable[[grpc.Server], None], service: str, address: str, tls: TlsFiles
) -> tuple[grpc.Server, int]:
    """Start a server of one service, with health and reflection.

    Args:
        add: Registers the service with a server.
        service: Full name of the service.
        address: HOST:PORT to listen on; port 0 picks a free one.
        tls: The server's key and certificate, and the consortium's authority.

    Returns:
        The started server and its port.

    Raises:
        CertificateProblem: A TLS file cannot be read.
        WireError: The address cannot be bound.
    """
    key, certificate, authority = tls.read()
    server = grpc.server(futures.ThreadPoolExecutor(max_workers=_THREADS), options=_OPTIONS)
    add(server)
    _add_health(server, service)
    reflection.enable_server_reflection((service, reflection.SERVICE_NAME), server)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise WireError(
            f"cannot listen on {address}: another process uses the port, or the host is not an "
            "address of this machine"
        ) from error
    server.start()
    return server, port


def _add_health(server: grpc.Server, service: str) -> None:
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    checks.set(service, health_pb2.HealthCheckResponse.SERVING)


def answer(context: Any, reply: Callable[[], _Reply]) -> _Reply:
    """Return the reply, or end the call with the error that it raised.

    The caller sees a RescindError with its class and message. Any other exception goes to the log;
    the caller sees only "internal error", so that no internals leak.
    """
    try:
        return reply()
    except RescindError as error:
        structlog.get_logger().warning("refused", code=error.code, reason=str(error))
        context.set_trailing_metadata(((CODE_KEY, error.code),))
        context.abort(status_of(error), str(error))
    except Exception:
        structlog.get_logger().exception("internal error")
        context.abort(grpc.StatusCode.INTERNAL, "internal error, see the log of the server")
    raise AssertionError("abort always raises")


def caller_certificate(context: Any) -> bytes:
    """Return the certificate that the caller presented, in PEM.

    Raises:
        NotAMember: The caller presented none.
    """
    presented = context.auth_context().get("x509_pem_cert", [])
    if not presented:
        raise NotAMember("you presented no client certificate")
    return bytes(presented[0])
