"""Replays in a federated consortium, by real daemons that are killed in the middle.

They make the same bytes as a run that the organization never joined, or that never had the data
subject.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.contracts import Consortium, MemberStatus
from rescind.devnet import RunFolder
from rescind.devnet.data import generated
from tests.support.daemons import consortium, finals, wait_for
from tests.support.library import adapter_of, play
from tests.support.withdrawals import (
    accepted,
    adapter,
    ask,
    attest,
    closed,
)

ROUNDS = 3
pytestmark = pytest.mark.slow


@dataclass(frozen=True)
class Story:
    """Organization aurora is replayed away; then borealis replays without one of its subjects.

    `models`: the model number after each replay; `adapters`: before, between and after them.
    """

    run: RunFolder
    record: Consortium
    subject: str
    checked: set[str]
    models: list[int]
    adapters: list[str]
    certificates: list[dict[str, str]]


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    subject = generated(3, seed=1).organizations["borealis"][0].subject
    folder, models, certificates = tmp_path_factory.mktemp("run"), [], []
    with consortium(folder, ROUNDS, organizations=3, coupling="federated") as opened:
        run, record, daemons = opened
        kills = {"borealis": "retrain", "cirrus": "offer", "aggregator": "advance-replay"}
        for name, daemon in daemons.items():
            daemon.start(*((kills[name], "after") if name in kills else ()))
        wait_for("the rounds", lambda: finals(record) == ROUNDS)
        adapters = [adapter(record)]

        whole = ask(run, "aurora", "--method", "replay")
        for name in ("borealis", "cirrus"):
            daemons[name].die()
            daemons[name].start()
        daemons["aggregator"].die()
        daemons["aggregator"].start()
        checked = set(attest(run, record, whole, 1, 2))
        wait_for("the replay", lambda: closed(record, whole))
        certificates.append(accepted(run, record, whole))
        models.append(record.latest_model_id())
        adapters.append(adapter(record))

        partial = ask(run, "borealis", "--method", "replay", "--subject", subject)
        attest(run, record, partial, 1, 2)
        wait_for("the replay for a subject", lambda: closed(record, partial))
        certificates.append(accepted(run, record, partial))
        models.append(record.latest_model_id())
        adapters.append(adapter(record))
        for daemon in daemons.values():
            daemon.stop()
        yield Story(run, record, subject, checked, models, adapters, certificates)


def test_auditors_check_the_starts_contributions_and_adapter_of_a_replay(story: Story) -> None:
    assert {"starts", "contributions", "adapter"} <= story.checked


def test_both_replays_are_certified(story: Story) -> None:
    assert [certificate["attested"] for certificate in story.certificates] == ["passed"] * 2


def test_a_replay_takes_the_organization_out_of_the_model(story: Story) -> None:
    leaver = story.run.facts().organizations["aurora"]
    assert story.record.is_clean(story.models[0], leaver)
    assert story.record.member(leaver).status is MemberStatus.WITHDRAWN
    assert story.adapters[1] != story.adapters[0]


def test_a_replay_is_the_run_that_was_never_joined(story: Story, tmp_path: Path) -> None:
    never_joined = play(story.run, tmp_path, ROUNDS, absent="aurora")
    assert adapter_of(never_joined) == story.adapters[1]


def test_a_replay_for_a_subject_is_the_run_without_its_data(story: Story, tmp_path: Path) -> None:
    without = play(story.run, tmp_path, ROUNDS, absent="aurora", without=[story.subject])
    assert adapter_of(without) == story.adapters[2]
