"""Contributions of two parts whose sender breaks every rule about parts, against a real aggregator."""

import contextlib
from collections.abc import Iterator
from itertools import count

import pytest

from rescind.contracts import ContractRefused, Parts, RejectReason, RoundState
from rescind.core import artifact_id, commit, decode, digest, encode
from rescind.wire import (
    AggregatorClient,
    BadMessage,
    NotAMember,
    SizedArtifact,
    WrongPhase,
)
from rescind.wire.generated import rescind_pb2 as pb
from tests.aggregator.scene import SALT, Member, Scene, open_scene
from tests.aggregator.statistics import PARAMETERS, parts_of, statistics
from tests.support.chain import Anvil


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    with open_scene(running_anvil, tmp_path_factory.mktemp("parts"), PARAMETERS) as opened:
        yield opened


@pytest.fixture(autouse=True)
def rewound(scene: Scene) -> Iterator[None]:
    yield
    scene.settled()
    scene.aggregator._intake.tidy()


_NUMBERS = count(10)
"""No point may be revealed twice, so no two contributions are alike."""


def both_parts(member: Member) -> list[bytes]:
    value = next(_NUMBERS)
    return [encode(member.delta(value=value)), encode(statistics(f"My card number {value}"))]


class Round:
    """A round in which the honest member does all that it should."""

    def __init__(self, scene: Scene, registered: Parts) -> None:
        self.scene, self.registered = scene, registered
        self.number = scene.until(RoundState.OPEN)
        self.good = both_parts(scene.honest)
        scene.honest.record.commit(self.number, parts_of(self.good), SALT)
        scene.hostile.record.commit(self.number, registered, SALT)
        scene.until(RoundState.COMMITTED)
        for part, data in enumerate(self.good):
            scene.honest.submit(self.number, data, part)

    def end(self) -> RejectReason:
        """End the round, and return why the hostile contribution was rejected."""
        self.scene.honest.record.reveal(self.number, parts_of(self.good), SALT)
        self.scene.hostile.record.reveal(self.number, self.registered, SALT)
        self.scene.until(RoundState.FINAL)
        assert self.scene.record.accepted(self.number) == [self.scene.honest.account.address]
        return self.scene.reason(self.number)

    def end_unrevealed(self) -> None:
        """End a round in which the contract refuses what the hostile member reveals."""
        scene = self.scene
        scene.honest.record.reveal(self.number, parts_of(self.good), SALT)
        with pytest.raises(ContractRefused):
            scene.hostile.record.reveal(self.number, self.registered, SALT)
        assert scene.aggregator.tick()
        scene.anvil.pass_time(301)
        scene.until(RoundState.FINAL)
        assert scene.record.accepted(self.number) == [scene.honest.account.address]
        scene.hostile.record.top_up(scene.record.member_terms().unrevealed_penalty)


def stored(scene: Scene, *parts: bytes) -> list[bytes]:
    held = scene.aggregator.session.store
    return [each for each in parts if held.has(artifact_id(each))]


@pytest.mark.parametrize("part", [2, 3, 2**31, 2**63, 2**64 - 1])
def test_a_part_that_was_not_agreed_on_is_refused(scene: Scene, part: int) -> None:
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    with pytest.raises(WrongPhase, match="which has 2, counted from 0"):
        scene.hostile.submit(played.number, parts[0], part)
    assert not stored(scene, parts[0])
    assert played.end() is RejectReason.MISSING


@pytest.mark.parametrize(
    "sent", [[0], [1], []], ids=["the delta alone", "statistics alone", "none"]
)
def test_one_part_without_the_other_is_rejected_and_not_kept(scene: Scene, sent: list[int]) -> None:
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    for part in sent:
        scene.hostile.submit(played.number, parts[part], part)
    assert len(stored(scene, *parts)) == len(sent)
    assert played.end() is RejectReason.MISSING
    scene.settled()
    scene.aggregator._intake.tidy()
    # It is in no model, and the disk does not fill with what was rejected.
    assert not stored(scene, *parts)
    assert len(stored(scene, *played.good)) == 2


def test_parts_that_changed_places_on_chain_are_rejected(scene: Scene) -> None:
    parts = both_parts(scene.hostile)[::-1]
    played = Round(scene, parts_of(parts))
    for part, data in enumerate(parts):
        scene.hostile.submit(played.number, data, part)
    assert played.end() is RejectReason.WRONG_SHAPE


def test_parts_that_changed_places_when_they_were_sent_count_as_missing(scene: Scene) -> None:
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    scene.hostile.submit(played.number, parts[1], 0)
    scene.hostile.submit(played.number, parts[0], 1)
    assert played.end() is RejectReason.MISSING


def test_a_point_of_the_other_part_is_rejected(scene: Scene) -> None:
    parts = both_parts(scene.hostile)
    registered = parts_of(parts)
    played = Round(scene, Parts(registered.artifact_ids, registered.points[::-1]))
    for part, data in enumerate(parts):
        scene.hostile.submit(played.number, data, part)
    assert played.end() is RejectReason.WRONG_DIGEST


