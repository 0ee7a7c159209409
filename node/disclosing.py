"""The service of a node's ledger, and its clients.

Auditors see one record at a time, and each disclosure is a record itself. Other organizations have
their checkpoints cosigned.
"""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import structlog

from rescind.contracts import Account, Consortium, ConsortiumReader, Event, MemberStatus
from rescind.core import make_private_folder, write_private
from rescind.core.errors import LedgerError, RescindError
from rescind.daemon import (
    ServerCheck,
    certificate_owners,
    check_active_member,
    organization_check,
)
from rescind.ledger import (
    Anchored,
    Checkpoint,
    CheckpointRefused,
    Disclosure,
    Ledger,
    LogKey,
    RecordShredded,
    Verifier,
    Witness,
)
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
"""Most seconds between the time of a question and the chain's, to limit replays of old ones."""


class LedgerService:
    """The handler of the ledger's gRPC service.

    It takes one call at a time: a witness must not compare two checkpoints of a log at once.
    """

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
        """Return the newest checkpoint and the ledger's verifier key, as text."""
        ledger = self._session.ledger
        return str(ledger.checkpoint()), str(ledger.key.verifier())

    def disclose(self, question: DisclosureRequest) -> bytes:
        """Return a record with its proof, as JSON, and record the disclosure.

        Raises:
            NotAnAuditor: The signer is not an auditor, or the question is too old or too new.
            NotDisclosed: The record may not be shown, is not there, or is not anchored yet.
        """
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

    def _auditor(self, question: DisclosureRequest) -> str:
        """Return the auditor that signed the question."""
        session = self._session
        chain = session.consortium.chain
        latest, now = chain.latest().time, chain.now()
        # Where blocks come rarely, the auditor may count from the latest block's time on.
        if not latest - _CLOCK_SECONDS <= question.time <= now + _CLOCK_SECONDS:
            raise NotAnAuditor(
                f"the question has time {question.time}, but the chain's latest block {latest} and "
                f"its time now is {now}: more than {_CLOCK_SECONDS} s apart. Check that your "
                "endpoint follows the same chain, and ask again."
            )
        signer = recover_signer(
            _asked(session.consortium, session.me, question), question.signature
        )
        if signer not in session.consortium.auditors():
            raise NotAnAuditor(f"{signer} is not an auditor on chain")
        return signer

    def _document(self, index: int) -> bytes:
        """Return a record with its proof, as JSON."""
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
            raise NotDisclosed(
                f"record {index} is not anchored yet. Ask again after the next anchor."
            )
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

    def seen(self, certificate: bytes, key: str) -> int:
        """Return the size of the newest checkpoint of a log that this node cosigned; 0 for none."""
        with self._lock:
            self._member(certificate)
            return self._witness.seen(Verifier.parse(key))[0]

    def cosign(self, certificate: bytes, asked: CosignatureRequest) -> tuple[str, str]:
        """Cosign another organization's checkpoint.

        Returns:
            The signature line, and this witness's verifier key.

        Raises:
            NotAMember: The caller's certificate is not a member's.
            NoteInvalid: The note or its signature is malformed.
            CheckpointRefused: It does not continue the checkpoint that was cosigned last.
        """
        with self._lock:
            organization = self._member(certificate)
            note, key = Checkpoint.parse(asked.note), Verifier.parse(asked.key)
            signature = self._witness.cosign(note, key, asked.old_size, asked.proof, organization)
            structlog.get_logger().info("cosigned", organization=organization, size=note.size)
            return signature.line(), str(self._witness.key.witness())

    def _member(self, certificate: bytes) -> str:
        """Return the active member that a certificate (PEM) belongs to."""
        consortium = self._session.consortium
        for owner in certificate_owners(consortium, certificate):
            status = consortium.member(owner).status
            if status is MemberStatus.ACTIVE:
                return owner
            raise NotAMember(f"{owner} is {status.value}, and only active members are served")
        raise NotAMember(
            f"the certificate with fingerprint {fingerprint(certificate)} does not belong to a member"
        )


def _anchor_of(session: Session, index: int) -> tuple[int, Event] | None:
    """Return the first anchor of this ledger that covers a record: its size and event."""
    for event in session.consortium.events():
        if event.name == "Anchored" and event.args["organization"] == session.me:
            size = int(str(event.args["size"]))
            if size > index:
                return size, event
    return None


