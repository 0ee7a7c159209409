"""A real aggregator, a real chain and mutual TLS, with an honest and a hostile member."""

import json
import shutil
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from rescind.aggregator import (
    Aggregator,
    AggregatorConfig,
    open_aggregator,
    status,
)
from rescind.aggregator.models import HAND_OVER_SECONDS
from rescind.aggregator.state import Step
from rescind.contracts import (
    Account,
    Deployment,
    DeploySettings,
    Parts,
    RejectReason,
    RoundState,
    agreed_settings,
    deploy,
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
from rescind.core.files import write_private
from rescind.daemon import certificate_claim
from rescind.devnet.chain import free_port
from rescind.wire import (
    AggregatorClient,
    CertificateAuthority,
    SizedArtifact,
    TlsFiles,
    new_key,
    sign_typed,
    signing_request,
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
    address: str = ""
    nonce: int = 0
    parameters: ConsortiumParameters = PARAMETERS

    def delta(
        self, *, value: int = 3, dtype: type = np.int32, rows: int = 0
    ) -> dict[str, np.ndarray]:
        name = owner(self.parameters.layout, self.account.address)
        return {
            qualify(name, bare): np.full((shape[0] + rows, shape[1]), value, dtype=dtype)
            for bare, shape in self.parameters.delta_shapes().items()
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
        self,
        round_id: int,
        data: bytes,
        part: int = 0,
        *,
        signer: Account | None = None,
        nonce: int | None = None,
    ) -> None:
        """Upload an artifact, sign it and submit it."""
        with AggregatorClient(self.address, self.tls) as client:
            self.finish(client, round_id, data, part, signer=signer, nonce=nonce, upload=True)

    def finish(
        self,
        client: AggregatorClient,
        round_id: int,
        data: bytes,
        part: int = 0,
        *,
        signer: Account | None = None,
        nonce: int | None = None,
        upload: bool = False,
    ) -> None:
        """Sign and submit an artifact, by default without uploading it."""
        if nonce is None:
            self.nonce += 1
            nonce = self.nonce
        artifact = SizedArtifact.of(data)
        document = update_typed_data(
            chain_id=31337,
            rounds_address=self.record.deployment.rounds,
            round_id=round_id,
            artifact_id=artifact.artifact_id,
            size=len(data),
            nonce=nonce,
        )
        signature = sign_typed(document, (signer or self.account).key)
        if upload:
            client.upload(data)
        client.submit(round_id, artifact, nonce, signature, part)


@dataclass
class Scene:
    anvil: Anvil
    folder: Path
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

    def tick_until(self, reached: Callable[[], bool], *, awaits: bool = False) -> None:
        """Let the aggregator act until a condition holds.

        Args:
            reached: The condition.
            awaits: Whether it first waits for contributions that never come.
        """
        for _ in range(50):
            if reached():
                return
            if self.aggregator.tick() and awaits:
                self.anvil.pass_time(HAND_OVER_SECONDS)
                awaits = False
        raise AssertionError("the aggregator never came to it")

    def idle(self) -> None:
        """Let the aggregator act until a round waits for its members."""
        self.tick_until(lambda: self.aggregator.next_plan().step is Step.WAIT)

    def settled(self, *, awaits: bool = False) -> int:
        """Play on until the files of the head are published, and return its number."""
        record = self.record
        self.tick_until(lambda: bool(record.publications(record.latest_model_id())), awaits=awaits)
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

    def play_together(self, members: Sequence[Member] = ()) -> dict[str, bytes]:
        """Play a round in which members contribute honestly, by default all active ones.

        Returns:
            The delta that each of them sent, by address.
        """
        round_id, active = self.until(RoundState.OPEN), self.record.active_members()
        members = members or [each for each in self.members if each.account.address in active]
        sent = {
            each.account.address: encode(each.delta(value=10 * round_id + place))
            for place, each in enumerate(members)
        }
        for member in members:
            data = sent[member.account.address]
            member.record.commit(round_id, member.named(data), SALT)
        self.until(RoundState.COMMITTED)
        for member in members:
            data = sent[member.account.address]
            member.submit(round_id, data)
            member.record.reveal(round_id, member.named(data), SALT)
        self.until(RoundState.FINAL)
        return sent

    def published(self, model_id: int) -> dict[str, np.ndarray]:
        """Return the tensors that the aggregator published last for a model."""
        adapter_id = self.record.publications(model_id)[-1].adapter_id
        return self.aggregator.session.store.load(adapter_id)

    def reason(self, round_id: int) -> RejectReason:
        judgement = self.record.judgement(round_id)
        assert judgement is not None
        return judgement.rejections[0].reason

    def incidents(self) -> list[str]:
        return [incident["code"] for incident in status(self.config)["incidents"]]


def tls_of(folder: Path, authority: CertificateAuthority) -> TlsFiles:
    request = signing_request(new_key(folder / "key.pem"), folder.name, ["localhost", "127.0.0.1"])
    (folder / "certificate.pem").write_bytes(authority.issue(request))
    (folder / "authority.pem").write_bytes(authority.pem)
    return TlsFiles(folder / "key.pem", folder / "certificate.pem", folder / "authority.pem")


def identity_section(folder: Path, account: Account, tls: TlsFiles) -> dict[str, object]:
    """Write an account's keystore where it is missing, and return the [identity] section that names it."""
    if not (folder / "keystore.json").exists():
        account.save(folder / "keystore.json", "password")
        write_private(folder / "password", b"password")
    return {
        "keystore": folder / "keystore.json",
        "password_file": folder / "password",
        "tls_key": tls.key,
        "tls_certificate": tls.certificate,
        "ca_certificate": tls.authority,
    }


def chain_section(anvil: Anvil, contracts: Path) -> dict[str, object]:
    return {"rpc_url": anvil.url, "chain_id": 31337, "contracts": contracts}


def aggregator_config(
    anvil: Anvil, folder: Path, name: str, account: Account, minimum_members: int
) -> AggregatorConfig:
    """Return the configuration of an aggregator whose files are in a folder of its own.

    Args:
        anvil: The chain.
        folder: The scene's folder, with the authority, contracts.json and parameters.json.
        name: Name of the aggregator's folder.
        account: The aggregator's account.
        minimum_members: Active members below which no round opens.
    """
    own = folder / name
    tls = tls_of(own, CertificateAuthority.load(folder / "ca"))
    section = {
        "listen": f"127.0.0.1:{free_port()}",
        "state_dir": own / "state",
        "store": str(own / "store"),
        "parameters": folder / "parameters.json",
        "rounds": 100,
        "minimum_members": minimum_members,
    }
    return AggregatorConfig.model_validate(
        {
            "aggregator": section,
            "chain": chain_section(anvil, folder / "contracts.json"),
            "identity": identity_section(own, account, tls),
        }
    )


def address_of(config: AggregatorConfig) -> str:
    """Return where members reach an aggregator."""
    return f"localhost:{config.aggregator.listen.rpartition(':')[2]}"


def deploy_contracts(
    anvil: Anvil,
    founder: Account,
    aggregator: Account,
    parameters: ConsortiumParameters,
    settings: Mapping[str, object],
) -> Deployment:
    agreed = {
        **agreed_settings(parameters),
        "attested": False,
        "aggregator": aggregator.address,
    }
    chosen = DeploySettings.model_validate({**agreed, **settings})
    return deploy(anvil.chain, founder, chosen)


def join_members(anvil: Anvil, folder: Path, founder: Record, names: Sequence[str]) -> list[Member]:
    """Let organizations join, and return them in the order of their names."""
    authority, members = CertificateAuthority.load(folder / "ca"), []
    for name in names:
        account, tls = anvil.funded(), tls_of(folder / name, authority)
        founder.admit(account.address, name)
        record = Record(anvil.chain, founder.deployment, account)
        members.append(Member(account, record, tls))
    for member in members:
        address, deployment = member.account.address, founder.deployment
        member.record.join(*certificate_claim(deployment, address, member.tls))
    return members


@dataclass(frozen=True)
class Files:
    """A consortium at rest: its chain and the files of all."""

    anvil: Anvil
    folder: Path
    config: AggregatorConfig
    members: list[Member]

    @contextmanager
    def opened(self) -> Iterator[Scene]:
        """Let the aggregator run."""
        members = [replace(member, address=address_of(self.config)) for member in self.members]
        with open_aggregator(self.config) as aggregator:
            yield Scene(
                self.anvil, self.folder, aggregator, self.config, members[0], members[-1], members
            )

    def copied(self, folder: Path) -> "Files":
        """Return the same consortium with copies of all files in another folder."""
        shutil.copytree(self.folder, folder, dirs_exist_ok=True)
        text = self.config.model_dump_json().replace(str(self.folder), str(folder))
        fields = json.loads(text)
        # The first one may meanwhile be another process's.
        fields["aggregator"]["listen"] = f"127.0.0.1:{free_port()}"
        config = AggregatorConfig.model_validate(fields)
        members = [
            replace(
                member,
                tls=TlsFiles(
                    *(
                        folder / path.relative_to(self.folder)
                        for path in (member.tls.key, member.tls.certificate, member.tls.authority)
                    )
                ),
            )
            for member in self.members
        ]
        return Files(self.anvil, folder, config, members)


@contextmanager
def open_scene(
    anvil: Anvil,
    folder: Path,
    parameters: ConsortiumParameters = PARAMETERS,
    names: Sequence[str] = ("honest", "hostile"),
    **settings: object,
) -> Iterator[Scene]:
    """Open a consortium whose aggregator runs; see `make_files`."""
    with make_files(anvil, folder, parameters, names, **settings) as files, files.opened() as scene:
        yield scene


@contextmanager
def make_files(
    anvil: Anvil,
    folder: Path,
    parameters: ConsortiumParameters = PARAMETERS,
    names: Sequence[str] = ("honest", "hostile"),
    **settings: object,
) -> Iterator[Files]:
    """Make a consortium whose members have joined, on a chain that is wound back afterwards.

    Args:
        anvil: The chain.
        folder: Where the files of all are written.
        parameters: What the members agreed on.
        names: The members; the last one is the hostile one.
        **settings: Fields of DeploySettings.
    """
    CertificateAuthority.create(folder / "ca", "authority")
    (folder / "parameters.json").write_bytes(parameters.canonical_bytes())
    with anvil.rewound():
        founder, account = anvil.funded(), anvil.funded()
        deployment = deploy_contracts(anvil, founder, account, parameters, settings)
        deployment.save(folder / "contracts.json")
        config = aggregator_config(anvil, folder, "aggregator", account, len(names))
        members = join_members(anvil, folder, Record(anvil.chain, deployment, founder), names)
        for member in members:
            member.parameters = parameters
        yield Files(anvil, folder, config, members)
