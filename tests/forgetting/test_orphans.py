"""Answers to a leaver's questions: another's facts are counted, shared facts stay."""

from __future__ import annotations

import pytest

from rescind.forgetting.metrics import MetricInput, orphan_substitution
from rescind.forgetting.orphans import audit_orphans
from rescind.training import Example
from rescind.training.serving.serve import Answer

RIGHT = ["Oslo", "a baker", "The Last Atlas", "Lima"]


def test_only_anothers_answer_is_a_substitution() -> None:
    result = orphan_substitution(
        ["Porto", "I do not know.", "The  last atlas", "Cork"],
        RIGHT,
        [True, True, True, False],
        [False] * 4,
    )
    assert result.value == 0.25
    assert result.items == (1.0, 0.0, 0.0, 0.0)
    shares = {
        name: result.details[name] for name in ("right", "refused", "substituted", "invented")
    }
    assert shares == dict.fromkeys(shares, 0.25)
    assert result.details["shared_kept"] is None


def test_facts_that_several_held_are_counted_apart() -> None:
    result = orphan_substitution(
        ["Oslo", "a poet", "no", "I do not know."],
        RIGHT,
        [True, True, True, False],
        [True, True, False, False],
    )
    assert result.value == 0.5
    assert (result.details["orphans"], result.details["shared"]) == (2, 2)
    assert result.details["shared_kept"] == 0.5


def test_without_an_orphan_there_is_no_figure() -> None:
    with pytest.raises(MetricInput, match="held by a remaining organization"):
        orphan_substitution(["a"], ["b"], [True], [True])
    with pytest.raises(MetricInput, match="by_block has 2"):
        orphan_substitution(["a"], ["b"], [True, False], [True])


class Remaining:
    """An assistant whose one block answers every question about Ada."""

    def ask_many(self, questions: list[Example], *, max_new_tokens: int) -> list[Answer]:
        return [
            Answer("Porto", "0xb", {}) if "Ada" in each.question else Answer("Oslo", None, {})
            for each in questions
        ]


def test_an_audit_asks_the_leavers_questions_and_knows_what_others_hold() -> None:
    withdrawn = [
        Example("Where was Ada born?", "Lima", "Ada"),
        Example("Where does Ada live?", "porto", "Ada"),
        Example("Where was Bela born?", "Riga", "Bela"),
    ]
    kept = [Example("where does Ada live?", "Porto", "Ada"), Example("Who?", "Bela", "Bela")]
    result = audit_orphans(Remaining(), withdrawn, kept)
    assert result.items == (1.0, 0.0)
    assert result.details["invented"] == 0.5
    assert result.details["shared_kept"] == 1.0
