from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from adapters import ArtifactStore, Term, adapter_totals, decode, encode, qualify
from adapters.errors import VerificationError
from audit import (
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
from contracts import Account, Contribution
from tests.consortium import TestConsortium, make_consortium, start_anvil
from unlearning import remove

SALT = b"\x05" * 32


@dataclass(frozen=True)
class Story:
    """Two rounds of three organizations, then the first one is removed."""

    it: TestConsortium
    folder: Path

    @property
    def store(self) -> Path:
        return self.folder / "store"

    @property
    def path(self) -> Path:
        return self.folder / "certificate.json"

    def check(self, path: Path | None = None) -> Verification:
        return verify(path or self.path, rpc_url=self.it.anvil.url, artifacts=[self.store])

    def failed(self) -> set[str]:
        return {check.name for check in self.check().checks if check.status == "failed"}


def play(it: TestConsortium, store: ArtifactStore) -> None:
    dice, public = np.random.default_rng(0), it.of(it.aggregator)
    terms: list[Term] = []
    load = lambda digest: decode(store.get(digest))  # noqa: E731
    store.put(it.parameters.canonical_bytes())
    for round_id in (1, 2):
        public.open_round()
        artifacts = {}
        for account in it.organizations:
            delta = {
                qualify(account.address.lower(), name): dice.integers(
                    -50, 50, shape, dtype=np.int32
                )
                for name, shape in it.parameters.delta_shapes().items()
            }
            artifacts[account.address] = store.put(encode(delta))
            it.of(account).commit(round_id, artifacts[account.address], SALT)
        public.close_commits(round_id)
        for account in it.organizations:
            it.of(account).reveal(round_id, artifacts[account.address], SALT)
        public.close_reveals(round_id)
        new = [Term(round_id, who, digest, 10_000) for who, digest in artifacts.items()]
        terms += new
        accepted = [Contribution(t.organization, t.artifact_id, 10_000, 100) for t in new]
        aggregate = store.put(encode(adapter_totals(new, load)))
        public.finalize(
            round_id, accepted, [], aggregate, store.put(encode(adapter_totals(terms, load)))
        )
    leaver = it.organizations[0]
    it.of(leaver).request_withdrawal()
    removal = remove(public.content(public.latest_model_id()), leaver.address, "blocks", load)
    public.close_withdrawal(1, store.put(removal.adapter))


@pytest.fixture(scope="module")
def played(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder = tmp_path_factory.mktemp("story")
    with start_anvil() as anvil:
        story = Story(make_consortium(anvil), folder)
        play(story.it, ArtifactStore(story.store))
        yield story


@pytest.fixture
def story(played: Story) -> Story:
    certify(played)
    return played


def certify(story: Story, issuer: Account | None = None, *, exact: bool = True) -> None:
    public = story.it.of()
    evaluation = story.folder / "evaluation.json"
    evaluation.write_text("{}")
    after = public.model(public.latest_model_id()).adapter_id
    build_certificate(
        public,
        1,
        issuer=issuer or story.it.aggregator,
        replay=ReplayPart(adapter_id=after, exact=exact),
        evaluation=EvaluationPart(
            before={"a": 1.0},
            after={"a": 0.0},
            replay=None,
            files={
                "evaluation.json": "44136fa355b3678a1146ad16f7e8649e94fb4fc21fe77e8310c060f61caaff8a"
            },
        ),
    ).save(story.path)


def test_a_true_certificate_passes_every_check(story: Story) -> None:
    found = story.check()
    assert [check.name for check in found.checks] == list(CHECKS)
    assert {check.status for check in found.checks} == {"passed"}, found
    assert found.exit_code == 0


def test_without_artifacts_what_the_chain_says_is_still_checked(story: Story) -> None:
    found = verify(story.path, rpc_url=story.it.anvil.url)
    skipped = {check.name for check in found.checks if check.status == "skipped"}
    assert skipped == {"artifacts", "arithmetic"}
    assert found.exit_code == 0


def test_every_flipped_byte_of_the_certificate_is_found(story: Story) -> None:
    original = story.path.read_bytes()
    for place in range(0, len(original), max(1, len(original) // 220)):
        story.path.write_bytes(
            original[:place] + bytes([original[place] ^ 1]) + original[place + 1 :]
        )
        assert story.check().exit_code, f"byte {place} was changed unnoticed"
    story.path.write_bytes(original)


def test_a_flipped_byte_of_any_artifact_is_found(story: Story) -> None:
    for path in sorted(story.store.glob("??/*")):
        original = path.read_bytes()
        path.write_bytes(original[:-1] + bytes([original[-1] ^ 1]))
        assert "artifacts" in story.failed(), path
        path.write_bytes(original)
    (story.folder / "evaluation.json").write_text("{ }")
    assert story.failed() == {"evaluation"}


def test_a_forged_signature_is_found(story: Story) -> None:
    certify(story, issuer=story.it.organizations[1])
    assert "issuer" in story.failed()


def test_a_claim_of_exactness_must_be_true(story: Story) -> None:
    certify(story, exact=False)
    assert "replay" in story.failed()


def test_another_consortiums_record_is_not_taken(story: Story, tmp_path: Path) -> None:
    with start_anvil() as other:
        elsewhere = make_consortium(other)
        found = verify(story.path, rpc_url=elsewhere.anvil.url)
    assert found.exit_code in (CHECKS["chain"], CHECKS["contracts"])


def test_an_open_withdrawal_has_no_certificate(story: Story) -> None:
    it = story.it
    it.of(it.organizations[2]).request_withdrawal()
    with pytest.raises(VerificationError, match="requested, not closed"):
        build_certificate(it.of(), 2, issuer=it.aggregator)


def test_the_queries_tell_the_same_story(played: Story) -> None:
    public = played.it.of()
    assert len(contributions(public)) == 6
    assert [len(row.content) for row in lineage(public)] == [3, 6, 4]
    assert lineage(public, 3)[0].removed == ("org-0",)
    assert withdrawals(public)[0].state == "closed"
    first = rounds(public)[0]
    assert (first.transactions, len(first.participants)) == (10, 3)
    assert first.gas > 100_000
