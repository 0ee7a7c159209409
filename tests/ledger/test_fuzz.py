import pytest

from tests.ledger.fuzz import NAMES, strike, targets


def test_the_names_are_those_of_the_targets() -> None:
    assert [target.name for target in targets()] == list(NAMES)


@pytest.mark.parametrize("count", [1000, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("number", range(len(NAMES)), ids=NAMES)
def test_a_damaged_file_is_an_error_and_never_a_false_yes(number: int, count: int) -> None:
    assert strike(targets()[number], count, seed=0) > count // 3
