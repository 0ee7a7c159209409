"""A real aggregator, a real chain and mutual TLS; one member is honest, the other is not."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import safetensors.numpy

from adapters import ZERO_DIGEST, artifact_id, decode, digest, encode, qualify
from adapters.errors import ArtifactError
from aggregator import Aggregator, AggregatorConfig, open_aggregator, status
from contracts import (
    Account,
    ContractRefused,
    DeltaId,
    DeploySettings,
    RejectReason,
    RoundState,
    deploy,
)
from contracts import Consortium as Record
from protocol import (
    AggregatorClient,
    BadSignature,
    CertificateAuthority,
    NotPublished,
    ReusedNonce,
    TlsFiles,
    WrongPhase,
    fingerprint,
    new_key,
    sign_typed,
    signing_request,
    split,
    update_typed_data,
)
from tests.consortium import Anvil, free_port, micro_parameters, start_anvil

SALT = b"\x09" * 32
PARAMETERS = micro_parameters()


@dataclass
class Member:
    account: Account
    record: Record
    tls: TlsFiles
    address: str
    nonce: int = 0

    def delta(
        self, *, value: int = 3, dtype: type = np.int32, rows: int = 0
    ) -> dict[str, np.ndarray]:
        who = self.account.address.lower()
        return {
            qualify(who, name): np.full((shape[0] + rows, shape[1]), value, dtype=dtype)
            for name, shape in PARAMETERS.delta_shapes().items()
        }

    def named(self, data: bytes) -> DeltaId:
        """As it is registered: what is no delta gets the digest of some other one."""
        try:
            found = digest(decode(data))
        except ArtifactError:
            found = ZERO_DIGEST
        if found == ZERO_DIGEST:
            found = digest({"x": np.frombuffer(artifact_id(data).encode(), dtype=np.int64)})
        return DeltaId(artifact_id(data), found.root)

    def submit(
        self, round_id: int, data: bytes, *, signer: Account | None = None, nonce: int | None = None
    ) -> None:
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        manifest, _ = split(data)
        document = update_typed_data(
            chain_id=31337,
            rounds_address=self.record.deployment.rounds,
            round_id=round_id,
            artifact_id=manifest.artifact_id,
            size=len(data),
            nonce=nonce,
        )
        signature = sign_typed(document, (signer or self.account).key)
        with AggregatorClient(self.address, self.tls) as client:
            client.upload(data)
            client.submit(round_id, manifest, nonce, signature)


@dataclass
class Scene:
    anvil: Anvil
    aggregator: Aggregator
    config: AggregatorConfig
    honest: Member
    hostile: Member

    def until(self, state: RoundState) -> int:
        record = self.aggregator.consortium
        for _ in range(50):
            self.aggregator.tick()
            round_id = record.current_round_id()
            if record.round(round_id).state is state:
                return round_id
        raise AssertionError(f"the round never became {state}")

    def play(self, data: bytes, upload: Callable[[int], None], named: DeltaId | None = None) -> int:
        """A round in which the hostile member commits to `data` and uploads as it likes."""
        round_id = self.until(RoundState.OPEN)
        good = encode(self.honest.delta(value=round_id))
        named = named or self.hostile.named(data)
        self.honest.record.commit(round_id, self.honest.named(good), SALT)
        self.hostile.record.commit(round_id, named, SALT)
        self.until(RoundState.COMMITTED)
        self.honest.submit(round_id, good)
        upload(round_id)
        self.honest.record.reveal(round_id, self.honest.named(good), SALT)
        self.hostile.record.reveal(round_id, named, SALT)
        self.until(RoundState.FINAL)
        accepted = self.aggregator.consortium.contributions(round_id)
        assert [c.organization for c in accepted] == [self.honest.account.address]
        return round_id

    def reason(self, round_id: int) -> RejectReason:
        return self.aggregator.consortium.rejections(round_id)[0].reason

    def incidents(self) -> list[str]:
        return [incident["code"] for incident in status(self.config)["incidents"]]  # type: ignore[union-attr, index]


def tls_of(folder: Path, authority: CertificateAuthority) -> TlsFiles:
    request = signing_request(new_key(folder / "key.pem"), folder.name)
    (folder / "certificate.pem").write_bytes(authority.issue(request))
    (folder / "authority.pem").write_bytes(authority.pem)
    return TlsFiles(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    folder = tmp_path_factory.mktemp("scene")
    authority = CertificateAuthority.create(folder / "ca", "authority")
    with start_anvil() as anvil:
        founder, boss = anvil.funded(), anvil.funded()
        boss.save(folder / "keystore.json", "password")
        (folder / "password").write_text("password")
        tls = tls_of(folder / "aggregator", authority)
        (folder / "parameters.json").write_bytes(PARAMETERS.canonical_bytes())
        deployment = deploy(
            anvil.chain(),
            founder,
            DeploySettings(
                parameters_id=PARAMETERS.id,
                base_model_id=PARAMETERS.base_model_id,
                coupling="isolated",
                layout="blocks",
                max_rounds=PARAMETERS.max_rounds,
                max_members=PARAMETERS.max_members,
                aggregator=boss.address,
                aggregator_fingerprint=fingerprint(tls.certificate.read_bytes()),
            ),
        )
        deployment.save(folder / "contracts.json")
        port = free_port()
        members = []
        for name in ("honest", "hostile"):
            account, its = anvil.funded(), tls_of(folder / name, authority)
            mark = fingerprint(its.certificate.read_bytes())
            Record(anvil.chain(), deployment, founder).admit(account.address, name, mark)
            record = Record(anvil.chain(), deployment, account)
            members.append(Member(account, record, its, f"localhost:{port}"))
        for member in members:
            member.record.join()
        config = AggregatorConfig.model_validate(
            {
                "aggregator": {
                    "listen": f"127.0.0.1:{port}",
                    "state_dir": folder / "state",
                    "store": str(folder / "store"),
                    "parameters": folder / "parameters.json",
                    "rounds": 100,
                },
                "chain": {
                    "rpc_url": anvil.url,
                    "chain_id": 31337,
                    "contracts": folder / "contracts.json",
                },
                "identity": {
                    "keystore": folder / "keystore.json",
                    "password_file": folder / "password",
                    "tls_key": tls.key,
                    "tls_certificate": tls.certificate,
                    "ca_certificate": tls.authority,
                },
            }
        )
        with open_aggregator(config) as aggregator:
            yield Scene(anvil, aggregator, config, members[0], members[1])


def unsealed(tensors: dict[str, np.ndarray]) -> bytes:
    return safetensors.numpy.save(tensors, metadata={"format": "rescind.artifact/1"})


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda it: encode(it.delta(rows=1)), RejectReason.WRONG_SHAPE),
        (lambda it: encode(it.delta(dtype=np.int64)), RejectReason.WRONG_SHAPE),
        (lambda it: encode({"someone/else": np.ones(2, dtype=np.int32)}), RejectReason.WRONG_SHAPE),
        (
            lambda it: unsealed({n: v * np.nan for n, v in it.delta(dtype=np.float32).items()}),
            RejectReason.WRONG_TYPE,
        ),
        (lambda it: encode(it.delta(value=2**30)), RejectReason.OUT_OF_BOUNDS),
        (lambda it: encode(it.delta(value=0)), RejectReason.ZERO),
        (lambda it: b"not an artifact at all", RejectReason.MALFORMED),
    ],
    ids=[
        "another shape",
        "another dtype",
        "another's block",
        "NaN",
        "too large a norm",
        "zero",
        "garbage",
    ],
)
def test_a_faulty_update_is_rejected_and_the_others_go_on(
    scene: Scene, make: Callable[[Member], bytes], reason: RejectReason
) -> None:
    data = make(scene.hostile)
    round_id = scene.play(data, lambda n: scene.hostile.submit(n, data))
    assert scene.reason(round_id) is reason
    assert scene.incidents()[-1] == reason.name.lower()


def test_an_artifact_other_than_the_committed_one_counts_as_missing(scene: Scene) -> None:
    committed = encode(scene.hostile.delta(value=41))
    other = encode(scene.hostile.delta(value=42))
    round_id = scene.play(committed, lambda n: scene.hostile.submit(n, other))
    assert scene.reason(round_id) is RejectReason.MISSING


def test_a_delta_with_anothers_digest_is_rejected(scene: Scene) -> None:
    data = encode(scene.hostile.delta(value=51))
    other = scene.hostile.named(encode(scene.hostile.delta(value=52)))
    lie = DeltaId(artifact_id(data), other.digest_root)
    round_id = scene.play(data, lambda n: scene.hostile.submit(n, data), lie)
    assert scene.reason(round_id) is RejectReason.WRONG_DIGEST


def test_nothing_and_what_was_revealed_before_are_refused_by_the_contract(scene: Scene) -> None:
    old = scene.aggregator.consortium.contributions(1)[0]
    repeated = DeltaId(old.artifact_id, old.digest_root)
    again = DeltaId("ab" * 32, old.digest_root)
    nothing = DeltaId("ac" * 32, ZERO_DIGEST.root)
    for named, reason in (
        (repeated, "ArtifactSeenBefore"),
        (again, "DigestSeenBefore"),
        (nothing, "ZeroDelta"),
    ):
        round_id = scene.until(RoundState.OPEN)
        good = encode(scene.honest.delta(value=60 + round_id))
        scene.honest.record.commit(round_id, scene.honest.named(good), SALT)
        scene.hostile.record.commit(round_id, named, SALT)
        scene.until(RoundState.COMMITTED)
        scene.honest.submit(round_id, good)
        scene.honest.record.reveal(round_id, scene.honest.named(good), SALT)
        with pytest.raises(ContractRefused, match=reason):
            scene.hostile.record.reveal(round_id, named, SALT)
        scene.anvil.pass_time(301)
        scene.until(RoundState.FINAL)
        scene.hostile.record.top_up(10**17)


def test_a_reused_nonce_is_refused_and_recorded(scene: Scene) -> None:
    data = encode(scene.hostile.delta(value=0, rows=2))

    def upload(round_id: int) -> None:
        scene.hostile.submit(round_id, data)
        scene.hostile.submit(round_id, data, nonce=scene.hostile.nonce)
        with pytest.raises(ReusedNonce, match="was used for another update"):
            scene.hostile.submit(
                round_id, encode(scene.hostile.delta(value=44)), nonce=scene.hostile.nonce
            )

    scene.play(data, upload)
    assert "reused-nonce" in scene.incidents()


def test_a_message_in_anothers_name_is_refused(scene: Scene) -> None:
    data = encode(scene.hostile.delta(value=45))

    def upload(round_id: int) -> None:
        with pytest.raises(BadSignature, match="is signed by"):
            scene.hostile.submit(round_id, data, signer=scene.honest.account)

    round_id = scene.play(data, upload)
    assert scene.reason(round_id) is RejectReason.MISSING
    assert "bad-signature" in scene.incidents()


def test_nobody_is_given_anothers_delta(scene: Scene) -> None:
    theirs = scene.aggregator.consortium.contributions(1)[0].artifact_id
    with AggregatorClient(scene.hostile.address, scene.hostile.tls) as client:
        with pytest.raises(NotPublished):
            client.download(theirs, 10**6)
        latest = scene.aggregator.consortium.latest_model_id()
        adapter = scene.aggregator.consortium.model(latest).adapter_id
        assert artifact_id(client.download(adapter, 10**6)) == adapter


def test_an_upload_nobody_asked_for_is_refused(scene: Scene) -> None:
    with pytest.raises(WrongPhase, match="no update"):
        scene.hostile.submit(99, b"data")


def test_who_never_reveals_does_not_stall_the_round(scene: Scene) -> None:
    round_id = scene.until(RoundState.OPEN)
    good = encode(scene.honest.delta(value=77))
    scene.honest.record.commit(round_id, scene.honest.named(good), SALT)
    scene.hostile.record.commit(round_id, DeltaId("ee" * 32, "ef" * 32), SALT)
    scene.until(RoundState.COMMITTED)
    scene.honest.submit(round_id, good)
    scene.honest.record.reveal(round_id, scene.honest.named(good), SALT)
    assert scene.aggregator.tick()
    scene.anvil.pass_time(301)
    scene.until(RoundState.FINAL)
    accepted = scene.aggregator.consortium.contributions(round_id)
    assert [c.organization for c in accepted] == [scene.honest.account.address]
    bond = scene.hostile.record.member(scene.hostile.account.address).bond
    assert bond == 9 * 10**17, "what is committed and not revealed is penalized"
    scene.hostile.record.top_up(10**17)
