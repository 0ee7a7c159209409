"""Points from events, and bitmaps of members."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rescind.contracts import ContractsMissing
from rescind.contracts.points import bitmap_of, numbers_in, split_points
from rescind.contracts.recorded_points import RecordedPoints
from rescind.core import INFINITY, point_hash

FIRST, SECOND = b"\x01" * 128, b"\x02" * 128


class Log:
    """Events by block; `scans` are the blocks from which they were asked for."""

    def __init__(self, events: dict[int, bytes]) -> None:
        self.events, self.scans = events, list[int | None]()

    def __call__(self, from_block: int | None) -> Iterator[bytes]:
        self.scans.append(from_block)
        return (points for block, points in self.events.items() if block >= (from_block or 0))


def test_points_are_found_by_their_own_hash() -> None:
    log, recorded = Log({3: FIRST + SECOND}), RecordedPoints()
    assert recorded.find([point_hash(SECOND)], log, 9) == {point_hash(SECOND): SECOND}
    assert recorded.find([point_hash(FIRST)], log, 9) == {point_hash(FIRST): FIRST}
    assert log.scans == [None]


def test_infinity_needs_no_event() -> None:
    log = Log({})
    assert RecordedPoints().find([point_hash(INFINITY)], log, 0) == {point_hash(INFINITY): INFINITY}
    assert log.scans == []


def test_only_new_blocks_are_read_again() -> None:
    log, recorded = Log({3: FIRST}), RecordedPoints()
    recorded.find([point_hash(FIRST)], log, 5)
    log.events[6] = SECOND
    recorded.find([point_hash(SECOND)], log, 6)
    assert log.scans == [None, 6]


def test_a_point_that_a_reorganization_moved_is_found() -> None:
    log, recorded = Log({3: FIRST}), RecordedPoints()
    recorded.find([point_hash(FIRST)], log, 5)
    log.events[2] = SECOND
    recorded.find([point_hash(SECOND)], log, 5)
    assert log.scans == [None, 6, None]


def test_a_point_that_no_event_holds_is_named() -> None:
    with pytest.raises(ContractsMissing, match=f"up to block 7.*{point_hash(SECOND)}"):
        RecordedPoints().find([point_hash(SECOND)], Log({3: FIRST}), 7)


def test_a_list_of_points_has_whole_points() -> None:
    assert split_points(FIRST + SECOND) == (FIRST, SECOND)
    with pytest.raises(ValueError, match="127 bytes"):
        split_points(FIRST[1:])


@given(st.sets(st.integers(0, 1023)))
def test_a_bitmap_holds_member_numbers_in_order(numbers: set[int]) -> None:
    bitmap = bitmap_of(numbers)
    assert len(bitmap) == 4
    assert numbers_in(bitmap) == tuple(sorted(numbers))


def test_member_n_is_bit_n_of_its_word() -> None:
    assert bitmap_of([0, 255, 256, 1023]) == [1 | 1 << 255, 1, 0, 1 << 255]
    with pytest.raises(ValueError, match="1024"):
        bitmap_of([1024])
