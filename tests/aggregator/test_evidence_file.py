"""The evidence file survives a power failure if the journal names it."""

import os
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pytest

from rescind.aggregator.attestations import Attestations
from rescind.aggregator.facts import open_journal
from rescind.aggregator.models import Models
from rescind.aggregator.offers import Offers
from rescind.aggregator.session import AggregatorSession
from rescind.aggregator.withdrawal_facts import EvidenceFact
from rescind.aggregator.withdrawals import Withdrawals
from rescind.core import ArtifactStore, artifact_id
from rescind.daemon import Journal

EVIDENCE = b'{"evidence": true}\n'
NAME = "withdrawal-1-model-3.json"


@pytest.fixture
def session(tmp_path: Path) -> AggregatorSession:
    withdrawal = SimpleNamespace(id=1, amendment=2)
    return AggregatorSession(
        config=cast("Any", SimpleNamespace(aggregator=SimpleNamespace(state_dir=tmp_path))),
        consortium=cast("Any", SimpleNamespace(withdrawal=lambda _: withdrawal)),
        parameters=cast("Any", None),
        journal=open_journal(tmp_path),
        store=ArtifactStore(tmp_path / "store"),
        digests=cast("Any", None),
        incidents=cast("Any", None),
    )


@pytest.fixture
def withdrawals(session: AggregatorSession, monkeypatch: pytest.MonkeyPatch) -> Withdrawals:
    """Withdrawals of which the first is due for evidence on model 3."""
    document = SimpleNamespace(
        canonical_bytes=lambda: EVIDENCE,
        sha256=artifact_id(EVIDENCE),
        model=SimpleNamespace(model_id=3, commitments=("ab" * 32,)),
    )
    monkeypatch.setattr(Withdrawals, "_document", lambda *_: document)
    return Withdrawals(session, cast("Models", None), cast("Offers", None), Attestations(session))


def record_writes(monkeypatch: pytest.MonkeyPatch, folder: Path) -> list[tuple[str, str]]:
    """Record each flush, rename and journal write, with its path or key."""
    events: list[tuple[str, str]] = []
    fsync, replace, save = os.fsync, os.replace, Journal.set

    def recorded_fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        events.append(("fsync", str(path.relative_to(folder))))
        fsync(descriptor)

    def recorded_replace(source: Path, target: Path) -> None:
        events.append(("replace", str(Path(target).relative_to(folder))))
        replace(source, target)

    def recorded_save(self: Journal, key: str, value: object) -> None:
        events.append(("fact", key))
        save(self, key, value)

    monkeypatch.setattr(os, "fsync", recorded_fsync)
    monkeypatch.setattr(os, "replace", recorded_replace)
    monkeypatch.setattr(Journal, "set", recorded_save)
    return events


@pytest.mark.skipif(not Path("/proc/self/fd").is_dir(), reason="needs /proc to name descriptors")
def test_the_evidence_file_and_its_folder_are_flushed_before_the_journal_names_them(
    withdrawals: Withdrawals, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    events = record_writes(monkeypatch, tmp_path)

    withdrawals.write_evidence(1)

    fact = events.index(("fact", "evidence/000001"))
    renamed = events.index(("replace", f"evidence/{NAME}"))
    [content] = [
        index
        for index, (kind, path) in enumerate(events)
        if kind == "fsync" and path.startswith("evidence/")
    ]
    entry = events.index(("fsync", "evidence"))
    created = events.index(("fsync", "."))
    assert content < renamed < entry < fact
    assert created < fact, "the entry of the new folder itself is flushed too"
    assert (tmp_path / "evidence" / NAME).read_bytes() == EVIDENCE


@pytest.mark.parametrize("fails", ["fsync", "replace"])
def test_the_journal_does_not_name_evidence_that_could_not_be_written(
    withdrawals: Withdrawals,
    session: AggregatorSession,
    monkeypatch: pytest.MonkeyPatch,
    fails: str,
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    with monkeypatch.context() as patched:
        patched.setattr(os, fails, fail)
        with pytest.raises(OSError, match="the disk is gone"):
            withdrawals.write_evidence(1)
    assert EvidenceFact.load(session.journal, 1) is None

    withdrawals.write_evidence(1)
    assert EvidenceFact.load(session.journal, 1) is not None
