"""Messages of both services."""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rescind.core.errors import RescindError
from rescind.wire import aggregator_service, ledger_service
from rescind.wire.aggregator_service import AggregatorDescription, ModelFiles
from rescind.wire.calls import calls_of
from rescind.wire.generated import rescind_pb2 as pb
from tests.fuzz.identities import certificate
from tests.fuzz.target import Target

_DATA = b"an artifact"
_ID = sha256(_DATA).digest()


class _Handler:
    """Replies to everything: what is fuzzed is how messages are read, before any handler."""

    max_artifact_bytes = 2**30

    def __getattr__(self, name: str) -> Any:
        replies: dict[str, Any] = {
            "describe": AggregatorDescription("ab" * 32, 1, "0x" + "ab" * 20, ModelFiles()),
            "begin_upload": 0,
            "put_piece": len(_DATA),
            "copy_piece": len(_DATA),
            "piece": (_DATA, len(_DATA)),
            "fisher": "ab" * 32,
            "model": ModelFiles(),
            "replay_start": ModelFiles(),
            "round_sums": [],
            "replay_sums": [],
            "wanted": [],
            "checkpoint": ("note", "key"),
            "disclose": b"{}",
            "seen": 3,
            "cosign": ("line", "key"),
        }
        return lambda *_: replies.get(name)


def targets() -> Iterator[Target]:
    # The aggregator's service is called by an address, the ledger's by a certificate.
    caller = certificate(ec.derive_private_key(7, ec.SECP256R1()))
    yield _service("aggregator-messages", "Aggregator", aggregator_service, "0x" + "ab" * 20)
    yield _service("ledger-messages", "Ledger", ledger_service, caller)


def _service(name: str, service: str, module: Any, caller: object) -> Target:
    """All methods of a service: the first byte of an input chooses one."""
    described = pb.DESCRIPTOR.services_by_name[service]
    calls = calls_of(described, module._Servicer(_Handler()), frozenset())
    ordered = [calls[method] for method in sorted(calls)]

    def ask(data: bytes) -> bytes:
        if not data:
            raise RescindError("empty")
        return ordered[data[0] % len(ordered)].reply(caller, data[1:])

    texts = [
        text
        for method in described.methods
        for text in (b"", _sample(method.input_type).SerializeToString())
    ]
    seeds = [bytes([n]) + text for n in range(len(ordered)) for text in texts]
    return Target(name, [seed for seed in seeds if _accepted(ask, seed)], ask)


def _accepted(ask: Any, data: bytes) -> bool:
    try:
        ask(data)
    except RescindError:
        return False
    return True


def _sample(kind: Any) -> Message:
    """Return a message with a plausible value in each field."""
    message: Any = GetMessageClass(kind)()
    for field in kind.fields:
        if field.message_type is not None:
            getattr(message, field.name).CopyFrom(_sample(field.message_type))
            continue
        value: Any = {field.TYPE_BYTES: _ID, field.TYPE_STRING: "note"}.get(field.type, 1)
        if isinstance(getattr(message, field.name), bytes | str | int):
            setattr(message, field.name, value)
        else:
            getattr(message, field.name).append(value)
    return message