def test_the_same_bytes_as_both_parts_are_refused_by_the_contract(scene: Scene) -> None:
    delta, _ = both_parts(scene.hostile)
    point = commit(digest(decode(delta)))
    played = Round(scene, Parts((artifact_id(delta),) * 2, (point, point)))
    for part in range(2):
        scene.hostile.submit(played.number, delta, part)
    played.end_unrevealed()
    scene.settled()
    scene.aggregator._intake.tidy()
    assert not stored(scene, delta)


def test_a_replaced_part_leaves_the_same_bytes_of_the_other_part(scene: Scene) -> None:
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    scene.hostile.submit(played.number, parts[0], 0)
    scene.hostile.submit(played.number, parts[0], 1)
    scene.hostile.submit(played.number, parts[1], 1)
    assert len(stored(scene, *parts)) == 2
    scene.honest.record.reveal(played.number, parts_of(played.good), SALT)
    scene.hostile.record.reveal(played.number, parts_of(parts), SALT)
    scene.until(RoundState.FINAL)
    assert len(scene.record.accepted(played.number)) == 2


@pytest.mark.parametrize("number_of_parts", [1, 3, 4])
def test_another_number_of_parts_is_refused_by_the_contract(
    scene: Scene, number_of_parts: int
) -> None:
    parts = [*both_parts(scene.hostile), *both_parts(scene.hostile)][:number_of_parts]
    played = Round(scene, parts_of(parts))
    played.end_unrevealed()


def test_uploads_for_a_round_are_as_many_as_it_has_parts(scene: Scene) -> None:
    played = Round(scene, parts_of(both_parts(scene.hostile)))
    folder = scene.aggregator.session.folder / "uploads" / scene.hostile.account.address
    with AggregatorClient(scene.hostile.address, scene.hostile.tls) as client:
        for number in range(60):
            artifact = SizedArtifact(f"{number:064x}", 1000)
            assert client.begin_upload(artifact) == 0
            assert len(list(folder.glob("*.json"))) <= 2
        # Bytes of an upload that later ones replaced are not taken.
        with pytest.raises(WrongPhase, match="no upload"):
            put(client, SizedArtifact(f"{0:064x}", 1000), b"x")
        with pytest.raises(BadMessage, match="does not fit"):
            put(client, SizedArtifact(f"{59:064x}", 1000), bytes(1001))
    assert played.end() is RejectReason.MISSING
    scene.settled()
    scene.aggregator._intake.tidy()
    assert not [each for each in folder.rglob("*") if each.is_file()]


def test_no_part_of_an_upload_is_taken_from_another_member(scene: Scene) -> None:
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    with AggregatorClient(scene.honest.address, scene.honest.tls) as other:
        with pytest.raises(WrongPhase, match="no upload"):
            put(other, SizedArtifact.of(parts[0]), parts[0])
        with pytest.raises(BadMessage, match="0 of"):
            scene.honest.finish(other, played.number, parts[0])
    assert played.end() is RejectReason.MISSING


def test_an_upload_that_ends_after_the_round_is_refused_and_deleted(scene: Scene) -> None:
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    scene.hostile.submit(played.number, parts[0], 0)
    artifact = SizedArtifact.of(parts[1])
    with AggregatorClient(scene.hostile.address, scene.hostile.tls) as client:
        client.begin_upload(artifact)
        put(client, artifact, parts[1][:-1])
        assert played.end() is RejectReason.MISSING
        with contextlib.suppress(WrongPhase):
            put(client, artifact, parts[1][-1:], len(parts[1]) - 1)
        with pytest.raises(WrongPhase):
            scene.hostile.finish(client, played.number, parts[1], 1)
    assert_nothing_is_left(scene, parts)


def test_a_member_that_goes_out_in_the_middle_of_an_upload_sends_no_more(scene: Scene) -> None:
    """Last: the hostile member is gone afterwards."""
    parts = both_parts(scene.hostile)
    played = Round(scene, parts_of(parts))
    scene.hostile.submit(played.number, parts[0], 0)
    artifact = SizedArtifact.of(parts[1])
    with AggregatorClient(scene.hostile.address, scene.hostile.tls) as client:
        client.begin_upload(artifact)
        put(client, artifact, parts[1][:100])
        scene.hostile.record.request_withdrawal()
        # Pieces of what began before are taken for five seconds more.
        with pytest.raises(NotAMember):
            scene.hostile.finish(client, played.number, parts[1], 1)
        with pytest.raises(NotAMember):
            client.begin_upload(artifact)
    scene.honest.record.reveal(played.number, parts_of(played.good), SALT)
    scene.until(RoundState.FINAL)
    assert scene.record.accepted(played.number) == [scene.honest.account.address]
    assert_nothing_is_left(scene, parts)


def put(client: AggregatorClient, artifact: SizedArtifact, data: bytes, offset: int = 0) -> None:
    piece = pb.Piece(artifact_id=bytes.fromhex(artifact.artifact_id), offset=offset, data=data)
    client.call("PutPiece", piece)


def assert_nothing_is_left(scene: Scene, parts: list[bytes]) -> None:
    """Let the aggregator tidy up, and assert that it holds nothing of the parts."""
    scene.settled()
    scene.aggregator._intake.tidy()
    assert not stored(scene, *parts)
    folder = scene.aggregator.session.folder / "uploads"
    assert not [each for each in folder.rglob("*") if each.is_file()]
