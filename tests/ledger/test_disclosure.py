"""The file that shows a record: what it may leave out, and what it may not."""

import json
from pathlib import Path

import pytest

from rescind.audit import DISCLOSURE_CHECKS, check_disclosure
from rescind.ledger import Anchored, Disclosure, Ledger, create_key
from rescind.ledger.disclosure import ProofInvalid
from tests.fuzz.statements import DEPLOYMENT


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


@pytest.mark.parametrize("organization", ["", "0x", "0x" + "ab" * 20, "0x" + "ab" * 32, "Ada"])
def test_an_organization_without_a_valid_address_is_refused(
    tmp_path: Path, organization: str
) -> None:
    """It ended `rescind ledger check` with a traceback."""
    contracts = DEPLOYMENT.model_dump()
    with Ledger.create(tmp_path / "ledger", create_key(tmp_path / "key")) as ledger:
        ledger.append("reward", {"round": 1})
        where = Anchored(contracts, "0x00", organization, "0x02")
        shown = Disclosure.of(ledger.prove(0), ledger.key.verifier(), where)
    (tmp_path / "file.json").write_text(json.dumps(shown.to_json()))
    verification = check_disclosure(tmp_path / "file.json", None).verification
    assert verification.exit_code == DISCLOSURE_CHECKS["file"]
    assert "not an address in EIP-55 form" in verification.checks[0].detail
