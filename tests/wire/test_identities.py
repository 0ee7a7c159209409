"""Real servers and clients: who is trusted, and how certificates and authorities change under them."""

import datetime
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from rescind.core.errors import WireError
from rescind.wire import (
    MOST_PIECE_BYTES,
    Admission,
    AggregatorClient,
    AggregatorUnavailable,
    CertificateAuthority,
    CosignatureRequest,
    DisclosureRequest,
    Enrolment,
    LedgerClient,
    NotAMember,
    RunningServer,
    TlsFiles,
    fingerprint,
    serve,
    serve_ledger,
)
from tests.wire.handler import Handler
from tests.wire.identities import Dated, days, enrolled


class Replaced(WireError):
    """The server is not the right one any more."""

    code = "replaced"


@dataclass
class Chain:
    """The claims on chain: fingerprint and owner."""

    claims: dict[str, str] = field(default_factory=dict)

    def claim(self, owner: str, tls: TlsFiles) -> None:
        self.claims[fingerprint(tls.read()[1])] = owner

    def check(self, certificate: bytes) -> None:
        if self.claims.get(fingerprint(certificate)) != "aggregator":
            raise Replaced(f"{fingerprint(certificate)} is not the aggregator's")


class Served(Handler):
    """A handler that admits by the claims on chain."""

    def __init__(self, chain: Chain) -> None:
        super().__init__({})
        self.chain = chain

    def admit(self, certificate: bytes) -> Admission:
        owner = self.chain.claims.get(fingerprint(certificate))
        if owner is None:
            raise NotAMember("not on chain")
        return Admission(owner)


@dataclass
class Stage:
    folder: Path
    authority: CertificateAuthority
    chain: Chain
    handler: Served
    aggregator: Enrolment
    node: Enrolment
    server: RunningServer

    def client(self, patience: float = 5.0) -> AggregatorClient:
        return AggregatorClient(
            f"localhost:{self.server.port}",
            self.node.tls,
            patience=patience,
            check=self.chain.check,
        )

    def renewed(self, owner: str, enrolment: Enrolment) -> None:
        """Renew a certificate as a daemon does: stage it, claim it on chain, install it."""
        if not enrolment.is_staged:
            enrolment.renew()
        self.chain.claim(owner, enrolment.staged)
        enrolment.install()


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    authority = CertificateAuthority.create(tmp_path / "ca", "old authority")
    aggregator = enrolled(tmp_path / "aggregator", authority, "aggregator")
    node = enrolled(tmp_path / "node", authority, "hospital", ())
    chain = Chain()
    chain.claim("aggregator", aggregator.tls)
    chain.claim("hospital", node.tls)
    handler = Served(chain)
    server = serve(handler, "127.0.0.1:0", aggregator.tls)
    yield Stage(tmp_path, authority, chain, handler, aggregator, node, server)
    server.stop(0)


@pytest.mark.parametrize("host", ["localhost", "127.0.0.1"])
@pytest.mark.parametrize("daemon", [False, True])
def test_organizations_and_single_daemons_reach_each_other(
    stage: Stage, host: str, daemon: bool
) -> None:
    caller = enrolled(stage.folder / "caller", stage.authority, "clinic", (), daemon=daemon)
    stage.chain.claim("clinic", caller.tls)
    address = f"{host}:{stage.server.port}"
    with AggregatorClient(address, caller.tls, patience=1.0, check=stage.chain.check) as client:
        assert client.describe().chain_id == 31337


def test_an_organization_cannot_certify_the_host_of_another(stage: Stage) -> None:
    from cryptography import x509

    from rescind.wire import OrganizationIssuer
    from rescind.wire.authority import build_certificate, pem_of
    from rescind.wire.keys import generate_key, key_pem
    from rescind.wire.names import subject
    from tests.wire.identities import BOTH

    hostile = enrolled(stage.folder / "hostile", stage.authority, "hostile", ["hostile.example"])
    issuer = OrganizationIssuer.read(
        hostile.organization_key, hostile.organization_certificate, "organization certificate"
    )
    key = generate_key()
    names = x509.SubjectAlternativeName([x509.DNSName("localhost")])
    forged = build_certificate(
        subject("hostile"), issuer.certificate.subject, key.public_key(), issuer._key,
        days(-1, 90), [(BOTH, False), (names, False)],
    )  # fmt: skip
    hostile.tls.key.write_bytes(key_pem(key))
    hostile.tls.certificate.write_bytes(pem_of(forged) + issuer.pem)
    server = serve(stage.handler, "127.0.0.1:0", hostile.tls)
    try:
        for check in (None, lambda _: None):
            address = f"localhost:{server.port}"
            with (
                AggregatorClient(address, stage.node.tls, patience=0.5, check=check) as client,
                pytest.raises(AggregatorUnavailable),
            ):
                client.describe()
    finally:
        server.stop(0)


def test_a_caller_is_not_taken_for_a_server(stage: Stage) -> None:
    server = serve(stage.handler, "127.0.0.1:0", stage.node.tls)
    try:
        address = f"localhost:{server.port}"
        with (
            AggregatorClient(
                address, stage.aggregator.tls, patience=0.5, check=lambda _: None
            ) as client,
            pytest.raises(AggregatorUnavailable),
        ):
            client.describe()
    finally:
        server.stop(0)


