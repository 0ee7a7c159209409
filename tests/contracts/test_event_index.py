"""The index of events against scripted chains and providers."""

from __future__ import annotations

import sqlite3
import stat
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from unittest import mock

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rescind.contracts import Chain, ChainUnavailable, EventIndex, event_reading
from rescind.contracts.rpc import Log
from rescind.core.errors import ConfigError
from tests.support.scripted_chain import ADDRESSES, TOPICS, Block, ScriptedChain, deployment

LOG = ((0, 1),)
EMPTY: tuple[tuple[int, int], ...] = ()


def index_of(
    scripted: ScriptedChain,
    path: Path | None = None,
    *,
    confirmations: int = 0,
    at_once: int = 1,
    **options: Any,
) -> EventIndex:
    chain = scripted.chain(confirmations)
    return EventIndex(chain, deployment(), path, at_once=at_once, pause=lambda _: None, **options)


def read(index: EventIndex, head: int, first: int = 0) -> list[Log]:
    return index.logs(ADDRESSES, (), first, head)


def expected(scripted: ScriptedChain, last: int | None = None) -> list[tuple[int, int, str]]:
    return [
        (block.number, place, block.hash)
        for block in scripted.blocks[1 : None if last is None else last + 1]
        for place in range(len(block.logs))
    ]


def places(logs: list[Log]) -> list[tuple[int, int, str]]:
    return [(log.block, log.index, log.block_hash) for log in logs]


def grown(blocks: int = 60) -> ScriptedChain:
    """A chain with a log in every third block."""
    scripted = ScriptedChain()
    scripted.mine(*(LOG if n % 3 == 0 else EMPTY for n in range(blocks)))
    return scripted


def test_the_index_has_the_logs_of_the_chain() -> None:
    scripted = grown()
    logs = read(index_of(scripted), 60)
    assert places(logs) == expected(scripted)
    assert logs[0].topics == (bytes.fromhex(TOPICS[1][2:]), bytes(32))
    assert logs[0].address == ADDRESSES[0]


def test_a_second_question_asks_for_no_logs_again() -> None:
    scripted = grown()
    index = index_of(scripted)
    read(index, 60)
    asked = scripted.count("eth_getLogs")
    assert len(index.logs(ADDRESSES[:1], (), 0, 60)) == 20
    assert index.logs(ADDRESSES[1:], (), 0, 60) == []
    assert len(index.logs(ADDRESSES, (bytes.fromhex(TOPICS[1][2:]), None), 30, 60)) == 10
    assert index.logs(ADDRESSES, ((bytes(32),),), 0, 60) == []
    assert len(index.logs(ADDRESSES, (None, [bytes(32), b"\x01" * 32]), 0, 60)) == 20
    assert scripted.count("eth_getLogs") == asked


def test_one_new_block_costs_one_question_for_logs() -> None:
    scripted = grown()
    index = index_of(scripted)
    read(index, 60)
    scripted.asked.clear()
    scripted.mine(LOG)
    assert places(read(index, 61)) == expected(scripted)
    assert [method for method, _ in scripted.asked] == ["eth_getBlockByNumber", "eth_getLogs"]


def test_an_earlier_block_shows_only_its_past() -> None:
    scripted = grown()
    index = index_of(scripted)
    read(index, 60)
    assert places(read(index, 31)) == expected(scripted, 31)
    assert read(index, 0) == []


@pytest.mark.parametrize("at_once", [1, 8])
@pytest.mark.parametrize("most", [1, 3, 7, 1000])
def test_a_provider_that_allows_few_blocks_is_read_in_pages(most: int, at_once: int) -> None:
    scripted = grown(100)
    scripted.most = most
    assert places(read(index_of(scripted, at_once=at_once), 100)) == expected(scripted)


def test_pages_and_blocks_are_asked_for_at_the_same_time() -> None:
    scripted = ScriptedChain()
    scripted.mine(*[EMPTY] * (4 * 2_000 + 16 - 1), LOG)
    together = threading.Barrier(4)
    index = index_of(scripted, at_once=4)
    asked = index._reader._chain.rpc.request

    def request(method: str, *parameters: Any) -> Any:
        if method == "eth_getLogs":
            together.wait(60)  # ends in an error unless four questions wait here
        return asked(method, *parameters)

    with mock.patch.object(index._reader._chain.rpc, "request", request):
        assert places(read(index, scripted.head)) == expected(scripted)
    assert scripted.count("eth_getLogs") == 4 + 16


