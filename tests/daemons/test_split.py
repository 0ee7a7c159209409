"""Private and shared ranks in one consortium of real daemons: two people and an organization leave."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from rescind.audit import Inputs, verify
from rescind.contracts import Consortium, Rule
from rescind.core import (
    SHARED,
    ArtifactStore,
    ConsortiumParameters,
    add_totals,
    block,
    blocks_of,
    is_hiding,
    split_owner,
)
from rescind.core.layout import split_sum
from rescind.devnet import RunFolder
from rescind.devnet.data import generated
from rescind.training import Assistant, load_agreed
from tests.support.commands import rescind
from tests.support.daemons import consortium, finals, wait_for
from tests.support.withdrawals import accepted, adapter, ask, certified, closed, settled

pytestmark = pytest.mark.slow

Tensors = Mapping[str, Any]
CORPUS = generated(2, seed=1)
"""The organizations that `consortium` makes."""


@dataclass(frozen=True)
class Story:
    """Two rounds; a person of aurora's private rows goes, then a public one, then borealis."""

    run: RunFolder
    record: Consortium
    rounds: list[Tensors]
    before: Tensors
    private: int
    without_private: Tensors
    public: int
    without_public: Tensors
    removal: int
    after: Tensors

    def owner(self, name: str) -> str:
        return self.run.facts().organizations[name].lower()

    @property
    def parameters(self) -> ConsortiumParameters:
        return ConsortiumParameters.parse(self.run.parameters.read_bytes())


def owned(tensors: Tensors, owner: str) -> Tensors:
    """Return an owner's integers, without noise."""
    own = block(tensors, owner)
    return {name: value for name, value in own.items() if not is_hiding(name)}


def loaded(run: RunFolder, *artifacts: str) -> Tensors:
    """Return tensors of artifacts, copied: their files are erased after a withdrawal."""
    store = ArtifactStore(run.store)
    tensors = {name: v for each in artifacts for name, v in store.load(each).items()}
    return {name: np.array(value) for name, value in tensors.items()}


def aggregate(run: RunFolder, record: Consortium, round_id: int) -> Tensors:
    """Return what the library makes of a round's deltas."""
    revealed = record.contributions(round_id)
    parts = {each.organization: loaded(run, *each.parts.artifact_ids) for each in revealed}
    return split_sum(parts)


@pytest.fixture(scope="module")
def story(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Story]:
    folder: Path = tmp_path_factory.mktemp("split")
    public = CORPUS.public("aurora")
    revocable = next(e.subject for e in CORPUS.own("aurora") if e.subject not in public)
    with consortium(folder, 2, coupling="split", scored=True, keep_withdrawn=False) as (
        run,
        record,
        daemons,
    ):
        for daemon in daemons.values():
            daemon.start()
        wait_for("two rounds", lambda: finals(record) == 2)
        before = loaded(run, adapter(record))
        rounds = [aggregate(run, record, number) for number in (1, 2)]
        wait_for("settled", lambda: all(settled(run, name, 2) for name in CORPUS.organizations))
        models, numbers = [], []
        for subject in (revocable, public[0]):
            number = ask(run, "aurora", "--method", "replacement", "--subject", subject)
            wait_for("the person's withdrawal", lambda n=number: closed(record, n))
            numbers.append(number)
            models.append(loaded(run, adapter(record)))
        removal = ask(run, "borealis", "--method", "removal")
        wait_for("the removal", lambda: closed(record, removal))
        yield Story(
            run, record, rounds, before, numbers[0], models[0], numbers[1], models[1], removal,
            loaded(run, adapter(record)),
        )  # fmt: skip


def same(first: Mapping[str, Any], other: Mapping[str, Any]) -> bool:
    return set(first) == set(other) and all(np.array_equal(first[n], other[n]) for n in first)


