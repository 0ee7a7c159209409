"""Tests of what the store keeps for organizations. No chain, no network."""

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest

from rescind.aggregator.facts import Published
from rescind.aggregator.received import Received
from rescind.aggregator.uploads import Quotas, Uploads
from rescind.core import ArtifactStore
from rescind.daemon import Journal
from rescind.wire import BadMessage, DeltaRefused, NotHeld, SizedArtifact

ALICE, MALLORY = "0x" + "aa" * 20, "0x" + "bb" * 20
DATA = b"a delta"
ARTIFACT = SizedArtifact.of(DATA)


@dataclass
class Session:
    journal: Journal
    store: ArtifactStore


@dataclass
class Place:
    session: Session
    uploads: Uploads
    received: Received

    def send(self, organization: str, use: str, take: Callable[[], None] = lambda: None) -> None:
        self.uploads.begin(organization, ARTIFACT, use, 1)
        self.uploads.put(organization, ARTIFACT.artifact_id, 0, DATA)
        self.received.submit(organization, ARTIFACT, use, take)

    @property
    def kept(self) -> bool:
        return self.session.store.has(ARTIFACT.artifact_id)


@pytest.fixture
def place(tmp_path: Path) -> Place:
    session = Session(Journal(tmp_path / "journal.db"), ArtifactStore(tmp_path / "store"))
    quotas = Quotas(10, 10**6, 10, 10**6, 1000.0)
    uploads = Uploads(tmp_path / "uploads", quotas)
    return Place(session, uploads, Received(session, uploads))


def refuse() -> None:
    raise DeltaRefused("not an agreed delta")


def test_a_refused_artifact_leaves_nothing(place: Place, tmp_path: Path) -> None:
    with pytest.raises(DeltaRefused):
        place.send(ALICE, "contribution", refuse)
    assert not place.kept
    assert not [each for each in (tmp_path / "uploads").rglob("*") if each.is_file()]


def test_no_one_can_have_anothers_artifact_deleted(place: Place) -> None:
    place.send(ALICE, "contribution")
    with pytest.raises(DeltaRefused):
        place.send(MALLORY, "contribution", refuse)
    assert place.kept
    place.send(MALLORY, "update/1")
    place.received.release(MALLORY, ARTIFACT.artifact_id, "update/1")
    assert place.kept
    assert not place.received.has(MALLORY, ARTIFACT.artifact_id)


def test_an_artifact_is_deleted_with_its_last_use(place: Place) -> None:
    place.send(ALICE, "update/1")
    place.send(ALICE, "contribution")
    place.received.release(ALICE, ARTIFACT.artifact_id, "update/1")
    assert place.kept
    place.received.release(ALICE, ARTIFACT.artifact_id, "contribution")
    assert not place.kept


def test_a_published_artifact_is_never_deleted(place: Place) -> None:
    place.send(ALICE, "update/1")
    Published(ARTIFACT.artifact_id).save(place.session.journal)
    place.received.release(ALICE, ARTIFACT.artifact_id, "update/1")
    assert place.kept


def test_a_submission_can_be_repeated_without_another_upload(place: Place) -> None:
    place.send(ALICE, "update/1")
    place.received.submit(ALICE, ARTIFACT, "update/1", lambda: None)
    with pytest.raises(DeltaRefused):
        place.received.submit(ALICE, ARTIFACT, "update/1", refuse)
    assert place.kept
    # Another organization needs the bytes themselves, though the store has them.
    with pytest.raises(BadMessage, match="0 of 7 bytes"):
        place.received.submit(MALLORY, ARTIFACT, "update/1", lambda: None)


def test_an_organization_reads_bytes_of_its_own_artifacts_alone(place: Place) -> None:
    place.send(ALICE, "update/1")
    assert place.received.read(ALICE, ARTIFACT.artifact_id, 2, 3) == b"del"
    with pytest.raises(NotHeld, match="send the piece itself"):
        place.received.read(MALLORY, ARTIFACT.artifact_id, 2, 3)
    place.session.store.delete(ARTIFACT.artifact_id)
    with pytest.raises(NotHeld):
        place.received.read(ALICE, ARTIFACT.artifact_id, 2, 3)
