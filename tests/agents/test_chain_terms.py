"""The game's costs are those of the present contracts."""

import re
from pathlib import Path

import pytest

from rescind.agents import chain_terms
from rescind.agents.interface import ACTIONS, FULL, SIT_OUT, Action
from rescind.contracts.deployment import DeploySettings

PAGE = Path(__file__).parents[2] / "docs" / "gas.md"
ETHER = 10**18


def gas_on_the_page(transaction: str) -> int:
    """Return the gas of a transaction in the table that scripts/gas_table.py writes."""
    row = re.search(
        rf"^\| {re.escape(transaction)} \| [\d,]+ \| [\d,]+ \| ([\d,]+) \|",
        PAGE.read_text(encoding="utf-8"),
        re.MULTILINE,
    )
    assert row is not None, f"docs/gas.md has no row {transaction!r}"
    return int(row[1].replace(",", ""))


@pytest.mark.parametrize(
    ("transaction", "gas"),
    [
        ("contribution: commit", chain_terms.COMMIT),
        ("contribution: reveal", chain_terms.REVEAL),
        ("contribution of two parts: commit", chain_terms.COMMIT_TWO_PARTS),
        ("contribution of two parts: reveal", chain_terms.REVEAL_TWO_PARTS),
        ("sitting out: sitOut", chain_terms.SIT_OUT_GAS),
        ("reward of one round: claim", chain_terms.CLAIM),
    ],
)
def test_the_games_gas_is_what_the_contracts_take(transaction: str, gas: int) -> None:
    assert gas == gas_on_the_page(transaction)


def test_bond_and_penalty_are_the_defaults_of_the_agreement() -> None:
    fields = DeploySettings.model_fields
    assert fields["bond_wei"].default == chain_terms.BOND * ETHER
    assert fields["unrevealed_penalty_wei"].default == chain_terms.UNREVEALED_PENALTY * ETHER


def test_only_a_contribution_is_committed_and_revealed() -> None:
    assert chain_terms.gas_of(SIT_OUT, two_parts=True)[0] == chain_terms.SIT_OUT_GAS
    one, _ = chain_terms.gas_of(ACTIONS[FULL], two_parts=False)
    two, _ = chain_terms.gas_of(Action(0.0, 0.0, statistics=1.0), two_parts=True)
    assert one < two
