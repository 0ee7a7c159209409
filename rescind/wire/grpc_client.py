"""The base of the gRPC clients: mutual TLS, retries, errors of the server's classes."""

from __future__ import annotations

import random
import time
from collections.abc import Callable
from typing import Any, ClassVar, Self

import grpc
from tenacity import (
    Retrying,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from rescind.core.errors import WireError
from rescind.core.hosts import is_loopback
from rescind.wire.diagnosis import why_unreachable
from rescind.wire.errors import (
    CODE_KEY,
    BadMessage,
    TooManyCalls,
    TransferGivenUp,
    class_of,
)
from rescind.wire.grpc_server import KEEPALIVE, UNCOMPRESSED
from rescind.wire.identity import ServerCertificateRefused, TlsFiles, presented_certificate
from rescind.wire.limits import MESSAGE_BYTES
from rescind.wire.names import target
from rescind.wire.reloading import WatchedFiles

CALL_SECONDS = 30.0
"""Deadline of one call."""


class GrpcClient:
    """A connection to one server.

    A connection that is lost is made again. One that keeps open but carries nothing is replaced
    when a call on it reaches its deadline; the call is then tried once more, so every call must be
    safe to repeat.

    With a `check`, the server's certificate is checked before anything is sent and again before each
    call, and the connection trusts that certificate alone: a certificate that the authority issued to another holder
    does not help to stand in for the server.

    Attributes:
        peer: The server, as error messages name it.
        unavailable: The error to raise when the server does not answer.
        stub_type: The generated stub of the service.
        until: When to give up whatever is called, in seconds of the monotonic clock; None for never.

    Args:
        address: HOST:PORT of the server.
        tls: The caller's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried while the server is away or has no room.
        check: Raises a WireError unless a certificate (PEM) is the server's. By default every
            certificate of the authority for the host is accepted.
        seconds: Deadline of one call.
    """

    peer: ClassVar[str]
    unavailable: ClassVar[type[WireError]]
    stub_type: ClassVar[type[Any]]

    def __init__(
        self,
        address: str,
        tls: TlsFiles,
        patience: float,
        check: Callable[[bytes], None] | None = None,
        seconds: float = CALL_SECONDS,
    ) -> None:
        self._files = WatchedFiles(tls)
        self._address, self._tls, self._patience, self._check = (
            target(address),
            tls,
            patience,
            check,
        )
        self._seconds = seconds
        self.until: float | None = None
        self._channel: grpc.Channel | None = None
        self._retired: list[grpc.Channel] = []
        self._server = b""
        self._connected: Any = None

    @property
    def _stub(self) -> Any:
        """The stub of a connection to the server, which is made when it is first needed.

        It is made again when the caller's own TLS files were replaced.
        """
        if self._files.changed() and self._channel is not None:
            # Calls that are under way on the old connection end there.
            self._retired.append(self._channel)
            self._channel = None
        if self._channel is not None and self._check is not None:
            self._check_again(self._check)
        if self._channel is None:
            key, certificate, roots = self._files.contents
            host = self._address.rpartition(":")[0].strip("[]")
            if self._check is not None:
                roots = self._server = self._server_certificate()
                self._check(roots)
            self._channel = grpc.secure_channel(
                self._address,
                grpc.ssl_channel_credentials(roots, key, certificate),
                options=[
                    ("grpc.max_receive_message_length", MESSAGE_BYTES),
                    ("grpc.max_send_message_length", MESSAGE_BYTES),
                    # Otherwise a new channel would take over the dead connection of the old one.
                    ("grpc.use_local_subchannel_pool", 1),
                    # The environment's proxy does not reach this machine's own servers.
                    ("grpc.enable_http_proxy", int(not is_loopback(host))),
                    *KEEPALIVE,
                    *UNCOMPRESSED,
                ],
            )
            self._connected = type(self).stub_type(self._channel)
        return self._connected

    def _check_again(self, check: Callable[[bytes], None]) -> None:
        """Check before each call that the server is still the right one."""
        try:
            check(self._server)
        except WireError:
            self.close()
            raise

    def _server_certificate(self) -> bytes:
        """Return the certificate (PEM) that the server presents; gRPC does not give it away."""
        retrying = Retrying(
            retry=retry_if_exception_type(OSError),
            stop=stop_after_delay(min(self._patience, self.seconds_left(self._patience))),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            return retrying(presented_certificate, self._address, self._tls)
        except ServerCertificateRefused as error:
            raise self.unavailable(str(error)) from error
        except OSError as error:
            raise self.unavailable(self._away(str(error))) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later call opens another one, and checks the server again."""
        channels = [*self._retired, self._channel]
        self._retired, self._channel, self._server = [], None, b""
        for channel in channels:
            if channel is not None:
                channel.close()

    def call(self, name: str, message: Any, *, seconds: float | None = None) -> Any:
        """Call a method of the server and return its reply.

        Args:
            name: The method, which is safe to repeat.
            message: Its request.
            seconds: Deadline of the call; by default that of the client.

        Raises:
            WireError: The server is away (`unavailable`), or the call failed (BadMessage).
            TransferGivenUp: The time `until` has come.
            RescindError: The error that the server raised, of the same class.
        """
        deadline, pause, was_late = time.monotonic() + self._patience, 0.1, False
        while True:
            try:
                return self.attempt(name, message, seconds or self._seconds)
            except grpc.RpcError as error:
                if is_late(error) and not was_late:
                    was_late, deadline = True, time.monotonic() + self._patience
                    continue
                if not may_pass(error) or time.monotonic() >= deadline:
                    raise self.failed(error) from error
            time.sleep(pause * random.uniform(0.5, 1.0))
            pause = min(2 * pause, 2.0)

    def attempt(self, name: str, message: Any, seconds: float) -> Any:
        """Call a method once; drop a connection on which it is late, or to a server that changed."""
        try:
            return getattr(self._stub, name)(message, timeout=self.seconds_left(seconds))
        except grpc.RpcError as error:
            # A server that has another certificate since is not reached over the old connection.
            if is_late(error) or (self._check is not None and is_unavailable(error)):
                self.close()
            raise

    def seconds_left(self, seconds: float) -> float:
        """Return a deadline, cut to the time until which the client may work."""
        if self.until is None:
            return seconds
        left = self.until - time.monotonic()
        if left <= 0:
            raise TransferGivenUp(
                f"no time is left for a call to {self.peer} at {self._address}: it is tried again "
                "later"
            )
        return min(seconds, left)

    def failed(self, error: Any) -> Exception:
        """Return the error to raise for a failed call."""
        codes = dict(error.trailing_metadata() or ())
        if CODE_KEY in codes:
            return class_of(str(codes[CODE_KEY]))(error.details())
        if is_late(error):
            return self.unavailable(
                f"{self.peer} at {self._address} does not answer in time: the server is stalled, or "
                "the link is too slow"
            )
        if is_unavailable(error):
            return self.unavailable(self._away(str(error.details())))
        if may_pass(error):
            return TooManyCalls(f"{self.peer} at {self._address} has no room: {error.details()}")
        return BadMessage(f"the call to {self.peer} at {self._address} failed: {error.details()}")

    def _away(self, details: str) -> str:
        reason = why_unreachable(self._address, self._tls) or details
        return f"{self.peer} at {self._address} does not answer: {reason}"


def is_unavailable(error: BaseException | None) -> bool:
    """Return whether an error says that the server is not reached."""
    return isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE


def is_late(error: BaseException | None) -> bool:
    """Return whether a call ended at its deadline."""
    return isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.DEADLINE_EXCEEDED


def may_pass(error: BaseException | None) -> bool:
    """Return whether a call may succeed a moment later: the server is away, or has no room now."""
    return is_unavailable(error) or has_no_room(error)


def has_no_room(error: BaseException | None) -> bool:
    """Return whether the server has no room for a call now, or is called too often."""
    if not isinstance(error, grpc.RpcError):
        return False
    if error.code() != grpc.StatusCode.RESOURCE_EXHAUSTED:
        return False
    failed: Any = error
    code = dict(failed.trailing_metadata() or ()).get(CODE_KEY)
    # gRPC itself has the same status for too many calls and for a message that is too large.
    return code == TooManyCalls.code or (code is None and "larger than" not in failed.details())
