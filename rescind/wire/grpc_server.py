"""The base of the gRPC servers: mutual TLS, limits, health, reflection in a devnet."""

from __future__ import annotations

import asyncio
import contextlib
import functools
import resource
import threading
from collections.abc import Callable
from typing import Any, TypeVar

import grpc
from grpc_health.v1 import health_pb2
from grpc_reflection.v1alpha import reflection

from rescind.core.errors import WireError
from rescind.wire.calls import Call, Calls, calls_of
from rescind.wire.connections import Connections, ConnectionWatch
from rescind.wire.errors import BadMessage
from rescind.wire.identity import TlsFiles
from rescind.wire.limits import MESSAGE_BYTES, Callers, Limits
from rescind.wire.reloading import server_credentials

KEEPALIVE = [
    ("grpc.keepalive_time_ms", 60_000),
    # Linux drops a connection after this time without an acknowledgement (TCP_USER_TIMEOUT), and a
    # proxy in front of a slow link acknowledges rarely. Deadlines notice a dead connection before.
    ("grpc.keepalive_timeout_ms", 120_000),
    # Rounds are far apart, and a NAT forgets a connection after some minutes without a packet.
    ("grpc.keepalive_permit_without_calls", 1),
    ("grpc.http2.max_pings_without_data", 0),
]
"""Options of servers and clients: a ping each minute, whether or not calls are open."""

UNCOMPRESSED = [("grpc.compression_enabled_algorithms_bitset", 1)]
"""Option of servers and clients: gRPC unpacks a compressed message whole before it looks at its size,
so that 4 MiB would take 4 GiB. None is taken."""

PIECES = frozenset({"PutPiece", "CopyPiece", "GetPiece"})
"""The calls that send, copy or fetch pieces of artifacts."""

_HEALTH = "/grpc.health.v1.Health/Check"

_Owner = TypeVar("_Owner")


class RunningServer:
    """A started server.

    Args:
        server: The gRPC server.
        calls: What answers its calls.
        port: The port that it listens on.
        watch: Looks at its connections.
    """

    def __init__(
        self, server: Any, calls: tuple[Calls[Any], ...], port: int, watch: ConnectionWatch
    ) -> None:
        self._server, self._calls, self.port, self._watch = server, calls, port, watch

    def stop(self, grace: float) -> None:
        """Stop the server.

        Args:
            grace: Seconds for calls in progress to end; the others are cancelled.
        """
        self._watch.stop()
        _on_loop(self._server.stop(grace))
        for each in self._calls:
            each.close()


def start_server(
    service: Any,
    servicer: object,
    admit: Callable[[bytes], object],
    address: str,
    tls: TlsFiles,
    *,
    limits: Limits | None = None,
    reflected: bool = False,
) -> RunningServer:
    """Start a server of one service, with health.

    Args:
        service: Descriptor of the service.
        servicer: Has a method for each call; see `calls_of`.
        admit: Returns the owner of a caller's certificate (PEM), or raises a WireError.
        address: HOST:PORT to listen on; port 0 picks a free one.
        tls: The server's key and certificate, and the consortium's authority.
        limits: What callers may use.
        reflected: Whether to answer reflection, which a devnet is inspected with.

    Raises:
        CertificateProblem: A TLS file cannot be read.
        WireError: The address cannot be bound.
    """
    credentials = server_credentials(tls)
    limits = limits or Limits()

    async def start() -> RunningServer:
        callers, most = Callers(limits), _connections(limits)
        connections = Connections(limits, most)
        shared = (limits, callers, connections)
        calls = Calls(calls_of(service, servicer, PIECES), admit, *shared)
        health = Calls(_health_calls(service.full_name), lambda _: None, *shared)
        options = _options(limits, most)
        server = grpc.aio.server(options=options, maximum_concurrent_rpcs=limits.all_calls)
        server.add_generic_rpc_handlers((calls, health))
        if reflected:
            names = (service.full_name, reflection.SERVICE_NAME)
            reflection.enable_server_reflection(names, server)
        try:
            port = server.add_secure_port(address, credentials)
        except RuntimeError as error:
            raise WireError(
                f"cannot listen on {address}: another process uses the port, or the host is not an "
                "address of this machine"
            ) from error
        await server.start()
        watch = ConnectionWatch(connections, port, limits.watch_seconds)
        watch.start()
        return RunningServer(server, (calls, health), port, watch)

    running: RunningServer = _on_loop(start())
    return running


def _options(limits: Limits, most_connections: int) -> list[tuple[str, int]]:
    return [
        ("grpc.max_receive_message_length", MESSAGE_BYTES),
        ("grpc.max_send_message_length", MESSAGE_BYTES),
        # Without this, two servers could share the port, each answering some of the calls.
        ("grpc.so_reuseport", 0),
        *KEEPALIVE,
        *UNCOMPRESSED,
        ("grpc.http2.min_ping_interval_without_data_ms", 30_000),
        ("grpc.max_concurrent_streams", limits.streams),
        ("grpc.max_connection_age_ms", 1000 * limits.age_seconds),
        ("grpc.max_connection_age_grace_ms", 1000 * limits.age_grace_seconds),
        ("grpc.max_connection_idle_ms", 1000 * limits.idle_seconds),
        ("grpc.max_allowed_incoming_connections", most_connections),
        ("grpc.server_handshake_timeout_ms", 1000 * limits.handshake_seconds),
    ]


def _connections(limits: Limits) -> int:
    """Return the connections to allow: half of the files that this process may open at most.

    A process without a free file descriptor can open neither its journal nor its store.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft != hard:
        with contextlib.suppress(OSError, ValueError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    soft, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
    return limits.connections if soft < 0 else min(limits.connections, soft // 2)


def _health_calls(service: str) -> dict[str, Call[Any]]:
    """Return the call of grpc.health.v1 that says whether a service is served.

    Streams of changes (Watch) are not offered: a stream that is held open serves no one here.
    """

    def check(_: object, raw: bytes) -> bytes:
        request = health_pb2.HealthCheckRequest.FromString(raw)
        if request.service not in ("", service):
            raise BadMessage(f"this server has no service {request.service}, only {service}")
        serving = health_pb2.HealthCheckResponse.SERVING
        return bytes(health_pb2.HealthCheckResponse(status=serving).SerializeToString())

    return {_HEALTH: Call(check)}


@functools.cache
def _loop() -> asyncio.AbstractEventLoop:
    """Return the event loop of all servers of this process, which runs on a thread of its own.

    grpc.aio has one completion queue in a process, so several loops would wake each other.
    """
    loop = asyncio.new_event_loop()
    threading.Thread(target=loop.run_forever, name="grpc", daemon=True).start()
    return loop


def _on_loop(work: Any) -> Any:
    return asyncio.run_coroutine_threadsafe(work, _loop()).result()
