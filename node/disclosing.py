"""What a node tells others of its ledger, and cosigns of theirs: auditors see one record at a time, and each
time is a record itself."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from rescind.contracts import Account, Consortium, Event
from rescind.core.errors import LedgerError, RescindError
from rescind.ledger import Ledger, RecordShredded
from rescind.ledger.disclosure import Anchored, Disclosure
from rescind.ledger.notes import Checkpoint, LogKey, Verifier
from rescind.ledger.witness import CheckpointRefused, Witness
from rescind.node.config import NodeConfig
from rescind.node.session import Session
from rescind.wire import (
    CosignatureRequest,
    DisclosureRequest,
    LedgerClient,
    NotAMember,
    NotAnAuditor,
    NotDisclosed,
    TlsFiles,
    disclosure_typed_data,
    fingerprint,
    recover_signer,
    serve_ledger,
    sign_typed,
)

_CLOCK_SECONDS = 300
"""How far the clocks of an auditor and of the chain may be apart."""


class LedgerService:
    """Answers the wire. One call at a time: a witness must not see two checkpoints at once."""

    def __init__(self, session: Session) -> None:
        self._session, self._lock = session, threading.Lock()
        settings = session.config.ledger.serve
        assert settings is not None
        self._shown = frozenset(settings.disclose)
        seed = session.ledger.keyring.secrets.signing
        self._witness = Witness(
            LogKey(f"rescind.witness/{session.me}", seed),
            session.config.node.state_dir / "cosigned",
            clock=lambda: float(session.consortium.chain.now()),
        )

    def checkpoint(self) -> tuple[str, str]:
        ledger = self._session.ledger
        return str(ledger.checkpoint()), str(ledger.key.verifier())

    def disclose(self, question: DisclosureRequest) -> bytes:
        """Raises NotAnAuditor, NotDisclosed, and LedgerError for a record that is not there."""
        with self._lock:
            session = self._session
            auditor = self._auditor(question)
            document = self._document(question.index)
            session.ledger.append(
                "disclosure",
                {"to": auditor, "record": question.index, "asked_at": question.time},
                key=f"disclosure/{auditor}/{question.index}/{question.time}",
            )
            return document

    def _auditor(self, it: DisclosureRequest) -> str:
        session = self._session
        now = session.consortium.chain.now()
        if abs(now - it.time) > _CLOCK_SECONDS:
            raise NotAnAuditor(
                f"the question is of {it.time}, it is {now}: more than {_CLOCK_SECONDS} s apart"
            )
        signer = recover_signer(_asked(session.consortium, session.me, it), it.signature)
        if signer not in session.consortium.auditors():
            raise NotAnAuditor(f"{signer} is no auditor on chain")
        return signer

    def _document(self, index: int) -> bytes:
        session = self._session
        try:
            record = session.ledger.record(index)
        except RecordShredded as error:
            raise NotDisclosed(str(error)) from error
        except LedgerError as error:
            raise NotDisclosed(f"there is no record {index}") from error
        if record.type not in self._shown:
            raise NotDisclosed(f"records of type {record.type} are not shown over the wire")
        anchored = _anchor_of(session, index)
        if anchored is None:
            raise NotDisclosed(f"record {index} is in no anchor yet: ask again after the next one")
        size, event = anchored
        consortium = session.consortium
        where = Anchored(
            consortium.deployment.model_dump(),
            consortium.chain.block_hash(consortium.deployment.block),
            session.me,
            event.tx_hash,
        )
        ledger = session.ledger
        shown = Disclosure.of(ledger.prove(index, size), ledger.key.verifier(), where)
        return json.dumps(shown.to_json(), indent=2).encode()

    def seen(self, certificate: str, key: str) -> int:
        with self._lock:
            self._member(certificate)
            return self._witness.seen(Verifier.parse(key))[0]

    def cosign(self, certificate: str, asked: CosignatureRequest) -> tuple[str, str]:
        """Raises NotAMember, NoteInvalid, CheckpointRefused."""
        with self._lock:
            who = self._member(certificate)
            note, key = Checkpoint.parse(asked.note), Verifier.parse(asked.key)
            signature = self._witness.cosign(note, key, asked.old_size, asked.proof)
            structlog.get_logger().info("cosigned", organization=who, size=note.size)
            return signature.line(), str(self._witness.key.witness())

    def _member(self, certificate: str) -> str:
        found = self._session.consortium.organization_of(certificate)
        if found is None:
            raise NotAMember(f"the certificate with fingerprint {certificate} is of no member")
        return found


def _anchor_of(session: Session, index: int) -> tuple[int, Event] | None:
    """The first anchor of one's ledger that covers a record."""
    for event in session.consortium.events():
        if event.name == "Anchored" and event.args["organization"] == session.me:
            size = int(str(event.args["size"]))
            if size > index:
                return size, event
    return None


