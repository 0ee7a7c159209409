"""Two people leave a hybrid consortium of real daemons: one from statistics alone, one from both."""

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.contracts import Consortium
from rescind.core import STATISTICS, ArtifactStore, block, blocks_of, encode, is_hiding
from rescind.core.statistics_parameters import StatisticsParameters
from rescind.core.statistics_tensors import named_statistics
from rescind.devnet import RunFolder
from rescind.devnet.data import generated
from rescind.node.facts import AdoptedModel, open_journal
from rescind.node.withdrawal_facts import OfferedDelta
from rescind.training import Example
from tests.support.daemons import consortium, finals, wait_for
from tests.support.desk import DESK, sums_of
from tests.support.library import play
from tests.support.withdrawals import accepted, adapter, ask, closed, settled

ROUNDS = 2
AGREED = StatisticsParameters(tasks={"desk": DESK})
CUSTOMER = "Ann Lee"
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Left:
    """A person's withdrawal.

    Attributes:
        number: Its number.
        seconds: From the mined request until another organization had opened the model after it.
        trained: The rounds of which a delta was registered again.
        adapter: The adapter after it.
    """

    number: int
    seconds: float
    trained: tuple[int, ...]
    adapter: str


@dataclass(frozen=True)
class Story:
    """Two rounds; the customer leaves aurora's statistics, then somebody who is in its block too."""

    run: RunFolder
    record: Consortium
    before: str
    customer: Left
    somebody: str
    both: Left

    def blocks(self, adapter_id: str) -> bytes:
        """Return the bytes of an adapter's blocks, without hiding noise."""
        tensors = ArtifactStore(self.run.store).load(adapter_id)
        return encode(
            {
                f"{name}/{bare}": value
                for name in blocks_of(tensors)
                for bare, value in block(tensors, name).items()
                if not is_hiding(bare)
            }
        )

    def sums(self, adapter_id: str) -> bytes:
        tensors = ArtifactStore(self.run.store).load(adapter_id)
        return encode(named_statistics(AGREED, block(tensors, STATISTICS))["desk"].tensors())


def rows_of(name: str, somebody: str) -> list[Example]:
    if name == "borealis":
        return [Example("What does a loan cost?", "loans", "Cy Roe")]
    return [
        Example("My card is lost", "cards", CUSTOMER),
        Example("The card is blocked", "cards", somebody),
        Example("I forgot the PIN of my card", "cards", "Bo Kim"),
        Example("My loan is paid", "loans", somebody),
    ]


def leave(run: RunFolder, record: Consortium, subject: str) -> Left:
    number = ask(run, "aurora", "--method", "replacement", "--subject", subject)
    mined, before = time.monotonic(), record.latest_model_id()
    other = open_journal(run.node_state("borealis"))
    wait_for("another model", lambda: record.latest_model_id() > before)
    wait_for("its opening", lambda: record.latest_model_id() in AdoptedModel.ids(other))
    seconds = time.monotonic() - mined
    wait_for("the end of the withdrawal", lambda: closed(record, number))
    offered = OfferedDelta.all(open_journal(run.node_state("aurora")))
    own = [fact for fact in offered if fact.offer_id == number and not fact.unchanged]
    trained = tuple(fact.round_id for fact in own if fact.report.get("trained", True))
    return Left(number, seconds, trained, adapter(record))


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    somebody = generated(2, seed=1).organizations["aurora"][0].subject
    rows = {name: {"desk": rows_of(name, somebody)} for name in ("aurora", "borealis")}
    folder = tmp_path_factory.mktemp("people")
    with consortium(folder, ROUNDS, coupling="hybrid", statistics=AGREED, rows=rows) as opened:
        run, record, daemons = opened
        for daemon in daemons.values():
            daemon.start()
        wait_for("the rounds", lambda: finals(record) == ROUNDS)
        wait_for("settled", lambda: all(settled(run, name, ROUNDS) for name in rows))
        before = adapter(record)
        customer = leave(run, record, CUSTOMER)
        yield Story(run, record, before, customer, somebody, leave(run, record, somebody))


def sums_without(story: Story, *subjects: str) -> bytes:
    names = story.run.facts().organizations
    rows = [row for name in names for row in rows_of(name, story.somebody)]
    kept = [row for row in rows if row.subject not in subjects]
    return encode(sums_of(kept).tensors())


def test_a_person_in_statistics_alone_leaves_without_training(story: Story) -> None:
    assert story.customer.trained == ()
    assert story.sums(story.customer.adapter) == sums_without(story, CUSTOMER)
    assert story.blocks(story.customer.adapter) == story.blocks(story.before)


def test_a_person_in_both_leaves_the_bytes_of_a_run_without(story: Story, tmp_path: Path) -> None:
    assert story.both.trained == (1, 2)
    assert story.sums(story.both.adapter) == sums_without(story, CUSTOMER, story.somebody)
    without = play(story.run, tmp_path, ROUNDS, without=[story.somebody]).adapter()
    assert story.blocks(story.both.adapter) == encode(without)
    assert story.blocks(story.both.adapter) != story.blocks(story.before)


def test_both_times_are_reported(
    story: Story, record_property: Callable[[str, object], None]
) -> None:
    times: Sequence[tuple[str, Left]] = [("statistics", story.customer), ("both", story.both)]
    for name, left in times:
        print(f"a person in {name}: {left.seconds:.2f} s")
        record_property(f"seconds_{name}", left.seconds)
        assert left.seconds > 0


def test_both_withdrawals_are_certified(story: Story) -> None:
    for left in (story.customer, story.both):
        assert accepted(story.run, story.record, left.number)["arithmetic"] == "passed"
