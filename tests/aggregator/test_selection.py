"""Selection of updates, and sums of rounds, in a real aggregator on a real chain."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

from rescind.aggregator.checks import Verdict
from rescind.aggregator.selection import check_members, select
from rescind.contracts import Rejection, RejectReason, RoundState
from rescind.core import (
    ArtifactStore,
    Term,
    adapter_totals,
    decode,
    encode,
    served_of,
    weights,
)
from rescind.core.errors import ConfigError
from rescind.wire import AggregatorClient, WrongPhase
from tests.aggregator.scene import SALT, Scene, open_scene
from tests.support.chain import Anvil
from tests.support.consortium import micro_parameters

NAMES = ("one", "two", "three", "hostile")


KRUM = {"name": "multi-krum", "byzantine": 0, "kept": 3}


@pytest.fixture(scope="module")
def scene(tmp_path_factory: pytest.TempPathFactory, running_anvil: Anvil) -> Iterator[Scene]:
    parameters = micro_parameters(federated=True, selection=KRUM, server={"name": "fedadam"})
    with open_scene(running_anvil, tmp_path_factory.mktemp("scene"), parameters, NAMES) as opened:
        yield opened


def play(scene: Scene, values: list[int], state: RoundState) -> int:
    """Play a round in which each member's delta is its value everywhere; the others sit out."""
    round_id = scene.until(RoundState.OPEN)
    taking_part = scene.members[: len(values)]
    data = [
        encode(member.delta(value=value)) for member, value in zip(taking_part, values, strict=True)
    ]
    for member, update in zip(taking_part, data, strict=True):
        member.record.commit(round_id, member.named(update), SALT)
    for member in scene.members[len(values) :]:
        member.record.sit_out(round_id)
    scene.until(RoundState.COMMITTED)
    for member, update in zip(taking_part, data, strict=True):
        member.submit(round_id, update)
        member.record.reveal(round_id, member.named(update), SALT)
    scene.until(state)
    return round_id


def rejections(scene: Scene, round_id: int) -> tuple[Rejection, ...]:
    judgement = scene.record.judgement(round_id)
    assert judgement is not None
    return judgement.rejections


def test_the_outlier_is_rejected_and_the_others_have_equal_shares(scene: Scene) -> None:
    round_id = play(scene, [3, 4, 5, 900], RoundState.FINAL)
    record = scene.record
    good = [member.account.address for member in scene.members[:3]]
    entries = record.content(record.latest_model_id())
    shares = {each.organization: each.weight for each in entries if each.round_id == round_id}
    assert shares == weights("shared", good)
    [rejected] = rejections(scene, round_id)
    assert rejected.organization == scene.hostile.account.address
    assert rejected.reason is RejectReason.OUT_OF_BOUNDS
    assert "out_of_bounds" in scene.incidents()


def test_a_round_with_too_few_updates_for_the_rule_is_abandoned(scene: Scene) -> None:
    round_id = play(scene, [6, 7], RoundState.ABANDONED)
    rejected = rejections(scene, round_id)
    assert {rejection.reason for rejection in rejected} == {RejectReason.OUT_OF_BOUNDS}
    assert len(rejected) == 2


def test_members_compute_the_served_adapter_from_round_sums(
    scene: Scene,
) -> None:
    play(scene, [8, 9, 10, -700], RoundState.FINAL)
    record, parameters = scene.record, scene.members[0].parameters
    latest = record.latest_model_id()
    entries = record.content(latest)
    terms = [
        Term(e.round_id, e.organization, c.parts.artifact_ids[0], e.weight, e.point_hash)
        for e, c in zip(entries, record.registered(entries), strict=True)
    ]
    with AggregatorClient(scene.honest.address, scene.honest.tls) as client:
        named = client.round_sums(latest)
        sums = [dict(decode(client.download(files.adapter_id, 2**20))) for files in named]
        with pytest.raises(WrongPhase, match="there is no model"):
            client.round_sums(latest + 1)
    rounds = sorted({t.round_id for t in terms})
    assert len(named) == len(rounds)
    load = scene.aggregator.session.store.load
    assert encode(adapter_totals([t for t in terms if t.round_id == rounds[-1]], load)) == encode(
        sums[-1]
    )
    served = served_of(parameters, terms, load)
    assert encode(served) != encode(adapter_totals(terms, load))


def test_round_sums_are_not_given_out_unless_members_need_them(
    tmp_path: Path, anvil: Anvil
) -> None:
    with open_scene(anvil, tmp_path, micro_parameters(federated=True), ("one",)) as scene:
        play(scene, [3], RoundState.FINAL)
        with (
            AggregatorClient(scene.honest.address, scene.honest.tls) as client,
            pytest.raises(WrongPhase, match="do not need them"),
        ):
            client.round_sums(1)


def test_the_aggregator_refuses_to_start_with_too_few_members_for_the_rule() -> None:
    parameters = micro_parameters(federated=True, selection={"name": "krum", "byzantine": 2})
    check_members(parameters, 7)
    with pytest.raises(ConfigError, match="set it to 7 or more"):
        check_members(parameters, 6)
    with pytest.raises(ConfigError, match="max_members is 6"):
        check_members(parameters.model_copy(update={"max_members": 6}), 7)


def test_without_a_rule_all_valid_updates_stay(tmp_path: Path) -> None:
    store = ArtifactStore(tmp_path)
    verdicts = {
        "0x01": Verdict(store.put(encode({"shared/w": np.ones(2, dtype=np.int32)}))),
        "0x02": Verdict(reason=RejectReason.ZERO, what="zero"),
    }
    assert select(micro_parameters(federated=True), verdicts, store) == verdicts
