"""The aggregator's durable facts and the format of their journal."""

from pathlib import Path

import pytest

from rescind.aggregator.facts import Incident, Nonces, open_journal
from rescind.core.errors import StoreError
from rescind.daemon import Journal


def test_facts_are_the_same_after_a_restart(tmp_path: Path) -> None:
    incident = Incident("0xA", "BadSignature", "signed by another", 3, 1_700_000_000)
    nonces = Nonces("0xA", {}).use(1, 3, "aa")
    incident.append(open_journal(tmp_path))
    nonces.save(open_journal(tmp_path))

    journal = open_journal(tmp_path)
    assert Incident.all(journal) == [incident]
    assert Nonces.load(journal, "0xA") == nonces


def test_a_journal_without_a_format_is_refused_in_one_line(tmp_path: Path) -> None:
    path = tmp_path / "aggregator.db"
    Journal(path).set("bonded", True)
    with pytest.raises(StoreError) as refusal:
        open_journal(tmp_path)
    assert str(refusal.value) == (
        f"{path} has journal format unknown, this version of rescind reads only "
        "rescind.aggregator-journal/2. Run the version of rescind that wrote it."
    )


def test_a_journal_of_a_node_is_refused(tmp_path: Path) -> None:
    Journal(tmp_path / "aggregator.db", journal_format="rescind.node-journal/2")
    with pytest.raises(StoreError, match=r"has journal format rescind\.node-journal/2"):
        open_journal(tmp_path)


def test_a_damaged_fact_is_reported(tmp_path: Path) -> None:
    journal = open_journal(tmp_path)
    journal.add(Incident.PREFIX, {"organization": "0xA", "round": "three"})
    with pytest.raises(StoreError, match=r"damaged Incident: code: Field required"):
        Incident.all(journal)