def test_a_replaced_aggregator_does_not_get_the_rest_of_an_upload(stage: Stage) -> None:
    data = bytes(16 * MOST_PIECE_BYTES)
    stage.handler.max_artifact_bytes = len(data)
    put = stage.handler.put_piece

    def replaced_meanwhile(organization: str, artifact_id: str, offset: int, piece: bytes) -> int:
        stage.chain.claims[own] = "former aggregator"
        return put(organization, artifact_id, offset, piece)

    own = fingerprint(stage.aggregator.tls.read()[1])
    stage.handler.put_piece = replaced_meanwhile
    with stage.client() as client:
        with pytest.raises(Replaced):
            client.upload(data)
        with pytest.raises(Replaced):
            client.describe()
    # Pieces that were under way arrive, and no others.
    assert 0 < sum(size for _, size in stage.handler.pieces) < len(data) // 2


def test_a_server_takes_up_a_new_certificate_without_a_restart(stage: Stage) -> None:
    with stage.client() as connected:
        assert connected.describe()
        before = fingerprint(stage.aggregator.tls.read()[1])
        stage.renewed("aggregator", stage.aggregator)
        # The open connection goes on while its old certificate is still on chain.
        assert connected.describe()
        with stage.client() as fresh:
            assert fresh.describe()
            assert fingerprint(fresh._server) == fingerprint(stage.aggregator.tls.read()[1])
        # Once it is not, the client connects again, to the new certificate.
        del stage.chain.claims[before]
        with pytest.raises(Replaced):
            connected.describe()
        assert connected.describe()


def test_a_client_takes_up_its_new_certificate_without_a_restart(stage: Stage) -> None:
    with stage.client() as client:
        assert client.describe()
        before = fingerprint(stage.node.tls.read()[1])
        stage.renewed("hospital", stage.node)
        del stage.chain.claims[before]
        assert client.describe()


def test_a_half_replaced_certificate_is_not_taken_up(stage: Stage) -> None:
    with stage.client() as client:
        assert client.describe()
        stage.node.renew()
        stage.aggregator.renew()
        for enrolment in (stage.node, stage.aggregator):
            enrolment.tls.key.write_bytes(enrolment.staged.key.read_bytes())
        assert client.describe()
        with stage.client() as fresh_server:
            stage.renewed("hospital", stage.node)
            assert fresh_server.describe()


def test_the_authority_changes_under_running_servers_and_clients(stage: Stage) -> None:
    new = CertificateAuthority.create(stage.folder / "new", "new authority")
    everyone = (("aggregator", stage.aggregator), ("hospital", stage.node))
    with stage.client() as client:
        # 1. Everyone trusts both authorities.
        for _, enrolment in everyone:
            enrolment.trust(stage.authority.pem + new.pem)
            assert client.describe()
        # 2. One after the other takes a certificate of the new one, and puts it on chain.
        for owner, enrolment in everyone:
            hosts = ["localhost", "127.0.0.1"] if owner == "aggregator" else []
            answer = new.issue(enrolment.request(owner, hosts))
            enrolment.accept(answer)
            stage.renewed(owner, enrolment)
            assert client.describe()
            with stage.client() as fresh:
                assert fresh.describe()
        # 3. No one trusts the old one any more.
        for _, enrolment in everyone:
            enrolment.trust(new.pem)
            with stage.client() as fresh:
                assert fresh.describe()
    late = enrolled(stage.folder / "late", stage.authority, "late", ())
    stage.chain.claim("late", late.tls)
    late.tls.authority.write_bytes(new.pem + stage.authority.pem)
    address = f"localhost:{stage.server.port}"
    with (
        AggregatorClient(address, late.tls, patience=0.5, check=stage.chain.check) as client,
        pytest.raises(AggregatorUnavailable),
    ):
        client.describe()


def test_the_caller_is_told_whose_certificate_expired(tmp_path: Path) -> None:
    dated = Dated(tmp_path, days(-900, 900))
    good, late = dated.identity("good", days(-1, 90)), dated.identity("late", days(-90, -20))
    on = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=20)
    for server_tls, caller, message in (
        (late, good, f"certificate of 'late', which the server .* expired on {on:%Y-%m-%d}"),
        (good, late, f"late/certificate.pem expired on {on:%Y-%m-%d}. Renew it"),
    ):
        server = serve(Served(Chain()), "127.0.0.1:0", server_tls)
        address = f"localhost:{server.port}"
        try:
            with (
                AggregatorClient(address, caller, patience=0.5, check=lambda _: None) as client,
                pytest.raises(AggregatorUnavailable, match=message),
            ):
                client.describe()
        finally:
            server.stop(0)


@dataclass
class Ledger:
    """A ledger's service that notes whether it was called."""

    called: list[str] = field(default_factory=list)

    def checkpoint(self) -> tuple[str, str]:
        self.called.append("checkpoint")
        return "note", "key"

    def disclose(self, question: DisclosureRequest) -> bytes:
        self.called.append("disclose")
        return b"{}"

    def seen(self, certificate: bytes, key: str) -> int:
        return 0

    def cosign(self, certificate: bytes, asked: CosignatureRequest) -> tuple[str, str]:
        return "", ""


def test_the_caller_of_a_ledger_sends_nothing_to_another_organization(stage: Stage) -> None:
    other = enrolled(stage.folder / "other", stage.authority, "other")
    ledger = Ledger()
    server = serve_ledger(ledger, "127.0.0.1:0", other.tls)
    address = f"localhost:{server.port}"
    try:
        with LedgerClient(address, stage.node.tls, check=stage.chain.check) as client:
            with pytest.raises(Replaced):
                client.disclose(0, 0, b"")
            with pytest.raises(Replaced):
                client.seen("key")
            assert ledger.called == []
            stage.chain.claim("aggregator", other.tls)
            assert client.checkpoint() == ("note", "key")
    finally:
        server.stop(0)
