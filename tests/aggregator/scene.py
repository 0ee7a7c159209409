"""A real aggregator, a real chain and mutual TLS, with an honest and a hostile member."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from rescind.aggregator import (
    Aggregator,
    AggregatorConfig,
    open_aggregator,
    status,
)
from rescind.contracts import (
    Account,
    DeploySettings,
    Parts,
    RejectReason,
    RoundState,
    deploy,
    rules_of,
)
from rescind.contracts import Consortium as Record
from rescind.core import (
    ZERO_DIGEST,
    ConsortiumParameters,
    artifact_id,
    commit,
    decode,
    digest,
    encode,
    owner,
    qualify,
)
from rescind.core.errors import ArtifactError
from rescind.daemon import certificate_claim
from rescind.devnet.chain import free_port
from rescind.wire import (
    AggregatorClient,
    CertificateAuthority,
    TlsFiles,
    new_key,
    sign_typed,
    signing_request,
    split,
    update_typed_data,
)
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters

SALT = b"\x09" * 32
PARAMETERS = micro_parameters()


@dataclass
class Member:
    account: Account
    record: Record
    tls: TlsFiles
    address: str
    nonce: int = 0
    parameters: ConsortiumParameters = PARAMETERS

    def delta(
        self, *, value: int = 3, dtype: type = np.int32, rows: int = 0
    ) -> dict[str, np.ndarray]:
        who = owner(self.parameters.layout, self.account.address)
        return {
            qualify(who, name): np.full((shape[0] + rows, shape[1]), value, dtype=dtype)
            for name, shape in self.parameters.delta_shapes().items()
        }

    def named(self, data: bytes) -> Parts:
        """Return the id and point to register; bytes that are not a delta get some other point."""
        try:
            delta_digest = digest(decode(data))
        except ArtifactError:
            delta_digest = ZERO_DIGEST
        if delta_digest == ZERO_DIGEST:
            delta_digest = digest({"x": np.frombuffer(artifact_id(data).encode(), dtype=np.int64)})
        return Parts((artifact_id(data),), (commit(delta_digest),))

    def submit(
        self, round_id: int, data: bytes, *, signer: Account | None = None, nonce: int | None = None
    ) -> None:
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        chunk_list, _ = split(data)
        document = update_typed_data(
            chain_id=31337,
            rounds_address=self.record.deployment.rounds,
            round_id=round_id,
            artifact_id=chunk_list.artifact_id,
            size=len(data),
            nonce=nonce,
        )
        signature = sign_typed(document, (signer or self.account).key)
        with AggregatorClient(self.address, self.tls) as client:
            client.upload(data)
            client.submit(round_id, chunk_list, nonce, signature)


@dataclass
class Scene:
    anvil: Anvil
    aggregator: Aggregator
    config: AggregatorConfig
    honest: Member
    hostile: Member
    members: list[Member]

    @property
    def record(self) -> Record:
        return self.aggregator.session.consortium

    def until(self, state: RoundState) -> int:
        record = self.record
        for _ in range(50):
            self.aggregator.tick()
            round_id = record.current_round_id()
            if record.round(round_id).state is state:
                return round_id
        raise AssertionError(f"the round never became {state}")

    def tick_until(self, reached: Callable[[], bool]) -> None:
        """Let the aggregator act until a condition holds."""
        for _ in range(50):
            if reached():
                return
            self.aggregator.tick()
        raise AssertionError("the aggregator never came to it")

    def settled(self) -> int:
        """Play on until the files of the head are published, and return its number."""
        record = self.record
        self.tick_until(lambda: bool(record.publications(record.latest_model_id())))
        return record.latest_model_id()

    def play(self, data: bytes, upload: Callable[[int], None], named: Parts | None = None) -> int:
        """Play a round in which the hostile member commits to `data`, and `upload` uploads for it."""
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
        assert self.record.accepted(round_id) == [self.honest.account.address]
        return round_id

    def reason(self, round_id: int) -> RejectReason:
        judgement = self.record.judgement(round_id)
        assert judgement is not None
        return judgement.rejections[0].reason

    def incidents(self) -> list[str]:
        return [incident["code"] for incident in status(self.config)["incidents"]]  # type: ignore[union-attr, index]


def tls_of(folder: Path, authority: CertificateAuthority) -> TlsFiles:
    request = signing_request(new_key(folder / "key.pem"), folder.name)
    (folder / "certificate.pem").write_bytes(authority.issue(request))
    (folder / "authority.pem").write_bytes(authority.pem)
    return TlsFiles(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")


@contextmanager
def open_scene(
    anvil: Anvil,
    folder: Path,
    parameters: ConsortiumParameters = PARAMETERS,
    names: Sequence[str] = ("honest", "hostile"),
) -> Iterator[Scene]:
    authority = CertificateAuthority.create(folder / "ca", "authority")
    with anvil.rewound():
        founder, boss = anvil.funded(), anvil.funded()
        boss.save(folder / "keystore.json", "password")
        (folder / "password").write_text("password")
        tls = tls_of(folder / "aggregator", authority)
        (folder / "parameters.json").write_bytes(parameters.canonical_bytes())
        rules, chained = rules_of(parameters.coupling)
        deployment = deploy(
            anvil.chain,
            founder,
            DeploySettings(
                parameters_id=parameters.id,
                base_model_id=parameters.base_model_id,
                rules=rules,
                chained=chained,
                attested=False,
                max_rounds=parameters.max_rounds,
                max_members=parameters.max_members,
                aggregator=boss.address,
            ),
        )
        deployment.save(folder / "contracts.json")
        port = free_port()
        members = []
        for name in names:
            account, member_tls = anvil.funded(), tls_of(folder / name, authority)
            Record(anvil.chain, deployment, founder).admit(account.address, name)
            record = Record(anvil.chain, deployment, account)
            address = f"localhost:{port}"
            members.append(Member(account, record, member_tls, address, parameters=parameters))
        for member in members:
            address = member.account.address
            member.record.join(*certificate_claim(deployment, address, member.tls))
        config = AggregatorConfig.model_validate(
            {
                "aggregator": {
                    "listen": f"127.0.0.1:{port}",
                    "state_dir": folder / "state",
                    "store": str(folder / "store"),
                    "parameters": folder / "parameters.json",
                    "rounds": 100,
                    "minimum_members": len(names),
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
            yield Scene(anvil, aggregator, config, members[0], members[-1], members)
