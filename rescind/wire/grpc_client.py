"""The base of the gRPC clients: mutual TLS, retries, errors of the server's classes."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, ClassVar, Self, TypeVar

import grpc
from tenacity import Retrying, retry_if_exception, stop_after_delay, wait_exponential_jitter

from rescind.core.errors import WireError
from rescind.wire.errors import CODE_KEY, BadMessage, class_of
from rescind.wire.grpc_server import MESSAGE_BYTES
from rescind.wire.identity import TlsFiles

_T = TypeVar("_T")

CALL_SECONDS = 30.0
"""Deadline of one call."""


class GrpcClient:
    """A connection to one server.

    Attributes:
        peer: The server, as error messages name it.
        unavailable: The error to raise when the server does not answer.
        channel: The gRPC channel.

    Args:
        address: HOST:PORT of the server.
        tls: The caller's key and certificate, and the consortium's authority.
        patience: Seconds for which a call is retried while the server is away.
    """

    peer: ClassVar[str]
    unavailable: ClassVar[type[WireError]]

    def __init__(self, address: str, tls: TlsFiles, patience: float) -> None:
        key, certificate, authority = tls.read()
        self._address, self._patience = address, patience
        self.channel = grpc.secure_channel(
            address,
            grpc.ssl_channel_credentials(authority, key, certificate),
            options=[
                ("grpc.max_receive_message_length", MESSAGE_BYTES),
                ("grpc.max_send_message_length", MESSAGE_BYTES),
            ],
        )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close the connection."""
        self.channel.close()

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
