"""Proofs and signed statements: a changed one must not say anything else."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from types import SimpleNamespace
from typing import Any

from eth_hash.auto import keccak
from pydantic import ValidationError

from rescind.contracts import Account
from rescind.core.canonical_json import canonical_json
from rescind.core.errors import RescindError
from rescind.core.json_text import parse_json
from rescind.ledger import Checkpoint, Disclosure, Manifest
from rescind.ledger.disclosure import parse
from rescind.ledger.manifest import ManifestProof, check
from rescind.ledger.notes import LogKey
from rescind.wire.signing import disclosure_typed_data, recover_signer, sign_typed
from rescind.withdrawals import Attestation, EvidenceDocument, RoundAttestation
from tests.fuzz.statements import DEPLOYMENT, evidence
from tests.fuzz.target import Target
from tests.ledger.fuzz import targets as of_ledger

NAMES = ("Ada Novak", "nobody")


def targets() -> Iterator[Target]:
    for each in of_ledger():
        name = each.name.replace(", ", "-").replace(" ", "-")
        ask = _of_one_log(each.data, each.ask) if name == "disclosure" else each.ask
        yield Target(name, [each.data], ask, proves=True)
    yield from _manifest()
    yield _cosignature()
    yield from _attestations()
    yield _signature()


def _of_one_log(seed: bytes, ask: Callable[[bytes], Any]) -> Callable[[bytes], Any]:
    """Refuse disclosures of other logs, as the anchor does: a corpus holds those of earlier runs."""
    key = parse(seed).key

    def asked(data: bytes) -> Any:
        disclosure = parse(data)
        if not isinstance(disclosure, Disclosure) or disclosure.key != key:
            raise RescindError("it is of another log")
        return ask(data)

    return asked


def _manifest() -> Iterator[Target]:
    manifest = Manifest.of([("Ada Novak", b"a"), ("Bo Lind", b"b"), ("Bo Lind", b"c")], bytes(32))
    commitment = manifest.commitment

    def proven(data: bytes) -> Any:
        proof = ManifestProof.from_json(_object(data))
        # One commitment must support one answer: a proof for a name that does not belong to it
        # fails, and so each accepted proof is about exactly one of the names.
        answers = {}
        for name in NAMES:
            try:
                answers[name] = check(commitment, proof, name)
            except RescindError:
                continue
        if not answers:
            raise RescindError("the proof is about neither name")
        return answers

    seeds = [canonical_json(manifest.prove(name).to_json()) for name in NAMES]
    yield Target("manifest-proof", seeds, proven, proves=True)

    def rebuilt(data: bytes) -> bytes:
        return Manifest.from_json(_object(data)).commitment

    seeds = [canonical_json(manifest.to_json())]
    yield Target("manifest", seeds, rebuilt)


def _cosignature() -> Target:
    """A checkpoint with a witness's line."""
    key = _log_key()
    note = key.checkpoint(3, bytes(32))
    witness = Account.from_key(bytes(31) + b"\x07")
    cosigner = _log_key(bytes(witness.key))
    signed = note.with_signatures([cosigner.cosign(note, 1_700_000_000)])

    def ask(data: bytes) -> Any:
        checkpoint = Checkpoint.parse(_text(data))
        checkpoint.check_signed(key.verifier())
        time = checkpoint.cosigned_at(cosigner.witness())
        return checkpoint.origin, checkpoint.size, checkpoint.root, time

    return Target("cosignature", [str(signed).encode()], ask, proves=True)


def _attestations() -> Iterator[Target]:
    auditor = Account.from_key(bytes(31) + b"\x05")
    document = evidence()
    reader: Any = SimpleNamespace(
        deployment=DEPLOYMENT,
        auditors=lambda: [auditor.address],
        round_attestation_hash=_round_hash,
    )
    signed = Attestation.sign(document, DEPLOYMENT, auditor)
    round_ = RoundAttestation.sign(reader, 3, "ab" * 32, auditor)

    def of_withdrawal(data: bytes) -> Any:
        attestation = _model(Attestation, data)
        attestation.check(document, reader)
        return attestation

    def of_round(data: bytes) -> Any:
        attestation = _model(RoundAttestation, data)
        attestation.check("ab" * 32, reader)
        return attestation

    for name, statement, ask in (
        ("attestation", signed, of_withdrawal),
        ("round-attestation", round_, of_round),
    ):
        yield Target(name, [canonical_json(statement.model_dump(mode="json"))], ask, proves=True)
    yield Target(
        "evidence",
        [document.canonical_bytes()],
        EvidenceDocument.parse,
        canonical=lambda found: found.canonical_bytes(),
    )


def _signature() -> Target:
    """A signature of an auditor's question; another signer's is another statement, not a crash."""
    auditor = Account.from_key(bytes(31) + b"\x05")
    document = disclosure_typed_data(
        chain_id=1,
        rounds_address=DEPLOYMENT.rounds,
        organization=auditor.address,
        index=3,
        time=1_700_000_000,
        certificate="ab" * 32,
    )

    def ask(data: bytes) -> str:
        signer = recover_signer(document, data)
        if signer != auditor.address:
            raise RescindError("somebody else signed")
        return signer

    return Target("signature", [sign_typed(document, auditor.key)], ask, proves=True)


def _round_hash(round_id: int, digest: str) -> bytes:
    return bytes(keccak(f"{round_id}|{digest}".encode()))


def _model(kind: Any, data: bytes) -> Any:
    try:
        return kind.model_validate_json(data)
    except ValidationError as error:
        raise RescindError("not such a statement") from error


def _object(data: bytes) -> Any:
    try:
        document = parse_json(data)
    except ValueError as error:
        raise RescindError("not JSON") from error
    return document


def _text(data: bytes) -> str:
    return data.decode(errors="replace")


def _log_key(seed: bytes = bytes(32)) -> LogKey:
    return LogKey("organization", seed)