def test_a_provider_with_a_limit_is_rarely_asked_for_too_much() -> None:
    scripted = ScriptedChain()
    scripted.mine(*[EMPTY] * 100_000)
    scripted.most = 2_000
    read(index_of(scripted, at_once=8), 100_000)
    assert scripted.count("eth_getLogs") <= 50 + 16 + 3 * 8


def test_pages_grow_again_where_the_provider_allows() -> None:
    scripted = ScriptedChain()
    scripted.mine(*[EMPTY] * 30_000)
    read(index_of(scripted), 30_000)
    # 2,000, then 4,000, 8,000 and 16,000 blocks, and the newest 16 one at a time.
    assert scripted.count("eth_getLogs") == 4 + 16


def test_an_answer_that_a_provider_cut_silently_is_read_in_smaller_pages() -> None:
    scripted = ScriptedChain(cut=500)
    scripted.mine(*[(*LOG, *LOG, *LOG)] * 400)
    assert places(read(index_of(scripted), 400)) == expected(scripted)


def test_a_page_without_an_answer_is_halved() -> None:
    scripted = ScriptedChain()
    scripted.mine(*[EMPTY] * 4_000)
    chain = scripted.chain()
    asked = chain.logs

    def logs(addresses: Any, first: int, last: int) -> list[Log]:
        if last - first > 600:
            raise ChainUnavailable("no answer within 60 s")
        return asked(addresses, first, last)

    with mock.patch.object(chain, "logs", logs):
        index = EventIndex(chain, deployment(), pause=lambda _: None)
        assert read(index, 4_000) == []


def test_a_provider_that_refuses_a_single_block_is_reported() -> None:
    scripted = grown()
    scripted.most = 0
    with pytest.raises(ChainUnavailable, match="does not return the events of block 1: at most 0"):
        read(index_of(scripted), 60)


def test_confirmed_blocks_are_read_in_pages_alone() -> None:
    scripted = grown(90)
    index = index_of(scripted, confirmations=64)
    assert places(read(index, 26)) == expected(scripted, 26)
    assert scripted.count("eth_getLogs") == 1


# Reorganizations


@pytest.mark.parametrize("depth", [1, 5, 15, 16, 17, 40, 59, 60])
def test_after_a_reorganization_the_index_is_of_the_new_chain(depth: int) -> None:
    scripted = grown()
    index = index_of(scripted)
    read(index, 60)
    scripted.reorganize(depth, *[LOG] * (depth + 1))
    assert places(read(index, 61)) == expected(scripted)


def test_a_reorganization_to_fewer_blocks_is_noticed() -> None:
    scripted = grown()
    index = index_of(scripted)
    read(index, 60)
    scripted.reorganize(50, *[LOG] * 5)
    assert places(read(index, 15)) == expected(scripted)
    scripted.mine(*[EMPTY] * 60)
    assert places(read(index, 75)) == expected(scripted)


def test_a_shallow_reorganization_does_not_read_the_past_again() -> None:
    scripted = grown(1_000)
    index = index_of(scripted)
    read(index, 1_000)
    scripted.reorganize(3, LOG, LOG, LOG)
    scripted.asked.clear()
    assert places(read(index, 1_000)) == expected(scripted)
    spans = [wanted for method, (wanted, *_) in scripted.asked if method == "eth_getLogs"]
    assert len(spans) <= 4
    assert all("blockHash" in wanted for wanted in spans)


def test_a_head_that_goes_back_deletes_nothing() -> None:
    scripted = grown(300)
    index = index_of(scripted)
    read(index, 300)
    newest, scripted.blocks = scripted.blocks, scripted.blocks[:200]
    assert places(read(index, 199)) == expected(scripted)
    scripted.blocks = newest
    scripted.asked.clear()
    assert places(read(index, 300)) == expected(scripted)
    assert scripted.count("eth_getLogs") == 0


def test_a_block_that_is_replaced_while_it_is_read_is_read_again() -> None:
    scripted = grown(100)

    def replace(request: int) -> None:
        if request == 6:
            scripted.reorganize(90, *[LOG] * 95)

    scripted.before = replace
    assert places(read(index_of(scripted), 100)) == expected(scripted, 100)


def test_a_chain_that_keeps_changing_is_reported() -> None:
    scripted = grown(100)
    scripted.before = lambda _: scripted.reorganize(30, *[EMPTY] * 30)
    with pytest.raises(ChainUnavailable, match="changed 8 times"):
        read(index_of(scripted), 100)


# Back ends that lag


def test_a_back_end_that_lags_hides_no_log() -> None:
    scripted = grown()
    scripted.lags = (0, 0, 3)
    assert places(read(index_of(scripted), 60)) == expected(scripted)


