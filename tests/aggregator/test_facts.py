"""The aggregator's durable facts and the format of their journal."""

from pathlib import Path
from types import SimpleNamespace

import pytest

from rescind.aggregator.facts import Nonces, open_journal
from rescind.aggregator.withdrawal_facts import Deposit
from rescind.core.errors import StoreError
from rescind.daemon import Journal


def test_facts_are_the_same_after_a_restart(tmp_path: Path) -> None:
    nonces = Nonces("0xA", {}).use(1, 3, "aa")
    nonces.save(open_journal(tmp_path))

    journal = open_journal(tmp_path)
    assert Nonces.load(journal, "0xA") == nonces


def test_a_journal_without_a_format_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "aggregator.db"
    Journal(path).set("bonded", True)
    with pytest.raises(StoreError) as refusal:
        open_journal(tmp_path)
    assert str(refusal.value) == (
        f"{path} has journal format unknown, this version of rescind reads only "
        "rescind.aggregator-journal/4. Run the version of rescind that wrote it."
    )


def test_a_journal_of_a_node_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "aggregator.db", journal_format="rescind.node-journal/2")
    with pytest.raises(StoreError, match=r"has journal format rescind\.node-journal/2"):
        open_journal(tmp_path)


def test_a_damaged_fact_is_reported(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.set("deposit/1/000000/0xA/aa", {"size": 3, "report": {}})
    offer = SimpleNamespace(
        offer_id=1, round_id=0, organization="0xA", parts=SimpleNamespace(artifact_ids=("aa",))
    )
    with pytest.raises(StoreError, match=r"damaged Deposit: signature: Field required"):
        Deposit.load(journal, offer)
