"""Blocks and summed statistics in one consortium of real daemons: a person and an organization leave."""

import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.aggregator.facts import AnsweredQuestions
from rescind.aggregator.facts import open_journal as open_aggregator_journal
from rescind.audit import Inputs, read_certificate, verify
from rescind.contracts import Consortium
from rescind.core import HIDING_SHAPE, STATISTICS, ArtifactStore, block, blocks_of, encode
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_tensors import named_statistics
from rescind.devnet import RunFolder
from rescind.devnet.assistant import RunAssistant
from rescind.ledger import Ledger, Manifest, load_key, sample_bytes
from rescind.node.facts import open_journal
from rescind.node.withdrawal_facts import OfferedDelta
from rescind.training import Example, read_examples
from rescind.training.heads import solve
from rescind.training.routers.additive import AdditiveRouter
from tests.support.daemons import Daemon, finals, wait_for
from tests.support.desk import AGREED, DESK, ROUTER, ROWS, sums_of
from tests.support.desk_consortium import desk_consortium
from tests.support.withdrawals import accepted, adapter, ask, closed, settled

pytestmark = pytest.mark.slow

QUESTIONS = [
    Example(DESK.question(row.question), row.answer, "nobody")
    for own in ROWS.values()
    for row in own
]
"""The benchmark: each row of both organizations is a question."""


@dataclass(frozen=True)
class Story:
    """Two rounds; a person of aurora's rows is taken back; then borealis is removed."""

    run: RunFolder
    record: Consortium
    daemons: dict[str, Daemon]
    before: str
    person: int
    without_person: str
    steps: list[int]
    removal: int
    after: str

    def tensors(self, adapter_id: str) -> dict[str, object]:
        return ArtifactStore(self.run.store).load(adapter_id)

    @property
    def addresses(self) -> dict[str, str]:
        """The organizations' addresses by name."""
        return self.run.facts().organizations

    def data(self, name: str) -> Path:
        """Return the data that an organization trains its block on."""
        return self.run.organization(name) / "data" / "private.jsonl"

    def router(self, adapter_id: str) -> RowStatistics:
        """Return the router's sums in an adapter."""
        return named_statistics(AGREED, block(self.tensors(adapter_id), STATISTICS))["router"]

    def served(self, adapter_id: str) -> RowStatistics:
        """Return the summed statistics in an adapter."""
        return named_statistics(AGREED, block(self.tensors(adapter_id), STATISTICS))["desk"]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("hybrid")
    with desk_consortium(folder, 2, questions=QUESTIONS) as opened:
        run, record, daemons = opened
        for daemon in daemons.values():
            daemon.start()
        wait_for("two rounds", lambda: finals(record) == 2)
        before = adapter(record)
        wait_for("settled", lambda: all(settled(run, name, 2) for name in ROWS))
        person = ask(run, "aurora", "--method", "replacement", "--subject", "Ann Lee")
        wait_for("the person's withdrawal", lambda: closed(record, person))
        without_person = adapter(record)
        journal = open_journal(run.node_state("aurora"))
        offered = [fact for fact in OfferedDelta.all(journal) if fact.offer_id == person]
        removal = ask(run, "borealis", "--method", "removal")
        wait_for("the removal", lambda: closed(record, removal))
        yield Story(
            run, record, daemons, before, person, without_person,
            [fact.round_id for fact in offered if not fact.unchanged], removal, adapter(record),
        )  # fmt: skip


def test_a_model_holds_blocks_and_the_sums_of_all_rows(story: Story) -> None:
    tensors = story.tensors(story.before)
    assert len(blocks_of(tensors)) == 2
    every = RowStatistics.sum([sums_of(rows) for rows in ROWS.values()])
    assert encode(story.served(story.before).tensors()) == encode(every.tensors())


def test_statistics_are_scored_and_their_questions_are_paid_once(story: Story) -> None:
    scores = {
        (round_id, name): story.record.score(round_id, address)[0]
        for round_id in (1, 2)
        for name, address in story.addresses.items()
    }
    # Cards are three of the five questions, loans two; in the second round nothing is new.
    assert scores == {
        (1, "aurora"): 10_000,
        (1, "borealis"): 6_667,
        (2, "aurora"): 0,
        (2, "borealis"): 0,
    }
    [first, second] = AnsweredQuestions.all(open_aggregator_journal(story.run.aggregator / "state"))
    assert len(first.questions) == len(QUESTIONS)
    assert second.questions == first.questions


