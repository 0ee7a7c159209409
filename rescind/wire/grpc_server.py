"""What every server of this wire has: mutual TLS, health and reflection, errors that travel."""

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
from rescind.wire.identity import TlsFiles, fingerprint
from rescind.wire.transfer import CHUNK_BYTES

MESSAGE_BYTES = CHUNK_BYTES + 2**16

_Reply = TypeVar("_Reply")


def start_server(
    add: Callable[[grpc.Server], None], service: str, address: str, tls: TlsFiles
) -> tuple[grpc.Server, int]:
    """A started server of one service, with health and reflection, and its port. Raises WireError when the
    address cannot be bound."""
    key, certificate, authority = tls.read()
    server = grpc.server(
        futures.ThreadPoolExecutor(max_workers=16),
        options=[
            ("grpc.max_receive_message_length", MESSAGE_BYTES),
            ("grpc.max_send_message_length", MESSAGE_BYTES),
            ("grpc.so_reuseport", 0),
        ],
    )
    add(server)
    checks = health.HealthServicer()
    health_pb2_grpc.add_HealthServicer_to_server(checks, server)
    checks.set(service, health_pb2.HealthCheckResponse.SERVING)
    reflection.enable_server_reflection((service, reflection.SERVICE_NAME), server)
    credentials = grpc.ssl_server_credentials(
        [(key, certificate)], root_certificates=authority, require_client_auth=True
    )
    try:
        port = server.add_secure_port(address, credentials)
    except RuntimeError as error:
        raise WireError(
            f"cannot listen on {address}: is another process using it, or is it not an address of "
            "this machine?"
        ) from error
    server.start()
    return server, port


def answer(context: Any, reply: Callable[[], _Reply]) -> _Reply:
    """The reply, or its error on the wire; what is not expected is told to the log alone."""
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


def caller_fingerprint(context: Any) -> str:
    """Of the certificate that the caller presented. Raises NotAMember when there is none."""
    presented = context.auth_context().get("x509_pem_cert", [])
    if not presented:
        raise NotAMember("no client certificate was presented")
    return fingerprint(presented[0])
