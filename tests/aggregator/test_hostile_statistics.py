"""Hostile statistics against a real aggregator: a false second part rejects the contribution."""

from collections.abc import Callable, Iterator

import numpy as np
import pytest

from rescind.aggregator.superseded import delete_superseded
from rescind.contracts import RejectReason, RoundState
from rescind.core import STATISTICS, encode
from rescind.wire import AggregatorClient, NotHeld, SizedArtifact
from rescind.wire.generated import rescind_pb2 as pb
from tests.aggregator.scene import SALT, Scene, open_scene
from tests.aggregator.statistics import PARAMETERS, Tensors, parts_of, statistics
from tests.support.chain import Anvil


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    with open_scene(running_anvil, tmp_path_factory.mktemp("scene"), PARAMETERS) as opened:
        yield opened


def changed(name: str, amount: int) -> Tensors:
    tensors = statistics("My card is lost")
    tensors[f"{STATISTICS}/{name}"] += np.int32(amount)
    return tensors


def play(scene: Scene, sums: Tensors, *, sent: bool = True) -> int:
    """Play a round in which the hostile member contributes these statistics."""
    round_id = scene.until(RoundState.OPEN)
    good = [encode(scene.honest.delta(value=round_id)), encode(statistics("My card is lost"))]
    bad = [encode(scene.hostile.delta(value=round_id)), encode(sums)]
    both = ((scene.honest, good), (scene.hostile, bad))
    for member, data in both:
        member.record.commit(round_id, parts_of(data), SALT)
    scene.until(RoundState.COMMITTED)
    for member, data in both:
        for part, each in enumerate(data):
            if sent or member is scene.honest or not part:
                member.submit(round_id, each, part)
        member.record.reveal(round_id, parts_of(data), SALT)
    scene.until(RoundState.FINAL)
    return round_id


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (lambda: changed("desk.moments", 7), RejectReason.MALFORMED),
        (lambda: changed("desk.gram", -900), RejectReason.OUT_OF_BOUNDS),
        (lambda: {f"{STATISTICS}/x": np.ones(3, np.int32)}, RejectReason.WRONG_SHAPE),
        (
            lambda: {n: v.astype(np.int64) for n, v in statistics("My card").items()},
            RejectReason.WRONG_SHAPE,
        ),
    ],
    ids=["counts that do not agree", "a negative trace", "other tensors", "another type"],
)
def test_statistics_of_no_rows_are_rejected(
    scene: Scene, make: Callable[[], Tensors], reason: RejectReason
) -> None:
    round_id = play(scene, make())
    assert scene.reason(round_id) is reason
    assert scene.record.accepted(round_id) == [scene.honest.account.address]


def test_a_contribution_without_its_statistics_is_rejected(scene: Scene) -> None:
    round_id = play(scene, statistics("Another card"), sent=False)
    assert scene.reason(round_id) is RejectReason.MISSING


def test_statistics_that_later_ones_replaced_are_deleted(scene: Scene) -> None:
    first = play(scene, statistics("My card"))
    second = play(scene, statistics("My other card"))
    scene.settled()
    delete_superseded(scene.aggregator.session)
    store = scene.aggregator.session.store
    for number, kept in ((first, False), (second, True)):
        for contribution in scene.record.contributions(number):
            delta, sums = contribution.parts.artifact_ids
            assert store.has(delta)
            assert store.has(sums) is kept


def test_bytes_of_another_member_s_statistics_cannot_be_copied(scene: Scene) -> None:
    """A copy would make statistics without having the rows."""
    play(scene, statistics("My card"))
    round_id = scene.until(RoundState.OPEN)
    good = [encode(scene.honest.delta(value=round_id)), encode(statistics("My card is lost"))]
    scene.honest.record.commit(round_id, parts_of(good), SALT)
    scene.hostile.record.commit(round_id, parts_of([encode(scene.hostile.delta()), good[1]]), SALT)
    scene.until(RoundState.COMMITTED)
    for part, each in enumerate(good):
        scene.honest.submit(round_id, each, part)
    with AggregatorClient(scene.hostile.address, scene.hostile.tls) as client:
        artifact = SizedArtifact.of(good[1])
        client.begin_upload(artifact)
        message = pb.CopiedPiece(
            artifact_id=bytes.fromhex(artifact.artifact_id),
            length=100,
            source_id=bytes.fromhex(artifact.artifact_id),
        )
        with pytest.raises(NotHeld):
            client.copy_piece(message)
    scene.honest.record.reveal(round_id, parts_of(good), SALT)
    scene.anvil.pass_time(10**6)
    scene.until(RoundState.FINAL)


def test_the_served_sum_is_that_of_the_latest_rows(scene: Scene) -> None:
    tensors = scene.published(scene.settled())
    # The honest member has one row, and the other's latest statistics have one.
    assert tensors[f"{STATISTICS}/desk.gram"][0] == 2
