"""A node fetches the blocks of a model that changed, and no other bytes but the header."""

from contextlib import nullcontext
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from rescind.core import WEIGHT_ONE
from rescind.node.adopting import adopt, adopted, adopted_tensors
from rescind.node.facts import AdoptedModel
from rescind.node.keeping import NEWEST_KEPT, delete_superseded
from rescind.wire import WrongHash
from tests.support.consortium import micro_parameters
from tests.support.models_of_blocks import Blocks

SHAPES = {"layer.lora_A": (8, 300), "layer.lora_B": (300, 8), "other.lora_B": (33, 5)}
BLOCK = 8 * (2 * 8 * 300 + 33 * 5)
MEMBERS = 6


@pytest.fixture
def blocks(tmp_path: Path) -> Blocks:
    made = Blocks(tmp_path, micro_parameters(shapes=SHAPES), MEMBERS)
    made.play(1)
    return made


def fetched(blocks: Blocks, model: int) -> float:
    """Adopt the newest published model; return how many blocks were sent, besides the header."""
    files, published = blocks.client.files, blocks.published
    header = 8 + int.from_bytes(published.read(files.adapter_id, 0, 8)[0], "little")
    opening = published.read(files.opening_id, 0, 1)[1]
    before = blocks.client.fetched
    adopt(blocks.session, model)
    assert adopted(blocks.session, model)
    assert blocks.session.store.get(files.adapter_id) == published.get(files.adapter_id)
    return (blocks.client.fetched - before - opening - header) / BLOCK


def test_the_first_model_is_fetched_without_the_own_block(blocks: Blocks) -> None:
    blocks.publish(1)
    assert fetched(blocks, 1) == MEMBERS - 1


def test_only_blocks_that_changed_are_fetched(blocks: Blocks) -> None:
    blocks.publish(1)
    adopt(blocks.session, 1)
    blocks.play(2, blocks.people[3:5])
    blocks.publish(2)
    assert fetched(blocks, 2) == 2
    assert len(adopted_tensors(blocks.session, 2)) == MEMBERS * len(SHAPES)


def test_a_removal_is_only_a_header(blocks: Blocks) -> None:
    blocks.publish(1)
    adopt(blocks.session, 1)
    blocks.publish(2, out=blocks.people[2:3])
    assert fetched(blocks, 2) == 0
    assert not AdoptedModel.load(blocks.session.journal, 2).left_out


def test_a_block_of_an_older_model_is_taken_too(blocks: Blocks) -> None:
    """A member that paused for a round, whose block is in the models before and after."""
    blocks.publish(1)
    adopt(blocks.session, 1)
    blocks.publish(2, out=blocks.people[5:])
    adopt(blocks.session, 2)
    blocks.play(2, blocks.people[3:4])
    blocks.publish(3)
    assert fetched(blocks, 3) == 1


def test_a_block_that_did_not_open_is_fetched_again(blocks: Blocks) -> None:
    blocks.publish(1)
    adopt(blocks.session, 1)
    fact = AdoptedModel.load(blocks.session.journal, 1)
    assert fact is not None
    replace(fact, left_out=(blocks.people[4],)).save(blocks.session.journal)
    blocks.publish(2, out=blocks.people[2:3])
    assert fetched(blocks, 2) == 1


def test_own_deltas_that_are_lost_are_fetched_as_a_block(blocks: Blocks) -> None:
    (own, _), *_ = blocks.terms[blocks.people[0]]
    blocks.session.store.delete(own.artifact_id)
    blocks.publish(1)
    assert fetched(blocks, 1) == MEMBERS


def test_a_wrong_hint_costs_a_full_download_and_nothing_else(blocks: Blocks) -> None:
    """An aggregator publishes another block than the contributions on chain come to."""
    blocks.publish(1)
    adopt(blocks.session, 1)
    term, digest = blocks.terms[blocks.people[4]][0]
    blocks.terms[blocks.people[4]][0] = (replace(term, weight=WEIGHT_ONE - 1), digest)
    files = blocks.publish(2)
    size = blocks.published.read(files.adapter_id, 0, 1)[1]
    before = blocks.client.fetched
    adopt(blocks.session, 2)
    assert blocks.client.fetched - before > size
    fact = AdoptedModel.load(blocks.session.journal, 2)
    assert fact is not None
    # The block is not what the chain says, so it is left out.
    assert fact.left_out == (blocks.people[4],)


def test_a_file_that_is_damaged_at_the_aggregator_is_refused(blocks: Blocks) -> None:
    files = blocks.publish(1)
    path = Path(blocks.published._path(files.adapter_id))
    data = bytearray(path.read_bytes())
    data[-3] ^= 1
    path.write_bytes(bytes(data))
    with pytest.raises(WrongHash):
        adopt(blocks.session, 1)
    assert not adopted(blocks.session, 1)


def test_a_download_that_was_cut_goes_on_with_the_held_blocks(blocks: Blocks) -> None:
    class Cut(Exception):
        pass

    blocks.publish(1)
    adopt(blocks.session, 1)
    blocks.play(2, blocks.people[4:])
    files = blocks.publish(2)
    calls = 0

    def cut() -> None:
        nonlocal calls
        calls += 1
        if calls > 5:
            raise Cut

    blocks.client.on_piece = cut
    with pytest.raises(Cut):
        adopt(blocks.session, 2)
    blocks.client.on_piece = None
    adopt(blocks.session, 2)
    assert blocks.session.store.get(files.adapter_id) == blocks.published.get(files.adapter_id)


def test_files_of_superseded_models_are_deleted(blocks: Blocks) -> None:
    adapters = []
    for model in range(1, NEWEST_KEPT + 4):
        blocks.play(model + 1, blocks.people[1:2])
        adapters.append(blocks.publish(model).adapter_id)
        adopt(blocks.session, model)
    session = blocks.session
    session.config.node.keep_withdrawn = False
    session.consortium.chain = SimpleNamespace(at_one_block=nullcontext)
    session.consortium.current_round_id = lambda: 9
    session.consortium.round = lambda _: SimpleNamespace(parent_model=model)
    session.consortium.latest_model_id = lambda: model
    session.consortium.models_in_use = lambda: [2, model]
    delete_superseded(session)
    kept = [n for n, each in enumerate(adapters, 1) if session.store.has(each)]
    assert kept == [2, *range(model - NEWEST_KEPT + 1, model + 1)]
    assert adopted(session, 1)
    # What is needed again is fetched again.
    assert adopted_tensors(session, 1)
