"""The shared ranks that a round of a split coupling is trained again from."""

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from rescind.contracts import Entry
from rescind.core import SHARED, ArtifactStore, artifact_id, encode
from rescind.node import retraining, rounds
from rescind.node.facts import AdoptedModel
from rescind.wire import ModelFiles
from tests.support.consortium import split_parameters

OWN, SUM = {f"{SHARED}/x": np.array([3], np.int64)}, {f"{SHARED}/x": np.array([5], np.int64)}
OTHERS = {"0xaa/x": np.array([7], np.int64)}
ENTRIES = {1: [Entry(1, "0xAA", 0, 10_000, "p", 1)]}


class Aggregator:
    """Gives out the sum of what is left."""

    def __init__(self) -> None:
        self.asked: list[tuple[int, int]] = []

    def replay_start(self, offer_id: int, round_id: int) -> ModelFiles:
        self.asked.append((offer_id, round_id))
        return ModelFiles(0, "sum", "opening")


@pytest.fixture
def session(tmp_path, monkeypatch: pytest.MonkeyPatch) -> Any:
    store = ArtifactStore(tmp_path)
    kept = store.put(encode({**OWN, **OTHERS}))
    facts = {1: AdoptedModel(1, kept, ""), 2: AdoptedModel(2, artifact_id(b"gone"), "")}
    monkeypatch.setattr(retraining, "adopted", lambda _, number: facts.get(number))
    monkeypatch.setattr(rounds, "adopted_tensors", lambda _, number: store.load(kept))
    monkeypatch.setattr(retraining, "remaining_content", lambda _, __, part: ENTRIES[part])
    monkeypatch.setattr(
        retraining, "checked_sum", lambda _, files, entries: SUM if entries else pytest.fail(files)
    )
    return SimpleNamespace(
        parameters=split_parameters(), store=store, client=Aggregator(), consortium=None
    )


def test_a_parent_at_hand_gives_its_shared_ranks_alone(session: Any) -> None:
    start = retraining._shared_start(session, 4, 2, parent=1)
    assert start.adapter.keys() == OWN.keys()
    assert not session.client.asked


@pytest.mark.parametrize("parent", [2, 3], ids=["deleted", "never adopted"])
def test_without_the_parent_s_file_what_is_left_of_it_is_summed(session: Any, parent: int) -> None:
    start = retraining._shared_start(session, 4, 3, parent=parent)
    assert start.adapter == SUM
    assert session.client.asked == [(4, 3)]


def test_the_first_round_starts_from_nothing(session: Any, monkeypatch: Any) -> None:
    monkeypatch.setattr(rounds, "adopted_tensors", lambda _, __: {})
    assert retraining._shared_start(session, 4, 1, parent=0).adapter == {}
    assert not session.client.asked
