from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
from eth_account import Account as EthAccount

from rescind.audit import (
    CHECKS,
    EvaluationPart,
    ReplayPart,
    Verification,
    build_certificate,
    contributions,
    lineage,
    rounds,
    verify,
    withdrawals,
)
from rescind.contracts import Account, ModelKind
from rescind.core import (
    WEIGHT_ONE,
    adapter_totals,
    add_totals,
    encode,
    weighted_sum,
)
from rescind.core.errors import VerificationError
from tests.support.chain import Anvil, start_anvil
from tests.support.consortium import ChainConsortium, make_consortium, micro_parameters

EMPTY_OBJECT = "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"


@dataclass(frozen=True)
class Story:
    """Two rounds of three organizations, then the first one is removed."""

    consortium: ChainConsortium
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def path(self) -> Path:
        return self.folder / "certificate.json"

    def check(self, adapter: Path | None = None) -> Verification:
        return verify(
            self.path, rpc_url=self.consortium.anvil.url, artifacts=[self.store], adapter=adapter
        )

    def failed(self) -> set[str]:
        return {check.name for check in self.check().checks if check.status == "failed"}

    def file_of(self, model_id: int) -> Path:
        artifact = self.consortium.of().model(model_id).adapter_id
        return self.store / artifact[:2] / artifact


def tell(consortium: ChainConsortium, folder: Path) -> Story:
    rng = np.random.default_rng(0)
    consortium.store.put(consortium.parameters.canonical_bytes())
    consortium.play_round(rng)
    consortium.play_round(rng)
    consortium.of(consortium.organizations[0]).request_withdrawal()
    consortium.remove(1)
    return Story(consortium, folder)


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    with running_anvil.rewound():
        yield tell(make_consortium(running_anvil, store=folder / "store"), folder)


@pytest.fixture
def story(played: Story) -> Story:
    certify(played)
    return played


def certify(
    story: Story, withdrawal: int = 1, issuer: Account | None = None, *, exact: bool = True
) -> None:
    public = story.consortium.of()
    (story.folder / "evaluation.json").write_text("{}")
    after = public.model(public.withdrawals()[withdrawal - 1].closed_model).adapter_id
    build_certificate(
        public,
        withdrawal,
        issuer=issuer or story.consortium.aggregator,
        replay=ReplayPart(adapter_id=after, exact=exact),
        evaluation=EvaluationPart(
            before={"a": 1.0},
            after={"a": 0.0},
            replay=None,
            files={"evaluation.json": EMPTY_OBJECT},
        ),
    ).save(story.path)


def test_a_genuine_certificate_passes_every_check(story: Story) -> None:
    verification = story.check(story.file_of(3))
    assert [check.name for check in verification.checks] == list(CHECKS)
    statuses = {check.name: check.status for check in verification.checks}
    assert statuses.pop("attested") == "skipped"
    assert set(statuses.values()) == {"passed"}, verification
    assert verification.exit_code == 0


def test_the_chain_is_still_checked_without_artifacts(story: Story) -> None:
    verification = verify(story.path, rpc_url=story.consortium.anvil.url)
    skipped = {check.name for check in verification.checks if check.status == "skipped"}
    assert skipped == {"artifacts", "digests", "arithmetic", "adapter", "attested"}
    assert next(c for c in verification.checks if c.name == "equation").status == "passed"
    assert verification.exit_code == 0


def test_a_served_adapter_that_is_not_the_latest_model_fails(story: Story, tmp_path: Path) -> None:
    assert story.check(story.file_of(2)).exit_code == CHECKS["adapter"]
    tensors = story.consortium.load(story.consortium.of().model(3).adapter_id)
    changed = {name: value.copy() for name, value in tensors.items()}
    next(iter(changed.values())).flat[0] += 1
    (tmp_path / "adapter").write_bytes(encode(changed))
    assert story.check(tmp_path / "adapter").exit_code == CHECKS["adapter"]
    assert story.check(tmp_path / "absent").exit_code == CHECKS["adapter"]


