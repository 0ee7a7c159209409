"""A node starts only on the ledger that its organization anchored."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.contracts import Anchor
from rescind.ledger import Ledger, create_key
from rescind.node.checks import LedgerBehind, check_anchor


@pytest.fixture
def ledgers(tmp_path: Path) -> Iterator[tuple[Ledger, Ledger]]:
    """Two ledgers of the same five records; their roots differ."""
    key = create_key(tmp_path / "key")
    with (
        Ledger.create(tmp_path / "own", key) as own,
        Ledger.create(tmp_path / "other", key) as other,
    ):
        for number in range(5):
            own.append("reward", {"round": number})
            other.append("reward", {"round": number})
        yield own, other


def test_a_ledger_is_accepted_before_its_first_anchor(ledgers: tuple[Ledger, Ledger]) -> None:
    check_anchor(ledgers[0], Anchor(0, 0, "00" * 32))


def test_a_ledger_that_continues_its_anchor_is_accepted(ledgers: tuple[Ledger, Ledger]) -> None:
    own, _ = ledgers
    check_anchor(own, Anchor(4, 1, own.root(4).hex()))


def test_another_ledger_with_as_many_records_is_rejected(ledgers: tuple[Ledger, Ledger]) -> None:
    own, other = ledgers
    with pytest.raises(LedgerBehind, match="it is another ledger, or was rewritten"):
        check_anchor(other, Anchor(4, 1, own.root(4).hex()))


def test_a_ledger_older_than_its_anchor_is_rejected(ledgers: tuple[Ledger, Ledger]) -> None:
    with pytest.raises(LedgerBehind, match="has 5 records and the chain anchors 6"):
        check_anchor(ledgers[0], Anchor(6, 1, "00" * 32))
