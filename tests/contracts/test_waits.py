"""The table of waits in docs/contracts.md: every state is in it, with all that it promises."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from rescind.contracts import MemberStatus, RoundState, WithdrawalState
from rescind.contracts.compiler import ARTIFACTS

PAGE = Path(__file__).parents[2] / "docs" / "contracts.md"
TABLE = PAGE.read_text(encoding="utf-8").split("## All waits")[1].split("\n## ")[0]
ROWS = [
    [cell.strip() for cell in line.strip("|").split("|")]
    for line in TABLE.splitlines()
    if line.startswith("| ") and not line.startswith("| state")
]
NO_WAIT = {
    RoundState.NONE: "it was never opened",
    RoundState.ABANDONED: "it is over",
    WithdrawalState.NONE: "it was never requested",
    WithdrawalState.CLOSED: "it is over",
}


@pytest.mark.parametrize("state", [*RoundState, *WithdrawalState], ids=str)
def test_every_state_waits_for_someone_or_is_over(state: RoundState | WithdrawalState) -> None:
    noun = "round" if isinstance(state, RoundState) else "withdrawal"
    rows = [row for row in ROWS if row[0].startswith(f"{noun} {state.value.capitalize()}")]
    assert len(rows) == (state not in NO_WAIT)


@pytest.mark.parametrize(
    ("status", "subject"),
    [
        (MemberStatus.ADMITTED, "admission"),
        (MemberStatus.LEFT, "bond after leaving"),
        (MemberStatus.WITHDRAWING, "withdrawal Effective"),
    ],
)
def test_a_member_in_transit_waits_for_someone(status: MemberStatus, subject: str) -> None:
    assert any(row[0] == subject for row in ROWS), status


def test_every_wait_names_a_party_a_deadline_and_what_follows() -> None:
    assert len(ROWS) > 15
    for subject, party, until, _ in ROWS:
        assert party, subject
        assert until, subject


def test_the_table_names_functions_and_terms_that_exist() -> None:
    artifacts = "".join(file.read_text(encoding="utf-8") for file in ARTIFACTS.glob("*.json"))
    known = set(re.findall(r'"name": "(\w+)"', artifacts))
    assert set(re.findall(r"`(\w+)`", TABLE)) - known == set()