def test_a_block_that_no_back_end_has_is_reported() -> None:
    scripted = grown()
    with pytest.raises(ChainUnavailable, match="does not have block 61"):
        read(index_of(scripted), 61)


def test_events_that_a_far_lagging_back_end_left_out_are_read_again_on_demand() -> None:
    scripted = grown(100)
    index = index_of(scripted)
    chain = scripted.chain()
    with mock.patch.object(index._chain, "logs", return_value=[]):
        read(index, 100)
    assert places(read(index, 100)) != expected(scripted)
    assert index.read_again(100)
    assert places(read(index, 100)) == expected(scripted)
    assert not index.read_again(200)
    assert chain.confirmations == 0


# Answers that are wrong


@pytest.mark.parametrize(
    "change",
    [
        {"removed": True},
        {"blockHash": None},
        {"logIndex": None},
        {"address": "0x" + "ee" * 20},
        {"blockNumber": hex(10**6)},
        {"blockHash": "0x" + "ee" * 32},
    ],
    ids=lambda change: next(iter(change)),
)
def test_a_log_that_cannot_be_right_is_refused(change: dict[str, Any]) -> None:
    scripted = ScriptedChain()
    scripted.mine(*[LOG] * 5)
    documents = Block.documents
    with (
        mock.patch.object(
            Block, "documents", lambda block: [{**each, **change} for each in documents(block)]
        ),
        pytest.raises(ChainUnavailable),
    ):
        read(index_of(scripted), 5)


def test_a_log_that_is_there_twice_is_refused() -> None:
    scripted = ScriptedChain()
    scripted.mine(*[LOG] * 5)
    documents = Block.documents
    with (
        mock.patch.object(Block, "documents", lambda block: documents(block) * 2),
        pytest.raises(ChainUnavailable, match="log 0 of block 1 twice"),
    ):
        read(index_of(scripted), 5)


# Files


def test_the_next_process_reads_only_new_blocks(tmp_path: Path) -> None:
    scripted, path = grown(100), tmp_path / "state" / "events.db"
    index = index_of(scripted, path)
    read(index, 100)
    index.close()
    scripted.asked.clear()
    scripted.mine(LOG)
    assert places(read(index_of(scripted, path), 101)) == expected(scripted)
    assert scripted.count("eth_getLogs") == 1


