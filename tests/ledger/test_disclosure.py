"""The file that shows a record: what it may leave out, and what it may not."""

import json
from pathlib import Path

import pytest

from rescind.ledger import Anchored, Disclosure, Ledger, create_key
from rescind.ledger.disclosure import ProofInvalid


@pytest.mark.parametrize("anchor", [[], {}, "", 0, False])
def test_an_empty_anchor_is_not_the_same_as_none(tmp_path: Path, anchor: object) -> None:
    """It was read as none: the checks of the chain were skipped, and the file accepted."""
    with Ledger.create(tmp_path / "ledger", create_key(tmp_path / "key")) as ledger:
        ledger.append("reward", {"round": 1})
        where = Anchored({"chain_id": 1}, "0x00", "0x01", "0x02")
        whole = Disclosure.of(ledger.prove(0), ledger.key.verifier(), where)
    document = whole.to_json()
    assert Disclosure.parse(json.dumps(document).encode()) == whole
    unanchored = Disclosure.parse(json.dumps({**document, "anchor": None}).encode())
    assert unanchored.anchored is None
    with pytest.raises(ProofInvalid, match="not a disclosure"):
        Disclosure.parse(json.dumps({**document, "anchor": anchor}).encode())
