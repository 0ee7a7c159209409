"""A real consortium on a real chain, for tests that need no daemons."""

from __future__ import annotations

import atexit
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np
from eth_account import Account as EthAccount

from rescind.contracts import (
    Account,
    Consortium,
    Deployment,
    DeploySettings,
    Entry,
    EventIndex,
    Limits,
    MemberStatus,
    Parts,
    RejectReason,
    agreed_settings,
    deploy,
    next_piece,
)
from rescind.core import (
    ArtifactStore,
    ConsortiumParameters,
    Layout,
    LoraParameters,
    Opening,
    TrainingParameters,
    artifact_limits,
    commit,
    decode,
    digest,
    encode,
    owner,
    qualify,
)
from rescind.core.ngrams import NgramFeatures
from rescind.core.split_settings import SplitSettings
from rescind.core.statistics_parameters import StatisticsParameters, Task
from tests.support.chain import Anvil

SALT = b"\x07" * 32
PROOF = b"\x01"
"""The contract keeps the proof of a fingerprint as it is."""

Tensors = dict[str, np.ndarray]


def micro_parameters(
    base_model_id: str = "11" * 32,
    shapes: dict[str, tuple[int, ...]] | None = None,
    *,
    federated: bool = False,
    **changes: object,
) -> ConsortiumParameters:
    """Return agreed parameters for a model of two small tensors."""
    layout: Layout = "shared" if federated else "blocks"
    shapes = shapes or {"layer.lora_A": (2, 8), "layer.lora_B": (8, 2)}
    limits = artifact_limits(shapes, layout=layout, max_members=64)
    parameters = ConsortiumParameters(
        name="test",
        base_model_id=base_model_id,
        coupling="federated" if federated else "isolated",
        layout=layout,
        seed=0,
        lora=LoraParameters(rank=2, alpha=4, train_a=not federated),
        training=TrainingParameters(
            steps_per_round=2, batch_size=4, learning_rate=1e-2, max_length=256
        ),
        fraction_bits=16,
        clip_norm=100.0,
        max_artifact_bytes=max(2**24, limits.largest),
        shapes=shapes,
    )
    document = parameters.model_dump(mode="json") | changes
    return ConsortiumParameters.model_validate(document)


def hybrid_parameters(**changes: object) -> ConsortiumParameters:
    """Return agreed parameters of blocks with statistics of one small task."""
    task = Task(
        prompt="Which desk answers: {text}",
        features=NgramFeatures(buckets=31),
        labels=("billing", "cards"),
        max_rows=1000,
    )
    statistics = StatisticsParameters(tasks={"desk": task}).model_dump(mode="json")
    hybrid = {"coupling": "hybrid", "hiding": True, "statistics": statistics}
    document = micro_parameters().model_dump(mode="json") | hybrid | changes
    return ConsortiumParameters.model_validate(document)


def split_parameters(**changes: object) -> ConsortiumParameters:
    """Return agreed parameters of one private and one shared rank."""
    split = SplitSettings(shared_rank=1)
    agreed = {"coupling": "split", "hiding": True, "split": asdict(split)}
    document = micro_parameters().model_dump(mode="json") | agreed | changes
    return ConsortiumParameters.model_validate(document)


