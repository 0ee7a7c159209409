"""The members in a model's sum are read from the chain only where something depends on them."""

from types import SimpleNamespace
from typing import Any

from rescind.withdrawals import members_in_sum
from tests.support.consortium import hybrid_parameters, micro_parameters
from tests.support.hybrid import NUMBERS, ROUTED


def test_members_are_read_by_the_part_of_statistics_with_their_numbers() -> None:
    asked: list[tuple[int, int]] = []

    def content(model_id: int, part: int) -> list[Any]:
        asked.append((model_id, part))
        entries = [(name.upper().replace("X", "x"), number) for name, number in NUMBERS.items()]
        return [SimpleNamespace(organization=o, member_number=n) for o, n in entries]

    reader: Any = SimpleNamespace(content=content)
    assert members_in_sum(reader, micro_parameters(), 3) is None
    assert members_in_sum(reader, hybrid_parameters(), 3) is None
    assert asked == []
    routed = hybrid_parameters(statistics=ROUTED.model_dump(mode="json"))
    assert members_in_sum(reader, routed, 3) == NUMBERS
    assert asked == [(3, 1)]
