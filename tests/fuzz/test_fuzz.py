"""The targets in short. `make fuzz` goes on for as long as you let it (CONTRIBUTING.md)."""

import pytest

from tests.fuzz.loop import run_plain
from tests.fuzz.registry import names, targets
from tests.fuzz.run import MOST_BYTES
from tests.fuzz.target import REFUSED, FalseYes, Target

INPUTS = 2000


@pytest.fixture(scope="module")
def all_targets() -> dict[str, Target]:
    return targets()


@pytest.mark.parametrize("name", names())
def test_a_target_accepts_what_it_is_seeded_with(all_targets: dict[str, Target], name: str) -> None:
    target = all_targets[name]
    truths = target.truths()
    assert truths, "without a seed nothing is ever accepted"
    assert max(map(len, target.seeds)) <= MOST_BYTES, "a longer seed is cut off, and never accepted"
    for seed in target.seeds:
        assert target.check(seed, truths) is not REFUSED
    assert target.check(b"\xff not such a file", truths) is REFUSED


@pytest.mark.slow
@pytest.mark.parametrize("name", names())
def test_changed_inputs_cause_no_crash_and_no_false_yes(
    all_targets: dict[str, Target], name: str
) -> None:
    refused = run_plain(all_targets[name], 0, INPUTS)
    assert 0 < refused <= INPUTS


def test_a_crash_and_a_false_yes_are_noticed() -> None:
    def crashes(data: bytes) -> bytes:
        if b"\x00" in data:
            raise IndexError
        return data

    with pytest.raises(IndexError):
        run_plain(Target("crashes", [b"abcdefgh"], crashes), 0, 5000)
    with pytest.raises(FalseYes):
        run_plain(Target("lies", [b"abcdefgh"], bytes, proves=True), 0, 100)
    with pytest.raises(FalseYes):
        run_plain(Target("loose", [b"a"], bytes.strip, canonical=bytes), 0, 5000)


def test_the_same_numbers_give_the_same_inputs() -> None:
    target = Target("same", [b'{"a": [1, 2, 3]}'], bytes)

    def inputs(start: int, count: int) -> list[bytes]:
        found: list[bytes] = []
        run_plain(target, start, count, seen=lambda _, data, __: found.append(data))
        return found

    assert inputs(0, 20) == inputs(0, 10) + inputs(10, 10)


def test_the_list_of_targets_is_complete(all_targets: dict[str, Target]) -> None:
    assert names() == list(all_targets)
