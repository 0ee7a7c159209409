"""Blocks and summed statistics in one consortium of real daemons: a person and an organization leave."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.audit import Inputs, read_certificate, verify
from rescind.contracts import Consortium
from rescind.core import STATISTICS, ArtifactStore, block, blocks_of, encode
from rescind.core.statistics import RowStatistics
from rescind.core.statistics_tensors import named_statistics
from rescind.devnet import RunFolder
from rescind.node.facts import open_journal
from rescind.node.withdrawal_facts import OfferedDelta
from rescind.training import read_examples
from rescind.training.heads import solve
from tests.support.daemons import Daemon, consortium, finals, wait_for
from tests.support.desk import AGREED, REFERENCE, ROUTER, ROWS, sums_of
from tests.support.withdrawals import accepted, adapter, ask, closed, settled

pytestmark = pytest.mark.slow


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
    rows = {name: {"desk": own} for name, own in ROWS.items()}
    with consortium(
        folder, 2, coupling="hybrid", statistics=AGREED, rows=rows, reference=REFERENCE
    ) as opened:
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