def test_only_the_owner_can_read_the_file(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    index = index_of(grown(), path)
    read(index, 60)
    modes = {stat.S_IMODE(each.stat().st_mode) for each in tmp_path.iterdir()}
    assert modes == {0o600}


def test_a_first_synchronization_that_was_interrupted_goes_on(tmp_path: Path) -> None:
    scripted, path = grown(200), tmp_path / "events.db"
    scripted.most = 10

    def stop(_: int) -> None:
        if scripted.count("eth_getLogs") == 15:
            raise KeyboardInterrupt

    scripted.before = stop
    with pytest.raises(KeyboardInterrupt):
        read(index_of(scripted, path), 200)
    scripted.before = lambda _: None
    scripted.asked.clear()
    assert places(read(index_of(scripted, path), 200)) == expected(scripted)
    first = next(wanted for method, (wanted, *_) in scripted.asked if method == "eth_getLogs")
    assert int(first["fromBlock"], 16) > 1


def test_two_processes_share_a_file(tmp_path: Path) -> None:
    scripted, path = grown(100), tmp_path / "events.db"
    first, second = index_of(scripted, path), index_of(scripted, path)
    for _ in range(3):
        head = scripted.head
        assert places(read(first, head)) == places(read(second, head)) == expected(scripted)
        scripted.reorganize(20, *[LOG] * 25)


def test_two_threads_share_an_index() -> None:
    scripted = grown(300)
    index, answers = index_of(scripted), list[Any]()
    threads = [
        threading.Thread(target=lambda: answers.append(places(read(index, 300)))) for _ in range(4)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert answers == [expected(scripted)] * 4


def flip_a_byte(path: Path) -> None:
    connection = sqlite3.connect(path)
    connection.execute("UPDATE logs SET data = x'00' WHERE block = 1")
    connection.commit()
    connection.close()


def cut_in_half(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def overwrite(path: Path) -> None:
    data = bytearray(path.read_bytes())
    data[4096:] = b"\xff" * (len(data) - 4096)
    path.write_bytes(bytes(data))


@pytest.mark.parametrize("damage", [flip_a_byte, cut_in_half, overwrite])
def test_a_damaged_file_is_read_from_the_chain_again(tmp_path: Path, damage: Any) -> None:
    scripted, path = grown(300), tmp_path / "events.db"
    index = index_of(scripted, path)
    read(index, 300)
    index.close()
    damage(path)
    lines = list[str]()
    again = index_of(scripted, path, report=lines.append)
    assert places(read(again, 300)) == expected(scripted)
    assert len(lines) == 1
    assert f"{path} is damaged" in lines[0]


def test_another_consortiums_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    index = index_of(grown(), path)
    read(index, 60)
    index.close()  # folds the write-ahead log into the file
    other = grown()
    other.blocks[0] = Block(0, "0x" + "11" * 32)
    before = path.read_bytes()
    with pytest.raises(ConfigError, match="is the event index of another chain or consortium"):
        read(index_of(other, path), 60)
    assert path.read_bytes() == before


def test_a_daemon_begins_the_file_of_another_chain_again(tmp_path: Path) -> None:
    path = tmp_path / "events.db"
    read(index_of(grown(), path), 60)
    other = grown()
    other.blocks[0] = Block(0, "0x" + "11" * 32)
    lines = list[str]()
    index = index_of(other, path, owned=True, report=lines.append)
    assert places(read(index, 60)) == expected(other)
    assert ["belongs to another chain" in line for line in lines] == [True]


def test_a_file_that_is_not_an_index_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "certificate.json"
    path.write_text("{}")
    with pytest.raises(ConfigError, match="is not an event index, and was left as it is"):
        read(index_of(grown(), path), 60)
    assert path.read_text() == "{}"


def test_an_empty_file_becomes_an_index(tmp_path: Path) -> None:
    scripted, path = grown(), tmp_path / "events.db"
    path.touch()
    assert places(read(index_of(scripted, path), 60)) == expected(scripted)


# All together


class Killed(BaseException):
    """The process ends here."""


@contextmanager
def small_pages() -> Iterator[None]:
    with mock.patch.multiple(event_reading, PAGE_BLOCKS=16, READ_BY_HASH=4, _MOST_BLOCKS=32):
        yield


BLOCKS = st.lists(st.sampled_from([EMPTY, LOG, ((1, 2), (2, 3))]), min_size=1, max_size=12)
CHANGES = st.one_of(
    st.tuples(st.just("mine"), st.just(0), BLOCKS),
    st.tuples(st.just("reorganize"), st.integers(1, 60), BLOCKS),
)
STEPS = st.lists(
    st.fixed_dictionaries(
        {
            "change": CHANGES,
            "during": st.none() | st.tuples(st.integers(0, 20), CHANGES),
            "kill": st.none() | st.integers(0, 30),
            "most": st.sampled_from([1, 5, 1000]),
            "lags": st.lists(st.integers(0, 4), min_size=1, max_size=3),
            "confirmations": st.sampled_from([0, 0, 2, 8]),
            "at_once": st.sampled_from([1, 4]),
        }
    ),
    max_size=8,
)


def apply(scripted: ScriptedChain, change: tuple[str, int, list[Any]]) -> None:
    kind, depth, blocks = change
    if kind == "mine":
        scripted.mine(*blocks)
    else:
        scripted.reorganize(depth, *blocks)


def perform(scripted: ScriptedChain, path: Path, step: dict[str, Any]) -> None:
    """Change the chain, and read it while it changes, lags, and the process is killed."""
    apply(scripted, step["change"])
    scripted.most, scripted.lags = step["most"], step["lags"]
    begin, views = len(scripted.asked), [expected(scripted)]

    def disturb(request: int) -> None:
        if step["kill"] is not None and request - begin == step["kill"]:
            raise Killed
        if step["during"] is not None and request - begin == step["during"][0]:
            apply(scripted, step["during"][1])
            views.append(expected(scripted))

    scripted.before = disturb
    chain: Chain = scripted.chain(step["confirmations"])
    index = EventIndex(chain, deployment(), path, at_once=step["at_once"], pause=lambda _: None)
    try:
        head = chain.final_block_number()
        answer = places(read(index, head))
    except (Killed, ChainUnavailable):
        pass
    else:
        assert answer in [[each for each in view if each[0] <= head] for view in views]
    finally:
        scripted.before = lambda _: None
        index.close()


@settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(0, 80), STEPS)
def test_whatever_happened_the_index_ends_as_the_chain(
    tmp_path_factory: pytest.TempPathFactory, blocks: int, steps: list[dict[str, Any]]
) -> None:
    scripted, path = grown(blocks + 1), tmp_path_factory.mktemp("index") / "events.db"
    with small_pages():
        for step in steps:
            perform(scripted, path, step)
        scripted.lags = (0,)
        assert places(read(index_of(scripted, path), scripted.head)) == expected(scripted)
