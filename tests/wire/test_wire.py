import filecmp
from pathlib import Path

import pytest

from rescind.contracts import Account
from rescind.wire import (
    MOST_PIECE_BYTES,
    AggregatorClient,
    AggregatorUnavailable,
    BadMessage,
    BadSignature,
    CertificateAuthority,
    ModelFiles,
    NotAMember,
    NotPublished,
    SizedArtifact,
    TlsFiles,
    WrongHash,
    fingerprint,
    is_signed_by,
    recover_signer,
    serve,
    sign_typed,
    sign_with_key,
    update_typed_data,
)
from rescind.wire.generate import HERE, generate
from tests.wire.handler import ORGANIZATION, Wire, identity


def test_a_repeated_upload_sends_only_what_is_missing(wire: Wire) -> None:
    data = bytes(range(256)) * (MOST_PIECE_BYTES // 128) + b"tail"
    with wire.client() as client:
        artifact = client.upload(data)
        assert wire.handler.uploads == {artifact.artifact_id: data}
        wire.handler.uploads[artifact.artifact_id] = data[:-10]
        wire.handler.pieces.clear()
        client.upload(data)
        assert wire.handler.pieces == [(len(data) - 10, 10)]
        client.submit(4, artifact, 1, b"\x00" * 65)
    assert wire.handler.submitted[0].artifact == artifact == SizedArtifact.of(data)


def test_this_machine_is_not_reached_through_a_proxy(
    wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("https_proxy", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:9")
    with wire.client() as client:
        assert client.describe().chain_id == 31337


def test_a_download_is_checked_against_its_id(wire: Wire) -> None:
    data = b"adapter" * 10**6
    digest = SizedArtifact.of(data).artifact_id
    wire.handler.published[digest] = data
    with wire.client() as client:
        assert client.download(digest, 10**7) == data
        with pytest.raises(NotPublished, match="is not published"):
            client.download("ab" * 32, 10**6)
        with pytest.raises(BadMessage, match="at most 10"):
            client.download(digest, 10)
        wire.handler.published[digest] = b"forged!" * 1000
        with pytest.raises(WrongHash, match="another artifact"):
            client.download(digest, 10**6)


def test_a_certificate_that_is_not_on_chain_is_refused(wire: Wire) -> None:
    stranger = identity(wire.folder / "stranger", wire.authority, "stranger")
    with (
        wire.client(stranger) as client,
        pytest.raises(NotAMember, match="does not belong to a member"),
    ):
        client.describe()


def test_a_certificate_of_another_authority_does_not_connect(wire: Wire) -> None:
    other = CertificateAuthority.create(wire.folder / "other", "other authority")
    outsider = identity(wire.folder / "outsider", other, "node")
    trusting = TlsFiles(outsider.key, outsider.certificate, wire.tls.authority)
    with wire.client(trusting) as client, pytest.raises(AggregatorUnavailable):
        client.describe()


def test_a_server_of_another_authority_is_not_trusted(wire: Wire) -> None:
    other = CertificateAuthority.create(wire.folder / "other", "other authority")
    (wire.folder / "other.pem").write_bytes(other.pem)
    wary = TlsFiles(wire.tls.key, wire.tls.certificate, wire.folder / "other.pem")
    with wire.client(wary) as client, pytest.raises(AggregatorUnavailable):
        client.describe()


def test_an_oversized_upload_is_refused_before_it_is_sent(wire: Wire) -> None:
    with wire.client() as client, pytest.raises(BadMessage, match="at most"):
        client.upload(bytes(3 * MOST_PIECE_BYTES + 1))


def test_an_internal_error_does_not_leak_its_message(wire: Wire) -> None:
    with wire.client() as client:
        artifact = client.upload(b"data")
        with pytest.raises(BadMessage, match="internal error") as caught:
            client.submit(1, artifact, 13, b"\x00" * 65)
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize("size", [0, 101, 2**63])
def test_an_impossible_size_is_refused(size: int) -> None:
    lying = SizedArtifact("ab" * 32, size).to_wire()
    with pytest.raises(BadMessage, match="at least 1 and at most 100"):
        SizedArtifact.from_wire(lying, max_bytes=100)


def test_a_signature_recovers_its_signer_for_no_other_document() -> None:
    account = Account.from_key(b"\x01" * 32)
    said = {"chain_id": 1, "rounds_address": ORGANIZATION, "round_id": 3, "size": 10, "nonce": 1}
    document = update_typed_data(artifact_id="ab" * 32, **said)
    signature = sign_typed(document, account.key)
    assert recover_signer(document, signature) == account.address
    for change in ({"round_id": 4}, {"size": 11}, {"nonce": 2}, {"chain_id": 2}):
        other = update_typed_data(artifact_id="ab" * 32, **(said | change))
        assert recover_signer(other, signature) != account.address
    with pytest.raises(BadSignature, match="expected 65"):
        recover_signer(document, b"short")


def test_the_committed_grpc_code_matches_the_proto(tmp_path: Path) -> None:
    generate(tmp_path / "generated")
    names = ["rescind_pb2.py", "rescind_pb2.pyi", "rescind_pb2_grpc.py"]
    same, _, _ = filecmp.cmpfiles(HERE / "generated", tmp_path / "generated", names, shallow=False)
    assert sorted(same) == sorted(names), "run: make proto"


def test_a_model_is_named_by_number_adapter_and_opening(wire: Wire) -> None:
    with wire.client() as client:
        assert client.describe().model == ModelFiles(0, "", "")
        assert client.model(7) == ModelFiles(7, "bb" * 32, "cc" * 32)


def test_a_contribution_is_handed_over_on_request(wire: Wire) -> None:
    with wire.client() as client:
        assert client.wanted() == ["dd" * 32]
        client.hand_over(b"a delta")
    assert wire.handler.handed_over == [SizedArtifact.of(b"a delta").artifact_id]


def test_only_the_holder_of_a_certificates_key_can_claim_it(wire: Wire) -> None:
    key, certificate, _ = wire.tls.read()
    stranger = identity(wire.folder / "stranger", wire.authority, "stranger").read()[0]
    proof = sign_with_key(key, b"message")
    assert is_signed_by(certificate, b"message", proof)
    assert not is_signed_by(certificate, b"another message", proof)
    assert not is_signed_by(certificate, b"message", sign_with_key(stranger, b"message"))
    assert not is_signed_by(certificate, b"message", b"")


def test_a_client_sends_nothing_to_a_server_whose_certificate_it_does_not_accept(
    wire: Wire,
) -> None:
    def refuse(certificate: bytes) -> None:
        raise NotAMember(f"{fingerprint(certificate)} is not the aggregator's")

    own = fingerprint((wire.folder / "aggregator" / "certificate.pem").read_bytes())
    with (
        AggregatorClient(wire.address, wire.tls, patience=1.0, check=refuse) as client,
        pytest.raises(NotAMember, match=own),
    ):
        client.upload(b"a delta")
    assert not wire.handler.uploads


def test_a_client_that_checked_its_server_trusts_no_other_certificate(
    wire: Wire, tmp_path: Path
) -> None:
    right = {fingerprint((wire.folder / "aggregator" / "certificate.pem").read_bytes())}

    def check(certificate: bytes) -> None:
        if fingerprint(certificate) not in right:
            raise NotAMember("not the aggregator")

    with AggregatorClient(wire.address, wire.tls, patience=1.0, check=check) as client:
        assert client.describe().chain_id == 31337
        wire.server.stop(0)
        other = identity(tmp_path / "other", wire.authority, "other")
        replaced = serve(wire.handler, wire.address.replace("localhost", "127.0.0.1"), other)
        with pytest.raises(NotAMember, match="not the aggregator"):
            client.describe()
        # Only a new connection, which is checked, may trust it.
        right.add(fingerprint(other.read()[1]))
        assert client.describe().chain_id == 31337
        replaced.stop(0)
