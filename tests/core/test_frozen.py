"""Agreed documents cannot be changed, and a changed copy keeps nothing of what the original computed."""

import copy
from functools import cached_property

import pytest
from pydantic import ValidationError

from rescind.core.frozen import Frozen
from tests.support.consortium import hybrid_parameters


class Square(Frozen):
    side: int

    @cached_property
    def area(self) -> int:
        return self.side**2


def test_a_changed_copy_computes_again() -> None:
    small = Square(side=2)
    assert small.area == 4
    assert small.model_copy(update={"side": 3}).area == 9
    assert small.model_copy(update={"side": 3}, deep=True).area == 9
    assert copy.copy(small) == copy.deepcopy(small) == small


def test_a_document_is_not_changed_and_has_no_unknown_fields() -> None:
    with pytest.raises(ValidationError, match="frozen"):
        Square(side=2).side = 3
    with pytest.raises(ValidationError, match="Extra inputs"):
        Square(side=2, colour="red")


def test_a_copy_of_agreed_statistics_has_the_shapes_of_its_own_tasks() -> None:
    agreed = hybrid_parameters().statistics
    assert agreed is not None
    assert "other.gram" not in agreed.shapes
    (task,) = agreed.tasks.values()
    renamed = agreed.model_copy(update={"tasks": {"other": task}})
    assert "other.gram" in renamed.shapes
    assert set(renamed.summed) - set(agreed.summed) == {"other"}
