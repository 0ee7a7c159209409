import pytest

from tests.ledger.fuzz import Target, strike, targets

COUNT = 3000


@pytest.mark.parametrize("target", targets(), ids=lambda each: each.name)
def test_a_damaged_file_is_an_error_and_never_a_false_yes(target: Target) -> None:
    assert strike(target, COUNT, seed=0) > COUNT // 3