def test_a_model_holds_private_ranks_and_the_sum_of_the_shared_ones(story: Story) -> None:
    assert story.record.settings().rules == (Rule.BLOCK, Rule.SHARE)
    assert len(blocks_of(story.before)) == 2
    # The library's sum of both rounds is what contracts and daemons came to.
    assert same(add_totals(story.rounds), story.before)


def test_a_person_in_private_ranks_leaves_the_shared_ones_bit_for_bit(story: Story) -> None:
    shared = owned(story.before, SHARED)
    assert any(value.any() for value in shared.values())
    assert same(shared, owned(story.without_private, SHARED))
    aurora, borealis = story.owner("aurora"), story.owner("borealis")
    assert not same(owned(story.before, aurora), owned(story.without_private, aurora))
    assert same(owned(story.before, borealis), owned(story.without_private, borealis))


def test_a_person_in_public_rows_is_trained_out_of_the_shared_ranks(story: Story) -> None:
    assert not same(owned(story.without_private, SHARED), owned(story.without_public, SHARED))


def test_a_removed_organization_is_in_neither_part(story: Story) -> None:
    assert {split_owner(name)[0] for name in story.after} == {story.owner("aurora"), SHARED}
    head = story.record.latest_model_id()
    for part in (0, 1):
        content = story.record.content(head, part)
        assert {each.organization.lower() for each in content} == {story.owner("aurora")}
        assert {each.weight for each in content} == {10_000}


def test_all_withdrawals_are_certified_and_say_what_stays(story: Story) -> None:
    for number in (story.private, story.public, story.removal):
        statuses = accepted(story.run, story.record, number)
        assert statuses["removed"] == statuses["commitments"] == "passed"
    # What later withdrawals took out is erased, so the last one alone is summed again.
    for name in ("arithmetic", "adapter", "contributions"):
        assert statuses[name] == "passed"
    checked = certified(story.run, story.record, story.removal)
    removed = next(check for check in checked.checks if check.name == "removed")
    assert "what later rounds learned from its shared ranks stays" in removed.detail


def test_verify_opens_both_parts_of_a_served_file(story: Story, tmp_path: Path) -> None:
    certificate = story.run.root / f"certificate-{story.removal}.json"
    accepted(story.run, story.record, story.removal)
    store = ArtifactStore(story.run.store)
    published = story.record.publications(story.record.latest_model_id())[-1]
    served, opening = tmp_path / "adapter", tmp_path / "opening"
    opening.write_bytes(store.get(published.opening_id))
    data = store.get(published.adapter_id)
    served.write_bytes(data)

    def checked():
        inputs = Inputs(story.run.contracts, (), served, opening, story.run.parameters)
        return verify(certificate, rpc_url=story.record.chain.rpc_url, inputs=inputs)

    result = checked()
    assert result.exit_code == 0
    standings = {each.owner: each.standing for each in result.owners}
    assert standings == dict.fromkeys((SHARED, story.owner("aurora")), "opened by the holder")
    changed = bytearray(data)
    changed[-1] ^= 1  # the last tensors are the shared ones
    served.write_bytes(changed)
    assert [each.name for each in checked().checks if each.status == "failed"] == ["adapter"]


def test_a_served_model_answers_with_private_ranks_beside_shared_ones(story: Story) -> None:
    model = load_agreed(str(story.run.facts().model), story.parameters)
    assistant = Assistant(model, story.parameters, story.after)
    assert assistant.blocks == (story.owner("aurora"),)
    answer = assistant.ask(CORPUS.own("aurora")[0])
    assert answer.organization in (None, story.owner("aurora"))


def test_a_replay_is_refused_with_one_line(story: Story) -> None:
    config = story.run.organization("aurora") / "node.toml"
    done = rescind("withdraw", "request", "-c", config, "--method", "replay")
    assert done.returncode != 0
    assert "contributions hold shared ranks, and a replay takes nothing out of them" in " ".join(
        done.stderr.split()
    )