def test_a_person_in_statistics_alone_is_taken_out_without_training(story: Story) -> None:
    left = [row for row in ROWS["aurora"] if row.subject != "Ann Lee"] + ROWS["borealis"]
    served = story.served(story.without_person)
    assert encode(served.tensors()) == encode(sums_of(left).tensors())
    assert solve(served).weights.tobytes() == solve(sums_of(left)).weights.tobytes()
    # Only the newest contribution was registered again, and nothing was trained for it.
    assert story.steps == [2]
    assert '"step": "train"' not in story.daemons["aurora"].log.read_text().split("retrain")[-1]


def test_the_blocks_of_the_person_s_organization_stay_as_they_were(story: Story) -> None:
    before, after = story.tensors(story.before), story.tensors(story.without_person)
    for name in blocks_of(before):
        for bare, value in block(before, name).items():
            if not bare.startswith("digest."):
                assert (value == block(after, name)[bare]).all()


def test_a_removed_organization_is_in_neither_blocks_nor_sums(story: Story) -> None:
    leaver = story.run.facts().organizations["borealis"].lower()
    assert leaver not in blocks_of(story.tensors(story.after))
    left = [row for row in ROWS["aurora"] if row.subject != "Ann Lee"]
    assert encode(story.served(story.after).tensors()) == encode(sums_of(left).tensors())


def test_both_withdrawals_are_certified(story: Story) -> None:
    for number in (story.person, story.removal):
        statuses = accepted(story.run, story.record, number)
        assert statuses["arithmetic"] == "passed"
        assert statuses["adapter"] == "passed"


def test_the_certificate_names_the_head_and_verify_solves_it_again(story: Story) -> None:
    statuses = accepted(story.run, story.record, story.removal)
    assert statuses["heads"] == "passed"
    path = story.run.root / f"certificate-{story.removal}.json"
    certificate = read_certificate(path)
    served = story.served(story.after)
    assert [each.head for each in certificate.heads] == [solve(served).id]
    other = certificate.heads[0].model_copy(update={"head": "ab" * 32})
    certificate.model_copy(update={"heads": (other,)}).save(path)
    inputs = Inputs(contracts=story.run.contracts, artifacts=[story.run.store])
    refused = verify(path, rpc_url=story.record.chain.rpc_url, inputs=inputs)
    assert [check.name for check in refused.checks if check.status == "failed"] == ["heads"]


def test_the_router_s_sums_are_of_the_questions_of_who_is_left(story: Story) -> None:
    numbers = {name: story.record.member(a).number for name, a in story.addresses.items()}
    own = {
        name: ROUTER.collect(
            ROUTER.features.of([row.question for row in read_examples(story.data(name))]),
            numbers[name],
        )
        for name in ROWS
    }
    every = RowStatistics.sum(own.values())
    assert encode(story.router(story.before).tensors()) == encode(every.tensors())
    assert encode(story.router(story.after).tensors()) == encode(own["aurora"].tensors())


def test_sums_that_did_not_change_are_not_sent_again(story: Story) -> None:
    """The second round's statistics are those of the first, but for 64 KiB of hiding noise."""
    address = story.addresses["aurora"]
    first, second = (
        next(
            e.parts.artifact_ids[1]
            for e in story.record.contributions(n)
            if e.organization == address
        )
        for n in (1, 2)
    )
    assert first != second
    sent = {each["artifact"]: each for each in story.daemons["aurora"].events("sent")}
    noise = 4 * HIDING_SHAPE[0] * HIDING_SHAPE[1]
    assert sent[first]["moved"] >= sent[first]["size"]
    assert noise <= sent[second]["moved"] < noise + 4096 < sent[second]["size"]


def test_a_manifest_lists_the_rows_and_the_questions_that_are_in_the_sums(story: Story) -> None:
    folder = story.run.organization("aurora")
    with Ledger.open(folder / "ledger", load_key(folder / "ledger.key", None)) as ledger:
        records = list(ledger.records("manifest"))
    manifests = {each.payload["round"]: Manifest.from_json(each.payload) for each in records[:2]}
    asked = read_examples(story.data("aurora"))
    for row in [*ROWS["aurora"], *asked]:
        assert manifests[2].prove(row.subject, sample_bytes(*row.content)).path.inside


def test_the_model_before_a_withdrawal_has_its_own_router(story: Story) -> None:
    """The chain still has the members' numbers, and the adapter the sums of that time."""
    accepted(story.run, story.record, story.removal)
    shutil.copy(story.run.root / f"certificate-{story.removal}.json", story.run.certificate)
    before = RunAssistant.load(story.run.root, before=True)
    router = before.assistant.router
    assert isinstance(router, AdditiveRouter)
    sums = router.total.tensors()
    assert encode(sums) == encode(story.router(story.without_person).tensors())
    assert router.organizations == tuple(sorted(a.lower() for a in story.addresses.values()))
    evidence = before.reply("Where was Ada born?").evidence
    assert evidence.router == router.name
    assert set(evidence.choice.scores) == set(router.organizations)
