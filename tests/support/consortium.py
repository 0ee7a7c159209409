"""A real consortium on a real chain, for tests that need no daemons."""

from __future__ import annotations

import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from rescind.contracts import (
    Account,
    Consortium,
    Contribution,
    DeltaId,
    Deployment,
    DeploySettings,
    MemberStatus,
    deploy,
)
from rescind.core import (
    ZERO_DIGEST,
    ArtifactStore,
    ConsortiumParameters,
    Digest,
    Layout,
    LoraParameters,
    Term,
    TrainingParameters,
    adapter_totals,
    decode,
    digest,
    encode,
    owner,
    qualify,
    weights,
    without,
)
from tests.support.chain import Anvil

SALT = b"\x07" * 32


def micro_parameters(
    base_model_id: str = "11" * 32,
    shapes: dict[str, tuple[int, ...]] | None = None,
    *,
    federated: bool = False,
    **changes: object,
) -> ConsortiumParameters:
    """Return the parameters of a tiny model, with `changes` in their JSON form."""
    layout: Layout = "shared" if federated else "blocks"
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
        max_artifact_bytes=2**22,
        shapes=shapes or {"layer.lora_A": (2, 8), "layer.lora_B": (8, 2)},
    )
    document = parameters.model_dump(mode="json") | changes
    return ConsortiumParameters.model_validate(document)


@dataclass(frozen=True)
class ChainConsortium:
    """A consortium on a chain.

    `organizations` are active members; they and `auditors` are in ascending order of addresses.
    `store` holds the artifacts of the rounds that were played.
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

    def of(self, account: Account | None = None) -> Consortium:
        """Return the client of an account, or one that only reads. To make one is slow."""
        address = account.address if account else ""
        if address not in self.clients:
            self.clients[address] = Consortium(self.anvil.chain, self.deployment, account)
        return self.clients[address]

    def load(self, artifact_id: str) -> dict[str, np.ndarray]:
        return dict(decode(self.store.get(artifact_id)))

    def register(self, tensors: dict[str, np.ndarray]) -> DeltaId:
        """Store an artifact and return its name on chain."""
        return DeltaId(self.store.put(encode(tensors)), digest(tensors).root)

    def random_delta(self, account: Account, rng: np.random.Generator) -> dict[str, np.ndarray]:
        name = owner(self.parameters.layout, account.address)
        return {
            qualify(name, bare): rng.integers(-50, 50, shape, dtype=np.int32)
            for bare, shape in self.parameters.delta_shapes().items()
        }

    def play_round(
        self, rng: np.random.Generator, *, only: Sequence[Account] = (), prove: bool = True
    ) -> int:
        """Play a whole round of random deltas by all active members, or by `only` some of them."""
        boss = self.of(self.aggregator)
        boss.open_round()
        round_id, deltas = boss.current_round_id(), {}
        contributors = list(only) or [o for o in self.organizations if self._active(o)]
        for member in contributors:
            deltas[member.address] = self.register(self.random_delta(member, rng))
            self.of(member).commit(round_id, deltas[member.address], SALT)
        for member in self.organizations:
            if self._active(member) and member.address not in deltas:
                self.of(member).sit_out(round_id)
        boss.close_commits(round_id)
        for member in contributors:
            self.of(member).reveal(round_id, deltas[member.address], SALT)
        boss.close_reveals(round_id)
        self.name_sum(round_id, deltas)
        if prove:
            self.prove()
        return round_id

    def name_sum(
        self, round_id: int, deltas: Mapping[str, DeltaId], scores: Mapping[str, int] | None = None
    ) -> None:
        boss = self.of(self.aggregator)
        share = weights(self.parameters.layout, list(deltas))
        new = [
            Term(round_id, address, delta.artifact_id, share[address], delta.digest_root)
            for address, delta in sorted(deltas.items(), key=lambda pair: pair[0].lower())
        ]
        content = [*boss.content(boss.latest_model_id()), *new]
        boss.aggregate(
            round_id,
            [
                Contribution(
                    t.organization,
                    t.weight,
                    5_000 if scores is None else scores[t.organization],
                    t.artifact_id,
                    t.digest_root,
                )
                for t in new
            ],
            [],
            self.register(adapter_totals(new, self.load)),
            self.register(adapter_totals(content, self.load)),
        )

    def prove(self, per_transaction: int = 20) -> None:
        """Add up the digests of the open claim, in as many transactions as it takes."""
        boss = self.of(self.aggregator)
        claim = boss.claim()
        assert claim is not None
        terms = [term for step in boss.claim_terms() for term in step]
        source = self.digest_of(boss.model(claim.source).adapter_id)
        total, sent = ZERO_DIGEST, 0
        while True:
            batch = terms[sent : sent + per_transaction]
            last = sent + len(batch) == len(terms)
            boss.prove(
                total.to_bytes() if sent else b"",
                [self.digest_of(t.artifact_id).to_bytes() for t in batch],
                source.to_bytes() if last else b"",
            )
            if last:
                return
            for term in batch:
                total = total + term.coefficient * self.digest_of(term.artifact_id)
            sent += len(batch)

    def digest_of(self, artifact_id: str) -> Digest:
        return ZERO_DIGEST if int(artifact_id, 16) == 0 else digest(self.load(artifact_id))

    def remove(self, withdrawal_id: int) -> None:
        """Carry out a removal and close it."""
        boss = self.of(self.aggregator)
        leaver = boss.withdrawals()[withdrawal_id - 1].organization
        for source in boss.models_in_use():
            if boss.is_clean(source, leaver):
                continue
            adapter = self.register(self.sum_without(source, leaver))
            boss.carry_out(withdrawal_id, source, adapter)
            self.prove()
        boss.close_withdrawal(withdrawal_id)

    def sum_without(self, model_id: int, organization: str) -> dict[str, np.ndarray]:
        """Return a model's adapter, summed again without one organization."""
        terms = self.of().content(model_id)
        kept = without(terms, [organization], self.parameters.layout)
        return dict(adapter_totals(kept, self.load))

    def _active(self, account: Account) -> bool:
        return self.of().member(account.address).status is MemberStatus.ACTIVE


def _accounts(anvil: Anvil, count: int) -> list[Account]:
    """Return new accounts in ascending order of addresses."""
    return sorted(
        (anvil.funded() for _ in range(count)), key=lambda account: account.address.lower()
    )


def make_consortium(
    anvil: Anvil,
    members: int = 3,
    parameters: ConsortiumParameters | None = None,
    *,
    store: Path | None = None,
    **settings: object,
) -> ChainConsortium:
    """Deploy a consortium whose members have joined. `settings` change those of DeploySettings."""
    parameters = parameters or micro_parameters()
    founder, aggregator = anvil.funded(), anvil.funded()
    organizations = _accounts(anvil, members)
    auditors = _accounts(anvil, 2)
    agreed = {
        "parameters_id": parameters.id,
        "base_model_id": parameters.base_model_id,
        "coupling": parameters.coupling,
        "layout": parameters.layout,
        "max_rounds": parameters.max_rounds,
        "max_members": parameters.max_members,
        "aggregator": aggregator.address,
        "aggregator_fingerprint": "0a" * 32,
        "auditors": tuple(a.address for a in auditors),
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
        ArtifactStore(store or Path(tempfile.mkdtemp(prefix="rescind-test-"))),
    )
    for index, account in enumerate(organizations):
        consortium.of(founder).admit(account.address, f"org-{index}", f"{index + 1:064x}")
    for account in organizations:
        consortium.of(account).join()
    boss = consortium.of(aggregator)
    boss.post_aggregator_bond(boss.required_aggregator_bond())
    return consortium
