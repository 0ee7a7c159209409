"""What comes over the wire: messages of both services, certificates, requests; and journal facts."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from rescind.aggregator import facts as of_aggregator
from rescind.core.errors import RescindError
from rescind.core.json_text import parse_json
from rescind.daemon import read_fact
from rescind.node import facts as of_node
from rescind.wire import aggregator_service, fingerprint, ledger_service
from rescind.wire.aggregator_service import AggregatorDescription, ModelFiles
from rescind.wire.calls import calls_of
from rescind.wire.generated import rescind_pb2 as pb
from rescind.wire.signing_requests import SigningRequest, signing_request
from rescind.wire.transfer import ChunkList, split
from tests.fuzz.target import Target

_DATA = b"an artifact"
_CHUNKS, _ = split(_DATA)
_ID = sha256(_DATA).digest()


class _Handler:
    """Replies to everything: what is fuzzed is how messages are read, before any handler."""

    max_artifact_bytes = 2**30

    def __getattr__(self, name: str) -> Any:
        replies: dict[str, Any] = {
            "describe": AggregatorDescription("ab" * 32, 1, "0x" + "ab" * 20, ModelFiles()),
            "missing": [],
            "fisher": "ab" * 32,
            "model": ModelFiles(),
            "replay_start": ModelFiles(),
            "round_sums": [],
            "replay_sums": [],
            "wanted": [],
            "chunk_list": _CHUNKS,
            "chunk": _DATA,
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
    yield Target("chunk-list", [_CHUNKS.to_wire().SerializeToString()], _chunk_list)
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

    manifest = _CHUNKS.to_wire()
    messages = [
        manifest,
        pb.ChunkId(chunk_id=_ID),
        pb.Chunk(chunk_id=_ID, data=_DATA),
        pb.SignedUpdate(round_id=1, manifest=manifest, nonce=2, signature=bytes(65)),
        pb.SignedOffer(offer_id=1, round_id=1, manifest=manifest, report=b"{}", signature=b"s"),
        pb.ModelId(model_id=3),
        pb.DisclosureRequest(index=1, time=2, signature=bytes(65)),
        pb.CosignRequest(note="note", key="key", old_size=1, proof=[_ID]),
    ]
    texts = [message.SerializeToString() for message in messages]
    seeds = [bytes([n]) + text for n in range(len(ordered)) for text in texts]
    return Target(name, [seed for seed in seeds if _accepted(ask, seed)], ask)


def _accepted(ask: Any, data: bytes) -> bool:
    try:
        ask(data)
    except RescindError:
        return False
    return True


def _chunk_list(data: bytes) -> ChunkList:
    try:
        message = pb.Manifest.FromString(data)
    except Exception as error:  # protobuf's own error, which the server translates
        raise RescindError("no message") from error
    chunk_list = ChunkList.from_wire(message, max_bytes=2**30)
    assert ChunkList.from_wire(chunk_list.to_wire(), max_bytes=2**30) == chunk_list
    return chunk_list


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
        for module in (of_node, of_aggregator)
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
