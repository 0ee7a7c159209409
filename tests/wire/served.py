"""A real server of an aggregator, and the certificates of its callers."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import grpc

from rescind.wire import (
    CertificateAuthority,
    Limits,
    ModelFiles,
    TlsFiles,
    fingerprint,
    serve,
)
from tests.wire.handler import MembersOnly, identity

DESCRIBE = "/rescind.v1.Aggregator/Describe"


@dataclass
class Handler(MembersOnly):
    """Answers; for the organization "slow" only once it may go on."""

    max_artifact_bytes: int = 2**22
    may_go_on: threading.Event = field(default_factory=threading.Event)
    begun: threading.Semaphore = field(default_factory=lambda: threading.Semaphore(0))
    asked: list[str] = field(default_factory=list)

    def model(self, organization: str, model_id: int) -> ModelFiles:
        self.asked.append(organization)
        if organization == "slow":
            self.begun.release()
            assert self.may_go_on.wait(60)
        return ModelFiles(model_id, "bb" * 32, "cc" * 32)


@dataclass
class Consortium:
    """An aggregator, two members and a stranger with their certificates."""

    folder: Path
    authority: CertificateAuthority
    handler: Handler
    tls: dict[str, TlsFiles]

    @contextmanager
    def serving(self, limits: Limits | None = None, *, reflected: bool = False) -> Iterator[int]:
        """Serve, and yield the port."""
        server = serve(
            self.handler,
            "127.0.0.1:0",
            self.tls["aggregator"],
            limits=limits,
            reflected=reflected,
        )
        try:
            yield server.port
        finally:
            self.handler.may_go_on.set()
            server.stop(0)


def made_consortium(tmp_path: Path) -> Consortium:
    authority = CertificateAuthority.create(tmp_path / "ca", "test authority")
    names = ("aggregator", "member", "slow", "stranger")
    tls = {name: identity(tmp_path / name, authority, name) for name in names}
    members = {fingerprint(tls[n].certificate.read_bytes()): n for n in ("member", "slow")}
    return Consortium(tmp_path, authority, Handler(members), tls)


@contextmanager
def channel(port: int, tls: TlsFiles) -> Iterator[grpc.Channel]:
    """Open a channel of its own connections."""
    key, certificate, authority = tls.read()
    credentials = grpc.ssl_channel_credentials(authority, key, certificate)
    # As callers on several machines have.
    options = [("grpc.use_local_subchannel_pool", 1)]
    with grpc.secure_channel(f"localhost:{port}", credentials, options) as opened:
        yield opened
