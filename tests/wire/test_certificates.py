"""Requests, the authority, and how long certificates last. No test needs another clock."""

import base64
import datetime
import os
import subprocess
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import serialization
from cryptography.x509.oid import ExtendedKeyUsageOID

from rescind.wire import (
    CertificateAuthority,
    CertificateExpired,
    CertificateProblem,
    Enrolment,
    Holder,
    SigningRequest,
    TlsFiles,
    fingerprint,
    is_signed_by,
    sign_with_key,
    signing_request,
)
from rescind.wire.keys import generate_key
from rescind.wire.names import common_name, parse_host, target
from rescind.wire.validity import is_issued_by, read_certificates
from tests.wire.identities import Dated, days, enrolled


@pytest.fixture
def authority(tmp_path: Path) -> CertificateAuthority:
    return CertificateAuthority.create(tmp_path / "ca", "test authority")


def openssl(folder: Path, *words: str) -> None:
    subprocess.run(["openssl", *words], check=True, cwd=folder, capture_output=True)


def request_of_openssl(
    folder: Path, *algorithm: str, names: str = "", subject: str = "/CN=clinic", der: bool = False
) -> bytes:
    """Return the request that openssl makes, with a new key of an algorithm."""
    openssl(folder, "genpkey", *algorithm, "-out", "other.key")
    extra = ["-addext", f"subjectAltName={names}"] if names else []
    form = ["-outform", "DER"] if der else []
    openssl(
        folder, "req", "-new", "-utf8", "-key", "other.key", "-subj", subject, "-out", "other.csr",
        *extra, *form,
    )  # fmt: skip
    return (folder / "other.csr").read_bytes()


P256 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-256")
P384 = ("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:P-384")
RSA = ("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:2048")


def usages(pem: bytes) -> set[x509.ObjectIdentifier]:
    certificate = x509.load_pem_x509_certificate(pem)
    return set(certificate.extensions.get_extension_for_class(x509.ExtendedKeyUsage).value)


def test_only_a_holder_with_hosts_is_certified_as_a_server(authority: CertificateAuthority) -> None:
    key = generate_key()
    caller = usages(authority.issue(signing_request(key, "node")))
    server = usages(authority.issue(signing_request(key, "node", ["node.example"])))
    assert caller == {ExtendedKeyUsageOID.CLIENT_AUTH}
    assert server == {ExtendedKeyUsageOID.CLIENT_AUTH, ExtendedKeyUsageOID.SERVER_AUTH}
    refused = authority.issue(signing_request(key, "node", ["node.example"]), Holder.of("node"))
    assert usages(refused) == {ExtendedKeyUsageOID.CLIENT_AUTH}


def test_every_host_of_a_request_is_shown(authority: CertificateAuthority) -> None:
    hosts = ["a.example", "b.example", "10.1.2.3", "2001:db8::7"]
    asked = SigningRequest.parse(signing_request(generate_key(), "clinic", hosts))
    assert Holder(asked.name, asked.hosts).facts()["serves"] == ", ".join(hosts)
    assert asked.facts()["certificate"] == "a certificate of one daemon"


@pytest.mark.parametrize("algorithm", [P256, P384, RSA])
@pytest.mark.parametrize("der", [False, True])
def test_a_request_of_openssl_works(
    tmp_path: Path, authority: CertificateAuthority, algorithm: tuple[str, ...], der: bool
) -> None:
    request = request_of_openssl(tmp_path, *algorithm, der=der)
    issued = authority.issue(request)
    assert usages(issued) == {ExtendedKeyUsageOID.CLIENT_AUTH}
    proof = sign_with_key((tmp_path / "other.key").read_bytes(), b"message")
    assert is_signed_by(issued, b"message", proof)
    assert not is_signed_by(issued, b"another message", proof)


