"""What comes over the wire: messages of both services, certificates, requests; and journal facts."""

from __future__ import annotations

import dataclasses
import json
from collections.abc import Iterator, Sequence
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from google.protobuf.message import Message
from google.protobuf.message_factory import GetMessageClass

from rescind.aggregator import facts as of_aggregator
from rescind.aggregator import withdrawal_facts as withdrawals_of_aggregator
from rescind.contracts import Chain, ConsortiumReader
from rescind.core.errors import RescindError
from rescind.core.json_text import parse_json
from rescind.daemon import read_fact
from rescind.node import facts as of_node
from rescind.node import withdrawal_facts as withdrawals_of_node
from rescind.wire import aggregator_service, fingerprint, ledger_service
from rescind.wire.aggregator_service import AggregatorDescription, ModelFiles
from rescind.wire.calls import calls_of
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.signing_requests import SigningRequest, signing_request
from tests.contracts.providers import Time
from tests.fuzz.statements import DEPLOYMENT
from tests.fuzz.target import Target

_FACTS = (of_node, withdrawals_of_node, of_aggregator, withdrawals_of_aggregator)
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
    caller = _certificate(ec.derive_private_key(7, ec.SECP256R1()))
    yield _service("aggregator-messages", "Aggregator", aggregator_service, "0x" + "ab" * 20)
    yield _service("ledger-messages", "Ledger", ledger_service, caller)
    yield _node_answers()
    yield from _identity()
    yield from _facts()


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


class _Answered:
    """A node that answers every request with the same document."""

    def __init__(self, document: Any) -> None:
        self._document = document

    def send(self, _: str, __: Sequence[Any]) -> Any:
        return self._document


def _node_answers() -> Target:
    """What an Ethereum node answers, read as several things."""

    def ask(data: bytes) -> list[Any]:
        try:
            document = parse_json(data)
        except ValueError as error:
            raise RescindError("the transport refuses it") from error
        chain = Chain("http://127.0.0.1:1", transport=_Answered(document))
        chain.rpc.waiting = Time().waiting()
        reader = ConsortiumReader(chain, DEPLOYMENT)
        found = []
        for question in (
            chain.check,
            chain.now,
            chain.final_block_number,
            lambda: chain.code("0x" + "ab" * 20),
            lambda: chain.block_hash(1),
            lambda: chain.logs(["0x" + "ab" * 20], 1, 1),
            reader.settings,
            reader.auditors,
            reader.latest_model_id,
            lambda: reader.model(1),
            lambda: list(reader.events()),
        ):
            try:
                found.append(question())
            except RescindError:
                continue
        if not found:
            raise RescindError("it is no answer to any question")
        return found

    block = {
        "number": "0x1",
        "hash": "0x" + "ab" * 32,
        "parentHash": "0x" + "ab" * 32,
        "timestamp": "0x5",
    }
    log = {
        "address": DEPLOYMENT.members,
        "topics": ["0x" + "ab" * 32],
        "data": "0x",
        "blockNumber": "0x1",
        "blockHash": "0x" + "ab" * 32,
        "logIndex": "0x0",
        "transactionHash": "0x" + "ab" * 32,
    }
    results: list[Any] = ["0x" + "00" * 31 + "01", "0x1", block, [log], "0x" + "00" * 64]
    seeds = [{"jsonrpc": "2.0", "id": 1, "result": result} for result in results]
    return Target("node-answers", [json.dumps(each).encode() for each in seeds], ask)


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


def _identity() -> Iterator[Target]:
    key = ec.derive_private_key(7, ec.SECP256R1())
    requests = [signing_request(key, "hospital", hosts) for hosts in (["node.example"], ["::1"])]
    der = [_der(request) for request in requests]
    yield Target("signing-request", [*requests, *der], SigningRequest.parse)
    yield Target("fingerprint", [_certificate(key)], fingerprint)


def _der(request: bytes) -> bytes:
    from cryptography import x509

    parsed = x509.load_pem_x509_csr(request)
    return parsed.public_bytes(serialization.Encoding.DER)


def _certificate(key: ec.EllipticCurvePrivateKey) -> bytes:
    from datetime import UTC, datetime

    from cryptography import x509
    from cryptography.hazmat.primitives import hashes

    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "hospital")])
    builder = x509.CertificateBuilder(name, name, key.public_key(), 7)
    builder = builder.not_valid_before(datetime(2026, 1, 1, tzinfo=UTC))
    builder = builder.not_valid_after(datetime(2030, 1, 1, tzinfo=UTC))
    return builder.sign(key, hashes.SHA256()).public_bytes(serialization.Encoding.PEM)


def _facts() -> Iterator[Target]:
    """Every fact of both journals, tried on each value."""
    kinds = [
        kind
        for module in _FACTS
        for kind in vars(module).values()
        if dataclasses.is_dataclass(kind) and getattr(kind, "__module__", "") == module.__name__
    ]
    assert len(kinds) > 10

    def ask(data: bytes) -> list[Any]:
        try:
            value = parse_json(data)
        except ValueError as error:
            raise RescindError("not JSON") from error
        found = []
        for kind in kinds:
            try:
                found.append(read_fact(kind, value))
            except RescindError:
                continue
        if not found:
            raise RescindError("no fact")
        return found

    seed = b'{"model_id": 1, "adapter_id": "ab", "opening_id": "cd", "left_out": [], "commitments": []}'
    yield Target("journal-facts", [seed, b"{}"], ask)
