"""The calls of a gRPC service: each caller is identified and admitted before its message is read.

gRPC hands a unary method a message that was received already. Here every method is registered as a
stream, which looks the same on the wire, so that the server sees the caller's certificate first:

1. Count the call against the limits of its certificate.
2. Look the certificate up, on threads of their own.
3. Read the message, within its size and time.
4. Carry the call out on one of a bounded number of threads.
"""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Awaitable, Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

import grpc
import structlog
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from rescind.core.errors import RescindError
from rescind.wire.connections import Connections
from rescind.wire.errors import CODE_KEY, BadMessage, NotAMember, status_of
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.limits import MESSAGE_BYTES, SMALL_MESSAGE_BYTES, Caller, Callers, Limits
from rescind.wire.refusals import RefusalLog, shortened
from rescind.wire.transfer import ReceivedPiece

_Owner = TypeVar("_Owner")


@dataclass(frozen=True)
class Call(Generic[_Owner]):
    """A method of a service.

    Attributes:
        reply: Returns the reply to a message of the owner of a certificate, both serialized.
        max_bytes: Largest message.
        repeats: Whether it sends or fetches pieces, for which a look-up a moment ago counts.
    """

    reply: Callable[[_Owner, bytes], bytes]
    max_bytes: int = SMALL_MESSAGE_BYTES
    repeats: bool = False


def calls_of(service: Any, servicer: object, pieces: frozenset[str]) -> dict[str, Call[Any]]:
    """Return the calls of a service by full method name.

    Args:
        service: Descriptor of the service.
        servicer: Has a method of the same name for each call: (owner, message) -> reply.
        pieces: Names of the calls that send or fetch pieces.
    """
    return {
        f"/{service.full_name}/{method.name}": Call(
            _serialized(getattr(servicer, method.name), method.input_type.name, _parser(method)),
            MESSAGE_BYTES if method.name in pieces else SMALL_MESSAGE_BYTES,
            method.name in pieces,
        )
        for method in service.methods
    }


def _serialized(
    reply: Callable[[Any, Any], Message], kind: str, parse: Callable[[bytes], Any]
) -> Callable[[Any, bytes], bytes]:
    def answer(owner: object, raw: bytes) -> bytes:
        try:
            message = parse(raw)
        except DecodeError as error:
            raise BadMessage(f"the message is not a {kind}: {error}") from error
        return reply(owner, message).SerializeToString()

    return answer


def _parser(method: Any) -> Callable[[bytes], Any]:
    """Return what reads the messages of a method: those with a piece are not copied."""
    if method.input_type is pb.Piece.DESCRIPTOR:
        return ReceivedPiece.parse
    parser: Callable[[bytes], Any] = GetMessageClass(method.input_type).FromString
    return parser


class Calls(grpc.GenericRpcHandler, Generic[_Owner]):  # type: ignore[type-arg]
    """Answers the calls of one service on an event loop.

    Args:
        calls: The calls by full method name.
        admit: Returns the owner of a certificate (PEM), or raises a WireError.
        limits: What callers may use.
        callers: Their use, shared by all services of the server.
        connections: Their connections, shared likewise.
    """

    def __init__(
        self,
        calls: dict[str, Call[_Owner]],
        admit: Callable[[bytes], _Owner],
        limits: Limits,
        callers: Callers,
        connections: Connections,
    ) -> None:
        self._calls, self._admit, self._limits, self._callers = calls, admit, limits, callers
        self._connections, self._refusals = connections, RefusalLog()
        self._workers = ThreadPoolExecutor(limits.threads, "call")
        self._admissions = ThreadPoolExecutor(limits.admissions, "admission")

    def close(self) -> None:
        """Drop what no thread has begun; calls that are carried out go on to their end."""
        for pool in (self._workers, self._admissions):
            pool.shutdown(wait=False, cancel_futures=True)

    def service(self, handler_call_details: Any) -> Any:
        """Return the handler of a method (grpc.GenericRpcHandler)."""
        call = self._calls.get(handler_call_details.method)
        if call is None:
            return None

        async def behavior(_: Any, context: Any) -> None:
            await self._answer(call, context)

        return grpc.stream_stream_rpc_method_handler(behavior)

    async def _answer(self, call: Call[_Owner], context: Any) -> None:
        """Send the reply, or end the call with the error that was raised.

        The caller sees a RescindError with its class and message. Any other exception goes to the
        log; the caller sees only "internal error", so that no internals leak.
        """
        name = ""
        try:
            certificate = caller_certificate(context)
            name = hashlib.sha256(certificate).hexdigest()
            reply = await self._reply(call, context, name, certificate)
        except RescindError as error:
            self._refusals.add(name, error)
            context.set_trailing_metadata(((CODE_KEY, error.code),))
            await context.abort(status_of(error), shortened(str(error)))
        except Exception:
            structlog.get_logger().exception("internal error")
            await context.abort(
                grpc.StatusCode.INTERNAL, "internal error, see the log of the server"
            )
        else:
            await context.write(reply)

    async def _reply(
        self, call: Call[_Owner], context: Any, name: str, certificate: bytes
    ) -> bytes:
        with (
            self._connections.calling(context.peer(), name),
            self._callers.entered(name) as caller,
        ):
            owner = await self._owner(call, caller, certificate)
            raw = await self._message(call, context)
            return await self._carried_out(caller, lambda: call.reply(owner, raw))

    async def _owner(self, call: Call[_Owner], caller: Caller, certificate: bytes) -> _Owner:
        """Return the owner of the caller's certificate."""
        asked_at = self._callers.now()
        async with caller.admission:
            # Calls that waited for the same look-up share its answer.
            shared = caller.admitted_at >= asked_at
            if not (shared or (call.repeats and self._callers.is_recent(caller))):
                try:
                    pending = self._admissions.submit(self._admit, certificate)
                    owner = await asyncio.shield(asyncio.wrap_future(pending))
                except RescindError:
                    self._callers.charge_refusal(caller)
                    raise
                self._callers.admit(caller, owner)
            admitted: _Owner = caller.admitted
            return admitted

    async def _message(self, call: Call[_Owner], context: Any) -> bytes:
        """Read the message of a call, which no thread waits for."""
        read: Awaitable[Any] = context.read()
        try:
            raw = await asyncio.wait_for(read, self._limits.read_seconds)
        except TimeoutError as error:
            raise BadMessage(
                f"the message did not arrive within {self._limits.read_seconds:g} s: send a smaller "
                "piece"
            ) from error
        if not isinstance(raw, bytes):
            raise BadMessage("the call ended without a message")
        if len(raw) > call.max_bytes:
            raise BadMessage(
                f"the message has {len(raw)} bytes, at most {call.max_bytes} are accepted"
            )
        return raw

    async def _carried_out(self, caller: Caller, work: Callable[[], bytes]) -> bytes:
        """Carry a call out on a thread, one of the few that its certificate may use at a time."""
        loop = asyncio.get_running_loop()
        await caller.working.acquire()
        try:
            pending = self._workers.submit(work)
        except RuntimeError:
            caller.working.release()
            raise
        # A caller that gives up does not stop the thread, so the thread still counts.
        pending.add_done_callback(lambda _: loop.call_soon_threadsafe(caller.working.release))
        reply: bytes = await asyncio.shield(asyncio.wrap_future(pending))
        return reply


def caller_certificate(context: Any) -> bytes:
    """Return the certificate that the caller presented, in PEM.

    Raises:
        NotAMember: The caller presented none.
    """
    presented = context.auth_context().get("x509_pem_cert", [])
    if not presented:
        raise NotAMember("you presented no client certificate")
    return bytes(presented[0])