def test_a_changed_byte_of_the_certificate_is_detected(story: Story) -> None:
    original = story.path.read_bytes()
    for position in range(0, len(original), max(1, len(original) // 120)):
        story.path.write_bytes(
            original[:position] + bytes([original[position] ^ 1]) + original[position + 1 :]
        )
        assert story.check().exit_code, f"byte {position} was changed unnoticed"
    story.path.write_bytes(original)


def test_a_changed_byte_of_any_artifact_is_detected(story: Story) -> None:
    for path in sorted(story.store.glob("??/*")):
        original = path.read_bytes()
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        assert "artifacts" in story.failed(), path
        path.write_bytes(original)
    (story.folder / "evaluation.json").write_text("{ }")
    assert story.failed() == {"evaluation"}


def test_only_the_aggregators_signature_is_accepted(story: Story) -> None:
    certify(story, issuer=story.consortium.organizations[1])
    assert "issuer" in story.failed()


def test_a_claim_of_exactness_must_be_true(story: Story) -> None:
    certify(story, exact=False)
    assert "replay" in story.failed()


def test_a_certificate_fails_against_another_consortium(story: Story) -> None:
    with start_anvil(seed=1) as other:
        elsewhere = make_consortium(other)
        verification = verify(story.path, rpc_url=elsewhere.anvil.url)
    assert verification.exit_code in (CHECKS["chain"], CHECKS["contracts"])


def test_an_open_withdrawal_has_no_certificate(story: Story) -> None:
    consortium = story.consortium
    consortium.of(consortium.organizations[2]).request_withdrawal()
    with pytest.raises(VerificationError, match="requested, not closed"):
        build_certificate(consortium.of(), 2, issuer=consortium.aggregator)
    with pytest.raises(VerificationError, match="no withdrawal 9"):
        build_certificate(consortium.of(), 9, issuer=consortium.aggregator)


def test_the_queries_agree_with_the_rounds_and_the_removal(played: Story) -> None:
    public = played.consortium.of()
    assert len(contributions(public)) == 6
    assert [len(row.content) for row in lineage(public)] == [3, 6, 4]
    assert lineage(public, 3)[0].removed == ("org-0",)
    assert withdrawals(public)[0].state == "closed"
    first = rounds(public)[0]
    assert len(first.participants) == 3
    assert first.gas > 100_000


def test_a_removal_in_a_shared_layout_is_certified_with_its_weights(
    anvil: Anvil, tmp_path: Path
) -> None:
    parameters = micro_parameters(federated=True)
    consortium = make_consortium(anvil, parameters=parameters, store=tmp_path / "store")
    story = tell(consortium, tmp_path)
    certify(story)
    assert story.check().exit_code == 0
    text = next(c.detail for c in story.check().checks if c.name == "equation")
    assert text.startswith("D(after) = D(before) + 6 terms")


def test_a_replacement_and_a_counter_training_are_certified(anvil: Anvil, tmp_path: Path) -> None:
    consortium = make_consortium(anvil, store=tmp_path / "store")
    rng, story = np.random.default_rng(1), Story(consortium, tmp_path)
    consortium.store.put(consortium.parameters.canonical_bytes())
    consortium.play_round(rng)
    consortium.play_round(rng)
    replace_one_delta(consortium, rng)
    certify(story, 1)
    assert story.check().exit_code == 0, story.check()
    counter_train(consortium, rng)
    certify(story, 2)
    verification = story.check()
    assert verification.exit_code == 0, verification
    attested = next(c for c in verification.checks if c.name == "attested")
    assert attested.detail.endswith("attested by 2 auditors")


def replace_one_delta(consortium: ChainConsortium, rng: np.random.Generator) -> None:
    """The first organization trains its delta of round 1 again, without one data subject."""
    who, boss = consortium.organizations[0], consortium.of(consortium.aggregator)
    consortium.of(who).request_subject_withdrawal("5a" * 32, ModelKind.REPLACEMENT)
    new = consortium.register(consortium.random_delta(who, rng))
    consortium.of(who).offer(1, 1, new)
    consortium.of(who).ready(1)
    source = boss.latest_model_id()
    terms = boss.content(source)
    kept = [t for t in terms if (t.round_id, t.organization) != (1, who.address)]
    totals = add_totals(
        [
            adapter_totals(kept, consortium.load),
            weighted_sum([(consortium.load(new.artifact_id), WEIGHT_ONE)]),
        ]
    )
    boss.carry_out(1, source, consortium.register(totals))
    consortium.prove()
    boss.close_withdrawal(1)


def counter_train(consortium: ChainConsortium, rng: np.random.Generator) -> None:
    who, boss = consortium.organizations[1], consortium.of(consortium.aggregator)
    consortium.of(who).request_withdrawal(ModelKind.COUNTER_TRAINING)
    counter = consortium.register(consortium.random_delta(who, rng))
    consortium.of(who).offer(2, 0, counter)
    consortium.of(who).ready(2)
    source = boss.latest_model_id()
    totals = add_totals(
        [
            adapter_totals(boss.content(source), consortium.load),
            weighted_sum([(consortium.load(counter.artifact_id), WEIGHT_ONE)]),
        ]
    )
    adapter, evidence = consortium.register(totals), "ed" * 32
    digest_ = boss.attestation_hash(2, source, adapter, evidence)
    signatures = [
        bytes(EthAccount.unsafe_sign_hash(digest_, auditor.key).signature)
        for auditor in consortium.auditors
    ]
    boss.carry_out(2, source, adapter, evidence, signatures)
    consortium.prove()
    boss.close_withdrawal(2)
