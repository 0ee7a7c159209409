"""The base of the gRPC clients: mutual TLS, retries, errors of the server's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import grpc
from tenacity import (
    Retrying,
    retry_if_exception,
    retry_if_exception_type,
    stop_after_delay,
    wait_exponential_jitter,
)

from rescind.core.errors import WireError
from rescind.wire.errors import CODE_KEY, BadMessage, class_of
from rescind.wire.grpc_server import MESSAGE_BYTES
from rescind.wire.identity import TlsFiles, presented_certificate

_T = TypeVar("_T")

CALL_SECONDS = 30.0
"""Deadline of one call."""


class GrpcClient:
    """A connection to one server.

    With a `check`, the server's certificate is checked before anything is sent, and the connection
    then trusts that certificate alone: a certificate that the authority issued to another holder
    does not help to stand in for the server.

    Attributes:
        peer: The server, as error messages name it.
        unavailable: The error to raise when the server does not answer.
        stub_type: The generated stub of the service.

    Args:
        address: HOST:PORT of the server.
        tls: The caller's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried while the server is away.
        check: Raises a WireError unless a certificate (PEM) is the server's. By default every
            certificate of the authority for the host is accepted.
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
    ) -> None:
        self._key, self._certificate, self._authority = tls.read()
        self._address, self._tls, self._patience, self._check = address, tls, patience, check
        self._channel: grpc.Channel | None = None
        self._connected: Any = None

    @property
    def _stub(self) -> Any:
        """The stub of a connection to the server, which is made when it is first needed."""
        if self._channel is None:
            roots = self._authority
            if self._check is not None:
                roots = self._server_certificate()
                self._check(roots)
            self._channel = grpc.secure_channel(
                self._address,
                grpc.ssl_channel_credentials(roots, self._key, self._certificate),
                options=[
                    ("grpc.max_receive_message_length", MESSAGE_BYTES),
                    ("grpc.max_send_message_length", MESSAGE_BYTES),
                ],
            )
            self._connected = type(self).stub_type(self._channel)
        return self._connected

    def _server_certificate(self) -> bytes:
        """Return the certificate (PEM) that the server presents; gRPC does not give it away."""
        retrying = Retrying(
            retry=retry_if_exception_type(OSError),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            return retrying(presented_certificate, self._address, self._tls)
        except OSError as error:
            raise self.unavailable(
                f"{self.peer} at {self._address} does not answer: {error}"
            ) from error

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection. A later call opens another one, and checks the server again."""
        if self._channel is not None:
            self._channel.close()
            self._channel = None

    def call(self, method: Callable[..., _T], message: Any) -> _T:
        """Call a method of the server and return its reply.

        Args:
            method: A method of the generated stub.
            message: Its request.

        Raises:
            WireError: The server is away (`unavailable`), or the call failed (BadMessage).
            RescindError: The error that the server raised, of the same class.
        """
        retrying = Retrying(
            retry=retry_if_exception(_is_unavailable),
            stop=stop_after_delay(self._patience),
            wait=wait_exponential_jitter(multiplier=0.1, max=2.0),
            reraise=True,
        )
        try:
            return retrying(method, message, timeout=CALL_SECONDS)
        except grpc.RpcError as error:
            if self._check is not None and _is_unavailable(error):
                # The server may have another certificate since it was started again.
                self.close()
            raise self._translate(error) from error

    def _translate(self, error: Any) -> Exception:
        codes = dict(error.trailing_metadata() or ())
        if CODE_KEY in codes:
            return class_of(str(codes[CODE_KEY]))(error.details())
        if _is_unavailable(error) or error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:
            return self.unavailable(
                f"{self.peer} at {self._address} does not answer: {error.details()}"
            )
        return BadMessage(f"the call to {self.peer} at {self._address} failed: {error.details()}")


def _is_unavailable(error: BaseException) -> bool:
    return isinstance(error, grpc.RpcError) and error.code() == grpc.StatusCode.UNAVAILABLE
