"""A node starts only on the ledger that its organization anchored."""

from pathlib import Path

import pytest

from rescind.contracts import Anchor
from rescind.ledger import Ledger, create_key
from rescind.node.checks import LedgerBehind, check_anchor


def test_a_ledger_older_than_its_anchor_or_another_ledger_is_rejected(tmp_path: Path) -> None:
    key = create_key(tmp_path / "key")
    with (
        Ledger.create(tmp_path / "own", key) as own,
        Ledger.create(tmp_path / "other", key) as other,
    ):
        for number in range(5):
            own.append("reward", {"round": number})
            other.append("reward", {"round": number})
        anchor = Anchor(4, 1, own.root(4).hex())
        check_anchor(own, Anchor(0, 0, "00" * 32))
        check_anchor(own, anchor)
        with pytest.raises(LedgerBehind, match="it is another ledger, or was rewritten"):
            check_anchor(other, anchor)
        with pytest.raises(LedgerBehind, match="has 5 records and the chain anchors 6"):
            check_anchor(own, Anchor(6, 1, "00" * 32))
