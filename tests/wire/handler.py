"""An aggregator's side of the wire, in memory, and its server."""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

from rescind.wire import (
    MOST_PIECE_BYTES,
    Admission,
    AggregatorClient,
    AggregatorDescription,
    CertificateAuthority,
    ModelFiles,
    NotAMember,
    NotHeld,
    NotPublished,
    RunningServer,
    SizedArtifact,
    SubmittedUpdate,
    TlsFiles,
    fingerprint,
    new_key,
    signing_request,
)

ORGANIZATION = "0x" + "11" * 20


def identity(folder: Path, authority: CertificateAuthority, name: str) -> TlsFiles:
    request = signing_request(new_key(folder / "key.pem"), name, ["localhost", "127.0.0.1"])
    (folder / "certificate.pem").write_bytes(authority.issue(request))
    (folder / "authority.pem").write_bytes(authority.pem)
    return TlsFiles(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")


@dataclass
class MembersOnly:
    """Admits the holders of certificates by fingerprint, and describes itself."""

    members: dict[str, str]

    def admit(self, certificate: bytes) -> Admission:
        name = fingerprint(certificate)
        if name not in self.members:
            raise NotAMember(f"{name} does not belong to a member")
        return Admission(self.members[name])

    def describe(self) -> AggregatorDescription:
        return AggregatorDescription("aa" * 32, 31337, ORGANIZATION, ModelFiles())


@dataclass
class Handler(MembersOnly):
    max_artifact_bytes: int = 3 * MOST_PIECE_BYTES
    uploads: dict[str, bytes] = field(default_factory=dict)
    pieces: list[tuple[int, int]] = field(default_factory=list)
    copied: list[tuple[int, int]] = field(default_factory=list)
    served: list[tuple[int, int]] = field(default_factory=list)
    lock: threading.Lock = field(default_factory=threading.Lock)
    published: dict[str, bytes] = field(default_factory=dict)
    submitted: list[SubmittedUpdate] = field(default_factory=list)
    handed_over: list[str] = field(default_factory=list)

    def model(self, organization: str, model_id: int) -> ModelFiles:
        return ModelFiles(model_id, "bb" * 32, "cc" * 32)

    def wanted(self, organization: str) -> Sequence[str]:
        return ["dd" * 32]

    def hand_over(self, organization: str, artifact: SizedArtifact) -> None:
        self.handed_over.append(artifact.artifact_id)

    def begin_upload(self, organization: str, artifact: SizedArtifact) -> int:
        return len(self.uploads.setdefault(artifact.artifact_id, b""))

    def put_piece(self, organization: str, artifact_id: str, offset: int, data: bytes) -> int:
        with self.lock:
            held = self.uploads[artifact_id]
            # A piece that overtook another is dropped, as the aggregator may do.
            if offset == len(held):
                self.pieces.append((offset, len(data)))
                self.uploads[artifact_id] = held + data
            return len(self.uploads[artifact_id])

    def copy_piece(
        self, organization: str, artifact_id: str, source_id: str, offset: int, length: int
    ) -> int:
        if source_id not in self.uploads:
            raise NotHeld(f"artifact {source_id} is not kept here")
        self.copied.append((offset, length))
        data = self.uploads[source_id][offset : offset + length]
        if len(self.uploads[artifact_id]) == offset:
            self.uploads[artifact_id] += data
        return len(self.uploads[artifact_id])

    def submit(self, organization: str, update: SubmittedUpdate) -> None:
        if update.nonce == 13:
            raise ZeroDivisionError("a secret of the server")
        self.submitted.append(update)

    def piece(
        self, organization: str, artifact_id: str, offset: int, length: int
    ) -> tuple[bytes, int]:
        if artifact_id not in self.published:
            raise NotPublished(f"artifact {artifact_id} is not published to members")
        data = self.published[artifact_id]
        self.served.append((offset, length))
        return data[offset : offset + length], len(data)


@dataclass
class Wire:
    handler: Handler
    address: str
    tls: TlsFiles
    authority: CertificateAuthority
    folder: Path
    server: RunningServer
    server_tls: TlsFiles

    def client(self, tls: TlsFiles | None = None) -> AggregatorClient:
        return AggregatorClient(self.address, tls or self.tls, patience=1.0)
