"""A node uses no file that an aggregator publishes and that does not open to the chain's points."""

from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pytest

from rescind.aggregator.facts import ModelFact
from rescind.core import Opening, OpeningMismatch, Totals, decode_openings, encode, encode_openings
from rescind.node import Node
from rescind.node.adopting import adopt, adopted_tensors
from tests.aggregator.scene import Files, Member, Scene, make_files
from tests.node.stage import open_node
from tests.support.chain import Anvil

NAMES = ("first", "second", "third")
LARGEST_WORD = np.uint64(2**64 - 1)
Openings = dict[str, Opening]


@dataclass(frozen=True)
class Folded:
    """A removal was folded: `before` is the model with the third member, `head` the one without."""

    files: Files
    before: int
    head: int


@dataclass
class Stage:
    """The same, with the first member's node."""

    scene: Scene
    node: Node
    before: int
    head: int

    @property
    def first(self) -> str:
        return self.scene.members[0].account.address.lower()

    @property
    def removed(self) -> Member:
        return self.scene.members[2]

    def files(self, model_id: int) -> tuple[Totals, Openings]:
        """Return what the aggregator published for a model."""
        published = self.scene.record.publications(model_id)[-1]
        opening = self.scene.aggregator.session.store.get(published.opening_id)
        return self.scene.published(model_id), decode_openings(opening)

    def publish(self, tensors: Totals, openings: Openings) -> None:
        """Let the aggregator give other files out for the head."""
        session = self.scene.aggregator.session
        adapter = session.publish(encode(tensors))
        opening = session.publish(encode_openings(openings.values()))
        commitments = self.scene.record.commitments(self.head)
        ModelFact(self.head, commitments, adapter, opening).save(session.journal)


@pytest.fixture(scope="module")
def folded(running_anvil: Anvil, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Folded]:
    """The files after the removal, which every test gets a copy of."""
    folder = tmp_path_factory.mktemp("folded")
    with make_files(running_anvil, folder, names=NAMES) as files:
        with files.opened() as scene:
            scene.play_together()
            before = scene.settled()
            scene.members[2].record.request_withdrawal()
            scene.tick_until(lambda: scene.record.latest_model_id() > before)
            head = scene.settled()
        yield Folded(files, before, head)


@pytest.fixture
def stage(folded: Folded, anvil: Anvil, tmp_path: Path) -> Iterator[Stage]:
    assert anvil is folded.files.anvil
    with (
        folded.files.copied(tmp_path).opened() as scene,
        open_node(scene, scene.members[0]) as node,
    ):
        yield Stage(scene, node, folded.before, folded.head)


def test_a_file_that_keeps_the_withdrawn_block_is_not_adopted(stage: Stage) -> None:
    stage.publish(*stage.files(stage.before))
    owner = stage.removed.account.address.lower()
    with pytest.raises(OpeningMismatch, match=f"{owner}, which is not in the model's content"):
        adopt(stage.node.session, stage.head)


def test_a_withdrawn_block_under_another_members_name_is_not_used(stage: Stage) -> None:
    tensors, openings = stage.files(stage.head)
    kept, _ = stage.files(stage.before)
    owner = stage.removed.account.address.lower()
    renamed = {
        name.replace(owner, stage.first): value
        for name, value in kept.items()
        if name.startswith(owner)
    }
    stage.publish({**tensors, **renamed}, openings)
    used = adopted_tensors(stage.node.session, stage.head)
    assert not [name for name in used if name.startswith(stage.first)]
    assert used


def out_of_range(opening: Opening) -> Opening:
    words = opening.words.copy()
    words[0] = LARGEST_WORD
    return Opening.from_words(opening.owner, words)


def one_off(opening: Opening) -> Opening:
    words = opening.words.copy()
    words[-1] += np.uint64(1)
    return Opening.from_words(opening.owner, words)


@pytest.mark.parametrize("change", [out_of_range, one_off])
def test_a_block_whose_opening_was_changed_is_not_used(
    stage: Stage, change: Callable[[Opening], Opening]
) -> None:
    tensors, openings = stage.files(stage.head)
    stage.publish(tensors, {**openings, stage.first: change(openings[stage.first])})
    used = adopted_tensors(stage.node.session, stage.head)
    assert not [name for name in used if name.startswith(stage.first)]
    assert used


def test_a_file_with_a_foreign_owner_is_not_adopted(stage: Stage) -> None:
    tensors, openings = stage.files(stage.head)
    stranger = "0x" + "dd" * 20
    stage.publish({**tensors, f"{stranger}/layer.lora_A": np.ones(2, dtype=np.int64)}, openings)
    with pytest.raises(OpeningMismatch, match=f"tensors of {stranger}, which is not"):
        adopt(stage.node.session, stage.head)
    foreign = replace(openings[stage.first], owner=stranger)
    stage.publish(tensors, {**openings, stranger: foreign})
    with pytest.raises(OpeningMismatch, match=f"names {stranger}"):
        adopt(stage.node.session, stage.head)


def test_a_node_that_was_refused_files_adopts_good_ones_later(stage: Stage) -> None:
    good = stage.files(stage.head)
    stage.publish(*stage.files(stage.before))
    with pytest.raises(OpeningMismatch):
        adopt(stage.node.session, stage.head)
    stage.publish(*good)
    adopt(stage.node.session, stage.head)
    assert adopted_tensors(stage.node.session, stage.head).keys() == good[0].keys()
