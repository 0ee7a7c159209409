"""Certificates of daemons: checked at the start, warned of, and renewed before their end."""

import threading
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from rescind.aggregator import AggregatorConfig, open_aggregator
from rescind.daemon import CertificateWatch, certificate_status, check_certificates
from rescind.node import NodeConfig, open_session
from rescind.wire import (
    CertificateAuthority,
    CertificateExpired,
    CertificateProblem,
    Enrolment,
    TlsFiles,
)
from tests.wire.identities import Dated, days, enrolled


def identity(folder: Path, tls: TlsFiles) -> dict[str, object]:
    return {
        "keystore": folder / "keystore.json",
        "password_file": folder / "password",
        "tls_key": tls.key,
        "tls_certificate": tls.certificate,
        "ca_certificate": tls.authority,
    }


CHAIN = {"rpc_url": "http://127.0.0.1:1", "chain_id": 31337, "contracts": Path("contracts.json")}


def node_config(folder: Path, tls: TlsFiles) -> NodeConfig:
    return NodeConfig.model_validate(
        {
            "node": {"name": "a", "state_dir": folder / "state", "data": folder / "data.jsonl"},
            "chain": CHAIN,
            "identity": identity(folder, tls),
            "aggregator": {"address": "localhost:1"},
            "model": {"path": "model"},
            "ledger": {"dir": folder / "ledger"},
        }
    )


def aggregator_config(folder: Path, tls: TlsFiles) -> AggregatorConfig:
    section = {
        "listen": "127.0.0.1:1",
        "state_dir": folder / "state",
        "store": str(folder / "store"),
        "parameters": folder / "parameters.json",
        "rounds": 1,
    }
    return AggregatorConfig.model_validate(
        {"aggregator": section, "chain": CHAIN, "identity": identity(folder, tls)}
    )


def test_no_daemon_starts_with_an_expired_certificate(tmp_path: Path) -> None:
    tls = Dated(tmp_path, days(-900, 900)).identity("node", days(-90, -1))
    with (
        pytest.raises(CertificateExpired, match=r"expired on .* rescind org renew"),
        open_session(node_config(tmp_path, tls), threading.Event()),
    ):
        pass
    with pytest.raises(CertificateExpired), open_aggregator(aggregator_config(tmp_path, tls)):
        pass


def test_an_aggregator_does_not_start_with_a_callers_certificate(tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path / "ca", "authority")
    tls = enrolled(tmp_path / "tls", authority, hosts=()).tls
    with (
        pytest.raises(CertificateProblem, match="is not for a server"),
        open_aggregator(aggregator_config(tmp_path, tls)),
    ):
        pass
    check_certificates(tls, serves=False)


def test_warnings_are_logged_once_a_day_and_shown_in_the_status(tmp_path: Path) -> None:
    tls = Dated(tmp_path, days(-1, 50)).identity("node", days(-1, 40))
    clock = [0.0]
    watch = CertificateWatch(tls, lambda: None, clock=lambda: clock[0])
    with capture_logs() as logs:
        for hour in range(26):
            clock[0] = 3600.0 * hour
            watch.look()
    reasons = [entry["reason"] for entry in logs]
    assert len(reasons) == 4
    assert "in 39 days" in reasons[0]
    assert "the authority of 'dated authority'" in reasons[1]
    own, authority = certificate_status(tls)
    assert (own["days_left"], own["warning"]) == (39, reasons[0])
    assert authority["warning"] == reasons[1]


def test_the_status_of_an_expired_certificate_says_so(tmp_path: Path) -> None:
    tls = Dated(tmp_path, days(-90, 900)).identity("node", days(-90, -1))
    (status,) = certificate_status(tls)
    assert "expired on" in str(status["warning"])


def test_a_daemon_renews_its_certificate_before_its_end(tmp_path: Path) -> None:
    authority = CertificateAuthority.create(tmp_path / "ca", "authority")
    enrolment = enrolled(tmp_path / "tls", authority)
    renewed = []

    def renew() -> None:
        enrolment.renew()
        enrolment.install()
        renewed.append(True)

    watch = CertificateWatch(enrolment.tls, renew)
    watch.look()
    assert not renewed
    # The organization's certificate lasts, the daemon's ends in 20 days.
    shorten(enrolment)
    watch = CertificateWatch(enrolment.tls, renew)
    with capture_logs() as logs:
        watch.look()
    assert renewed
    assert [entry["event"] for entry in logs] == ["certificate renewed"]
    assert enrolment.tls.check()[0].expires > days(600, 0)[0]


def shorten(enrolment: Enrolment) -> None:
    """Replace the daemon's certificate by one of its organization that ends in 20 days."""
    from cryptography import x509

    from rescind.wire import OrganizationIssuer
    from rescind.wire.authority import build_certificate, pem_of
    from rescind.wire.names import parse_host
    from tests.wire.identities import BOTH

    issuer = OrganizationIssuer.read(
        enrolment.organization_key, enrolment.organization_certificate, "organization certificate"
    )
    present = x509.load_pem_x509_certificate(enrolment.tls.certificate.read_bytes())
    names = x509.SubjectAlternativeName([parse_host("localhost")])
    short = build_certificate(
        present.subject, issuer.certificate.subject, present.public_key(), issuer._key,
        days(-1, 20), [(BOTH, False), (names, False)],
    )  # fmt: skip
    enrolment.tls.certificate.write_bytes(pem_of(short) + issuer.pem)