def test_several_names_of_openssl_are_taken(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    request = request_of_openssl(
        tmp_path, *P256, names="DNS:One.example,DNS:two.example,IP:::1", subject="/CN=Zürich"
    )
    asked = SigningRequest.parse(request)
    assert asked.name == "Zürich"
    assert [str(host.value) for host in asked.hosts] == ["one.example", "two.example", "::1"]
    authority.issue(request)


@pytest.mark.parametrize(
    ("algorithm", "names", "message"),
    [
        (("-algorithm", "ED25519"), "", "kind Ed25519, which gRPC does not take"),
        (("-algorithm", "RSA", "-pkeyopt", "rsa_keygen_bits:1024"), "", "RSA key has 1024 bits"),
        (("-algorithm", "EC", "-pkeyopt", "ec_paramgen_curve:secp256k1"), "", "curve secp256k1"),
        (P256, "email:root@example.org", "the mail address root@example.org"),
        (P256, "DNS:a.example,URI:https://a.example/", "the URI https://a.example/"),
        (P256, "DNS:*.example.org", "stands for many hosts"),
        (P256, "DNS:aggregator example", "is not a host name"),
    ],
)
def test_a_request_that_cannot_be_used_gets_one_line(
    tmp_path: Path, algorithm: tuple[str, ...], names: str, message: str
) -> None:
    request = request_of_openssl(tmp_path, *algorithm, names=names)
    with pytest.raises(CertificateProblem, match=message) as caught:
        SigningRequest.parse(request)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("content", [b"", b"-----BEGIN NOTHING-----", b"\x30\x03\x02\x01\x01"])
def test_a_file_that_is_not_a_request_gets_one_line(content: bytes) -> None:
    with pytest.raises(CertificateProblem, match="not a certificate signing request"):
        SigningRequest.parse(content)


def test_a_request_that_was_changed_is_refused(tmp_path: Path) -> None:
    request = bytearray(request_of_openssl(tmp_path, *P256, der=True))
    request[request.index(b"clinic")] ^= 1
    with pytest.raises(CertificateProblem, match="not signed by its own key"):
        SigningRequest.parse(bytes(request))


@pytest.mark.filterwarnings("ignore:Parsed a serial number")
def test_no_changed_bit_of_a_request_or_a_certificate_ends_in_another_error(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    request = request_of_openssl(tmp_path, *P256, names="DNS:a.example,IP:::1", der=True)
    issued = x509.load_pem_x509_certificate(authority.issue(request))
    der = issued.public_bytes(serialization.Encoding.DER)

    def read(content: bytes) -> None:
        is_signed_by(content, b"message", b"signature")
        armoured = b"-----BEGIN CERTIFICATE-----\n" + base64.encodebytes(content)
        (first,) = read_certificates(armoured + b"-----END CERTIFICATE-----\n", Path("file"))
        is_issued_by(first, issued)
        common_name(first.subject)

    refused = 0
    for content, reader in ((request, SigningRequest.parse), (der, read)):
        for bit in range(8 * len(content)):
            changed = bytearray(content)
            changed[bit // 8] ^= 1 << bit % 8
            try:
                reader(bytes(changed))
            except CertificateProblem:
                refused += 1
    assert refused > 8 * len(request)


@pytest.mark.parametrize(
    ("host", "certified"),
    [
        ("klinik-münchen.example", "xn--klinik-mnchen-3ob.example"),
        ("Node.Example.", "node.example"),
        ("[2001:db8::7]", "2001:db8::7"),
        ("::1", "::1"),
        ("a" * 63 + ".example", "a" * 63 + ".example"),
    ],
)
def test_hosts_are_certified_in_one_form(host: str, certified: str) -> None:
    assert str(parse_host(host).value) == certified


@pytest.mark.parametrize("host", ["", "a" * 64, "https://a.example", "a.example:443", "-a", "a..b"])
def test_what_is_not_a_host_is_refused(host: str) -> None:
    with pytest.raises(CertificateProblem):
        parse_host(host)


def test_an_address_with_accents_is_dialled_in_ascii() -> None:
    assert target("klinik-münchen.example:443") == "xn--klinik-mnchen-3ob.example:443"
    assert target("[::1]:443") == "[::1]:443"


@pytest.mark.parametrize("name", ["x" * 65, "", "  ", "a\nb"])
def test_a_name_that_no_certificate_takes_leaves_no_key(tmp_path: Path, name: str) -> None:
    enrolment = Enrolment.in_folder(tmp_path / "tls")
    with pytest.raises(CertificateProblem):
        enrolment.request(name)
    assert not (tmp_path / "tls").exists()


def test_a_new_authority_leaves_both_files_or_neither(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(*_: object) -> None:
        raise OSError(28, "No space left on device")

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", full)
        with pytest.raises(OSError, match="No space"):
            CertificateAuthority.create(tmp_path / "ca", "authority")
    assert list(tmp_path.iterdir()) == []
    made = CertificateAuthority.create(tmp_path / "ca", "authority")
    assert CertificateAuthority.load(tmp_path / "ca").pem == made.pem
    assert (tmp_path / "ca" / "authority.key").stat().st_mode & 0o077 == 0
    with pytest.raises(FileExistsError):
        CertificateAuthority.create(tmp_path / "ca", "authority")


def test_an_organization_renews_its_own_certificate(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    enrolment = enrolled(tmp_path / "tls", authority)
    tls, before = enrolment.tls, enrolment.tls.read()
    assert [each.kind for each in tls.check(serves=True)] == [
        "certificate",
        "organization certificate",
        "authority",
    ]
    fresh = enrolment.renew()
    assert tls.read() == before
    enrolment.install()
    tls.check(serves=True)
    assert fingerprint(tls.read()[1]) == fresh
    assert tls.read()[0] != before[0]
    assert not enrolment.staged.key.parent.exists()


@pytest.mark.parametrize("replaced", [0, 1])
def test_an_installation_that_was_cut_short_is_finished(
    tmp_path: Path,
    authority: CertificateAuthority,
    monkeypatch: pytest.MonkeyPatch,
    replaced: int,
) -> None:
    enrolment = enrolled(tmp_path / "tls", authority)
    fresh, done, replace = enrolment.renew(), [], os.replace

    def crash(*paths: object) -> None:
        if len(done) >= replaced:
            raise OSError("power failure")
        done.append(paths)
        replace(*paths)

    with monkeypatch.context() as broken:
        broken.setattr(os, "replace", crash)
        with pytest.raises(OSError, match="power failure"):
            enrolment.install()
    enrolment.resume()
    # Before the key was replaced the old certificate is whole, and the new one still waits.
    assert enrolment.is_staged == (replaced == 0)
    enrolment.tls.check(serves=True)
    enrolment.install()
    assert fingerprint(enrolment.tls.read()[1]) == fresh


def test_a_certificate_of_one_daemon_is_renewed_by_the_authority_alone(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    enrolment = enrolled(tmp_path / "tls", authority, daemon=True)
    with pytest.raises(CertificateProblem, match="rescind org request"):
        enrolment.renew()
    again = authority.issue(enrolment.request("hospital", ["localhost"], daemon=True))
    assert enrolment.accept(again) == fingerprint(again)
    assert enrolment.is_staged


def test_an_answer_to_another_request_is_refused(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    enrolment = Enrolment.in_folder(tmp_path / "tls")
    request = enrolment.request("hospital")
    with pytest.raises(CertificateProblem, match="none of the keys"):
        enrolment.accept(authority.issue(signing_request(generate_key(), "x")), authority.pem)
    other = CertificateAuthority.create(tmp_path / "other", "another authority")
    with pytest.raises(CertificateProblem, match="did not issue this certificate"):
        enrolment.accept(other.issue(request), authority.pem)
    assert sorted(path.name for path in (tmp_path / "tls").iterdir()) == ["organization.key"]


def test_an_authority_of_an_earlier_version_certifies_daemons_only(tmp_path: Path) -> None:
    dated = Dated(tmp_path, days(-1, 900))
    key, name = dated.key, dated.name
    from rescind.wire.authority import build_certificate

    old = build_certificate(name, name, key.public_key(), key, dated.span, (), issues=0)
    authority = CertificateAuthority(key, old)
    authority.issue(signing_request(generate_key(), "clinic"))
    with pytest.raises(CertificateProblem, match="made by an earlier version"):
        authority.issue(signing_request(generate_key(), "clinic", organization=True))


def test_no_certificate_outlives_its_issuer(tmp_path: Path) -> None:
    dated = Dated(tmp_path, days(-100, 90))
    authority = CertificateAuthority(dated.key, dated.certificate)
    issued = authority.issue(signing_request(generate_key(), "clinic"))
    last = x509.load_pem_x509_certificate(issued).not_valid_after_utc
    assert last == dated.certificate.not_valid_after_utc
    ending = Dated(tmp_path, days(-100, 20))
    with pytest.raises(CertificateProblem, match="issues nothing any more"):
        CertificateAuthority(ending.key, ending.certificate).issue(
            signing_request(generate_key(), "clinic")
        )


def test_an_expired_certificate_is_named_with_its_date_and_the_command(tmp_path: Path) -> None:
    tls = Dated(tmp_path, days(-900, 900)).identity("node", days(-800, -70))
    expired = datetime.datetime.now(datetime.UTC) - datetime.timedelta(days=70)
    with pytest.raises(CertificateExpired) as caught:
        tls.check()
    assert f"{tls.certificate} expired on {expired:%Y-%m-%d}" in str(caught.value)
    assert "rescind org renew" in str(caught.value)


def test_expired_issuers_and_certificates_of_tomorrow_are_named(tmp_path: Path) -> None:
    good = days(-1, 90)
    organization = Dated(tmp_path / "1", days(-900, 900)).identity("node", good, days(-90, -1))
    with pytest.raises(CertificateExpired, match="organization certificate of 'node organization'"):
        organization.check()
    authority = Dated(tmp_path / "2", days(-900, -1)).identity("node", good)
    with pytest.raises(CertificateExpired, match=r"authority.pem expired on .* another authority"):
        authority.check()
    tomorrow = Dated(tmp_path / "3", days(-1, 900)).identity("node", days(1, 90))
    with pytest.raises(CertificateExpired, match="Set the clock"):
        tomorrow.check()


def test_certificates_are_warned_of_from_sixty_days_before_their_end(tmp_path: Path) -> None:
    dated = Dated(tmp_path, days(-1, 59))
    now = datetime.datetime.now(datetime.UTC)
    own, authority = dated.identity("node", days(-1, 61.5)).check()
    assert own.warning(now) == ""
    assert "authority.pem expires on" in authority.warning(now)
    assert "in 58 days" in authority.warning(now)


def test_files_that_do_not_belong_together_get_one_line_each(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    first = enrolled(tmp_path / "first", authority).tls
    second = enrolled(tmp_path / "second", authority).tls
    with pytest.raises(CertificateProblem, match=r"the key .*second/key.pem does not belong"):
        TlsFiles(second.key, first.certificate, first.authority).check()
    other = CertificateAuthority.create(tmp_path / "other", "another authority")
    with pytest.raises(CertificateProblem, match=r"'test authority'.*'another authority'"):
        TlsFiles(first.key, first.certificate, tmp_path / "other" / "authority.pem").check()
    assert other.pem != authority.pem
    with pytest.raises(CertificateProblem, match=r"certificate\.pem is not a private key"):
        TlsFiles(first.certificate, first.certificate, first.authority).check()
    with pytest.raises(CertificateProblem, match=r"key\.pem holds no certificate"):
        TlsFiles(first.key, first.key, first.authority).check()
    with pytest.raises(CertificateProblem, match="No such file"):
        TlsFiles(tmp_path / "gone", first.certificate, first.authority).check()


def test_a_daemon_that_serves_needs_a_servers_certificate(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    caller = enrolled(tmp_path / "caller", authority, hosts=()).tls
    caller.check()
    with pytest.raises(CertificateProblem, match="rescind org request --serve HOST"):
        caller.check(serves=True)


def test_a_daemon_trusts_no_authority_that_is_not_its_own(
    tmp_path: Path, authority: CertificateAuthority
) -> None:
    enrolment = enrolled(tmp_path / "tls", authority)
    other = CertificateAuthority.create(tmp_path / "other", "another authority")
    with pytest.raises(CertificateProblem):
        enrolment.trust(other.pem)
    assert enrolment.tls.read_authority() == authority.pem
    assert len(enrolment.trust(authority.pem + other.pem)) == 2
    enrolment.tls.check()