def _asked(consortium: Consortium, organization: str, it: DisclosureRequest) -> dict[str, object]:
    return disclosure_typed_data(
        chain_id=consortium.deployment.chain_id,
        rounds_address=consortium.deployment.rounds,
        organization=organization,
        index=it.index,
        time=it.time,
        certificate=it.certificate,
    )


@contextmanager
def served(session: Session) -> Iterator[int | None]:
    """The ledger's service while the block runs, where it is configured; its port."""
    settings = session.config.ledger.serve
    if settings is None:
        yield None
        return
    server, port = serve_ledger(
        LedgerService(session), settings.listen, session.config.identity.tls
    )
    try:
        yield port
    finally:
        server.stop(1.0).wait()


def ask(
    consortium: Consortium,
    auditor: Account,
    tls: TlsFiles,
    address: str,
    organization: str,
    index: int,
) -> bytes:
    """As an auditor, ask an organization's node for a record of its ledger; what it answers is not checked.
    Raises NotAnAuditor, NotDisclosed, NodeUnavailable."""
    now = consortium.chain.now()
    question = DisclosureRequest(index, now, b"", fingerprint(tls.read()[1]))
    signature = sign_typed(_asked(consortium, organization, question), auditor.key)
    with LedgerClient(address, tls) as client:
        return client.disclose(index, now, signature)


def have_cosigned(session: Session) -> None:
    """Show the newest checkpoint to the configured witnesses, and keep what they sign. A witness that does
    not answer, or refuses, is logged."""
    log = structlog.get_logger()
    for address in session.config.ledger.witnesses:
        try:
            note = cosigned(session.ledger, address, session.config)
        except RescindError as error:
            log.error("not cosigned", witness=address, code=error.code, reason=str(error))
            continue
        folder = session.config.node.state_dir / "cosignatures"
        _keep(folder, note)
        log.info("cosigned", witness=address, size=note.size)


def cosigned(ledger: Ledger, address: str, config: NodeConfig) -> Checkpoint:
    """The newest checkpoint with one more signature, that of the node at `address`, checked."""
    note, key = ledger.checkpoint(), ledger.key.verifier()
    with LedgerClient(address, config.identity.tls) as client:
        size = client.seen(str(key))
        if size > note.size:
            raise CheckpointRefused(
                f"{address} cosigned this log at size {size}, and it has {note.size} records: it is an "
                "older state",
                size,
            )
        proof = ledger.consistency_proof(size, note.size) if 0 < size < note.size else []
        line, witness = client.cosign(str(note), str(key), size, proof)
    found = Checkpoint.parse(f"{note}{line}")
    found.cosigned_at(Verifier.parse(witness))
    return found


def _keep(folder: Path, note: Checkpoint) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / f"{note.size:012d}.txt"
    if path.is_file():
        note = Checkpoint.parse(path.read_text(encoding="utf-8")).with_signatures(
            note.signatures[-1:]
        )
    path.write_text(str(note), encoding="utf-8")