@dataclass(frozen=True)
class ChainConsortium:
    """A deployed consortium whose members joined.

    Attributes:
        organizations: The members, in the order of their numbers and of their addresses.
        auditors: The auditors, ascending by address.
        store: Artifacts of the rounds that were played.
        largest: Bound of the integers in random deltas.
    """

    deployment: Deployment
    founder: Account
    aggregator: Account
    organizations: list[Account]
    auditors: list[Account]
    parameters: ConsortiumParameters
    anvil: Anvil
    store: ArtifactStore
    clients: dict[str, Consortium] = field(default_factory=dict)
    largest: int = 50

    @cached_property
    def index(self) -> EventIndex:
        """The events, which all clients share."""
        return EventIndex(self.anvil.chain, self.deployment)

    def of(self, account: Account | None = None) -> Consortium:
        """Return the client of an account, or one that only reads. To make one is slow."""
        address = account.address if account else ""
        if address not in self.clients:
            self.clients[address] = Consortium(
                self.anvil.chain, self.deployment, account, index=self.index
            )
        return self.clients[address]

    def load(self, artifact_id: str) -> Tensors:
        """Return the tensors of a stored artifact."""
        return dict(decode(self.store.get(artifact_id)))

    def register(self, tensors: Mapping[str, np.ndarray]) -> Parts:
        """Store an artifact, and return it as a contribution of one part."""
        point = commit(digest(tensors))
        return Parts((self.store.put(encode(dict(tensors))),), (point,))

    def random_delta(self, organization: Account, rng: np.random.Generator) -> Tensors:
        """Return a delta of random integers."""
        name = owner(self.parameters.layout, organization.address)
        return {
            qualify(name, bare): rng.integers(-self.largest, self.largest, shape, dtype=np.int32)
            for bare, shape in self.parameters.delta_shapes().items()
        }

    def play_round(
        self, rng: np.random.Generator, *, only: Sequence[Account] = (), fold: bool = True
    ) -> int:
        """Play a round of random deltas by all active members, or `only` some. Return its number.

        Without `fold` it is left judged.
        """
        contributors = list(only) or [each for each in self.organizations if self._is_active(each)]
        contributions = [self.register(self.random_delta(each, rng)) for each in contributors]
        return self.play(dict(zip(contributors, contributions, strict=True)), fold=fold)

    def play(self, contributions: Mapping[Account, Parts], *, fold: bool = True) -> int:
        """Play a round of given contributions, in which all other members sit out."""
        aggregator = self.of(self.aggregator)
        aggregator.open_round()
        round_id = aggregator.current_round_id()
        for account, parts in contributions.items():
            self.of(account).commit(round_id, parts, SALT)
        for account in self.organizations:
            if self._is_active(account) and account not in contributions:
                self.of(account).sit_out(round_id)
        aggregator.close_commits(round_id)
        for account, parts in contributions.items():
            self.of(account).reveal(round_id, parts, SALT)
        aggregator.close_reveals(round_id)
        self.judge(round_id)
        if fold:
            self.fold()
        return round_id

    def judge(
        self,
        round_id: int,
        scores: Mapping[str, int] | None = None,
        reasons: Mapping[str, RejectReason] | None = None,
    ) -> None:
        """Judge a round; without `scores`, accept all that revealed with equal scores."""
        aggregator = self.of(self.aggregator)
        if scores is None:
            scores = dict.fromkeys(aggregator.answers(round_id).revealed, 5_000)
        aggregator.judge(round_id, scores, reasons)

    def fold(self, *, points: int = 500, rows: int = 64) -> int:
        """Send every piece that sums or folds. Return how many there were."""
        aggregator, sent = self.of(self.aggregator), 0
        while (piece := next_piece(aggregator, Limits(points, rows))) is not None:
            aggregator.send(piece)
            sent += 1
        return sent

    def remove(self, withdrawal_id: int) -> None:
        """Fold what a removal changes, and close it."""
        self.fold()
        self.of(self.aggregator).close_withdrawal(withdrawal_id)

    def attest_round(self, round_id: int, evidence: str = "ee" * 32) -> None:
        """Let all auditors attest a round."""
        hash_ = self.of().round_attestation_hash(round_id, evidence)
        self.of(self.aggregator).attest_round(round_id, evidence, self.signatures(hash_))

    def attest_withdrawal(
        self, withdrawal_id: int, model_id: int | None = None, evidence: str = "ee" * 32
    ) -> None:
        """Let all auditors attest a withdrawal in a model, by default the head."""
        aggregator = self.of(self.aggregator)
        model_id = aggregator.latest_model_id() if model_id is None else model_id
        hash_ = aggregator.withdrawal_attestation_hash(withdrawal_id, model_id, evidence)
        aggregator.attest_withdrawal(withdrawal_id, model_id, evidence, self.signatures(hash_))

    def signatures(self, attested: bytes, signers: Sequence[Account] = ()) -> list[bytes]:
        """Return the auditors' signatures of a hash, or those of other signers."""
        return [
            bytes(EthAccount.unsafe_sign_hash(attested, signer.key).signature)
            for signer in signers or self.auditors
        ]

    def sum_of(self, entries: Sequence[Entry]) -> Tensors:
        """Return the weighted sum of contributions, int64, by tensor name."""
        total: Tensors = {}
        for entry, contribution in zip(entries, self.of().registered(entries), strict=True):
            for name, value in self.load(contribution.parts.artifact_ids[0]).items():
                total[name] = total.get(name, 0) + entry.weight * value.astype(np.int64)
        return total

    def opening_of(self, entries: Sequence[Entry]) -> Opening:
        """Return the opening of the sum of all these contributions, of any owner."""
        contributions = self.of().registered(entries)
        return Opening.build(
            "all",
            [
                (digest(self.load(contribution.parts.artifact_ids[0])), entry.weight)
                for entry, contribution in zip(entries, contributions, strict=True)
            ],
        )

    def _is_active(self, account: Account) -> bool:
        return self.of().member(account.address).status is MemberStatus.ACTIVE


def _accounts(anvil: Anvil, count: int) -> list[Account]:
    """In ascending order of addresses."""
    return sorted(
        (anvil.funded() for _ in range(count)), key=lambda account: account.address.lower()
    )


def _scratch() -> Path:
    """Return a new folder that is deleted when the tests end."""
    folder = Path(tempfile.mkdtemp(prefix="rescind-test-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


def make_consortium(
    anvil: Anvil,
    members: int = 3,
    parameters: ConsortiumParameters | None = None,
    *,
    store: Path | None = None,
    **settings: object,
) -> ChainConsortium:
    """Deploy a consortium and let its members join.

    Args:
        anvil: The chain.
        members: How many organizations.
        parameters: What they agree on.
        store: Folder of the artifacts.
        **settings: Fields of DeploySettings. Rounds are not attested unless they say so.
    """
    parameters = parameters or micro_parameters()
    founder, aggregator = anvil.funded(), anvil.funded()
    organizations = _accounts(anvil, members)
    auditors = _accounts(anvil, 2)
    agreed = {
        **agreed_settings(parameters),
        "attested": False,
        "aggregator": aggregator.address,
        "auditors": tuple(account.address for account in auditors),
        "auditor_quorum": 2,
    }
    deployment = deploy(anvil.chain, founder, DeploySettings.model_validate({**agreed, **settings}))
    consortium = ChainConsortium(
        deployment,
        founder,
        aggregator,
        organizations,
        auditors,
        parameters,
        anvil,
        ArtifactStore(store or _scratch()),
    )
    for place, account in enumerate(organizations):
        consortium.of(founder).admit(account.address, f"org-{place}")
    for place, account in enumerate(organizations):
        consortium.of(account).join(f"{place + 1:064x}", PROOF)
    client = consortium.of(aggregator)
    client.post_aggregator_bond(client.member_terms().aggregator_bond)
    return consortium
