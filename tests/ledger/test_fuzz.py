import pytest

from tests.ledger.fuzz import Target, strike, targets


@pytest.mark.parametrize("count", [1000, pytest.param(3000, marks=pytest.mark.slow)])
@pytest.mark.parametrize("target", targets(), ids=lambda each: each.name)
def test_a_damaged_file_is_an_error_and_never_a_false_yes(target: Target, count: int) -> None:
    assert strike(target, count, seed=0) > count // 3