def _asked(
    consortium: Consortium, organization: str, question: DisclosureRequest
) -> dict[str, object]:
    return disclosure_typed_data(
        chain_id=consortium.deployment.chain_id,
        rounds_address=consortium.deployment.rounds,
        organization=organization,
        index=question.index,
        time=question.time,
        certificate=question.certificate,
    )


@contextmanager
def served(session: Session) -> Iterator[int | None]:
    """Run the ledger's service in the block if it is configured, and yield its port or None."""
    settings = session.config.ledger.serve
    if settings is None:
        yield None
        return
    # At the end, calls in progress get a second to finish.
    tls = session.config.identity.tls
    server = serve_ledger(
        LedgerService(session), settings.listen, tls, reflected=settings.reflection
    )
    try:
        yield server.port
    finally:
        server.stop(1.0)


def ask(
    consortium: Consortium,
    auditor: Account,
    tls: TlsFiles,
    address: str,
    organization: str,
    index: int,
) -> bytes:
    """Ask an organization's node, as an auditor, for a record of its ledger.

    Args:
        consortium: The public record.
        auditor: The account that signs the question.
        tls: Files of the client certificate.
        address: HOST:PORT of the node's service.
        organization: The organization's address.
        index: The record's index.

    Returns:
        The disclosure as JSON. It is not verified.

    Raises:
        NotAnAuditor: The account is not an auditor on chain.
        NotDisclosed: The node does not show this record.
        NodeUnavailable: The node does not answer.
        NotTheOrganization: The server is not the organization's node.
    """
    now = consortium.chain.now()
    question = DisclosureRequest(index, now, b"", fingerprint(tls.read()[1]))
    signature = sign_typed(_asked(consortium, organization, question), auditor.key)
    check = ServerCheck(consortium, organization_check(organization))
    with LedgerClient(address, tls, check=check) as client:
        return client.disclose(index, now, signature)


def have_cosigned(session: Session) -> None:
    """Have the configured witnesses cosign the newest checkpoint, and keep their signatures.

    A witness that does not answer, or refuses, is logged.
    """
    log = structlog.get_logger()
    for address in session.config.ledger.witnesses:
        try:
            note = cosigned(session.consortium, session.ledger, address, session.config)
        except RescindError as error:
            log.error("not cosigned", witness=address, code=error.code, reason=str(error))
            continue
        folder = session.config.node.state_dir / "cosignatures"
        _keep(folder, note)
        log.info("cosigned", witness=address, size=note.size)


def cosigned(
    reader: ConsortiumReader, ledger: Ledger, address: str, config: NodeConfig
) -> Checkpoint:
    """Return the newest checkpoint with the verified cosignature of a witness, an active member.

    Args:
        reader: The public record.
        ledger: The node's ledger.
        address: HOST:PORT of the witness.
        config: The node's TOML file.

    Raises:
        CheckpointRefused: The witness has cosigned a larger checkpoint of this log.
        NodeUnavailable: The witness does not answer.
        NotTheOrganization: It is not the node of an active member.
    """
    note, key = ledger.checkpoint(), ledger.key.verifier()
    check = ServerCheck(reader, check_active_member)
    with LedgerClient(address, config.identity.tls, check=check) as client:
        size = client.seen(str(key))
        if size > note.size:
            raise CheckpointRefused(
                f"{address} has cosigned this log at size {size}, and your ledger has {note.size} "
                "records: it is an older state. Restore a newer one with rescind ledger restore.",
                size,
            )
        proof = ledger.consistency_proof(size, note.size) if 0 < size < note.size else []
        line, witness = client.cosign(str(note), str(key), size, proof)
    cosigned_note = Checkpoint.parse(f"{note}{line}")
    cosigned_note.cosigned_at(Verifier.parse(witness))
    return cosigned_note


def _keep(folder: Path, note: Checkpoint) -> None:
    """Write a cosigned checkpoint, with the signatures that other witnesses gave it before."""
    make_private_folder(folder)
    path = folder / f"{note.size:012d}.txt"
    if path.is_file():
        note = Checkpoint.parse(path.read_text(encoding="utf-8")).with_signatures(
            note.signatures[-1:]
        )
    write_private(path, str(note).encode())
