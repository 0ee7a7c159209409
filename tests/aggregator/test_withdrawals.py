"""Withdrawals in unusual order: at the same time, copied by a rival, taken back by the chain."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from rescind.contracts import WithdrawalState
from rescind.core import artifact_id, encode, owners
from rescind.wire import WrongPhase
from tests.aggregator.replacements import deposit, request_replacement
from tests.aggregator.scene import Scene, open_scene
from tests.support.chain import Anvil

NAMES = ("first", "second", "third")


@pytest.fixture
def scene(anvil: Anvil, tmp_path: Path) -> Iterator[Scene]:
    with open_scene(anvil, tmp_path, names=NAMES) as opened:
        opened.play_together()
        opened.settled()
        yield opened


def until_closed(scene: Scene, *withdrawals: int, awaits: bool = False) -> None:
    record = scene.record
    scene.tick_until(
        lambda: all(record.withdrawal(n).state is WithdrawalState.CLOSED for n in withdrawals)
    )
    scene.settled(awaits=awaits)


def test_two_open_withdrawals_are_both_in_the_model_that_closes_them(scene: Scene) -> None:
    first, second, third = scene.members
    replacement, data = request_replacement(first), encode(first.delta(value=500))
    second.record.request_withdrawal()
    first.record.offer(replacement, 1, first.named(data))
    deposit(first, replacement, data)
    first.record.ready(replacement)
    until_closed(scene, 1, 2)
    head = scene.record.latest_model_id()
    listed = scene.record.registered(scene.record.content(head))
    assert artifact_id(data) in {each.parts.artifact_ids[0] for each in listed}
    expected = sorted(each.account.address.lower() for each in (first, third))
    assert sorted(owners(scene.published(head))) == expected


def test_offers_copied_from_the_mempool_block_no_one(scene: Scene) -> None:
    first, rival, _ = scene.members
    own, copied = request_replacement(first), request_replacement(rival)
    data = encode(first.delta(value=500))
    # The rival sees the transaction before it is mined, and is mined first.
    rival.record.offer(copied, 1, first.named(data))
    first.record.offer(own, 1, first.named(data))
    with pytest.raises(WrongPhase):
        deposit(rival, own, data)
    deposit(first, own, data)
    rival.record.ready(copied)
    first.record.ready(own)
    until_closed(scene, own, copied, awaits=True)
    served = owners(scene.published(scene.record.latest_model_id()))
    assert first.account.address.lower() in served
    assert rival.account.address.lower() not in served, "its block opens to nothing of its own"


def test_a_reorganization_that_takes_the_request_back_leaves_the_model_as_it_was(
    scene: Scene,
) -> None:
    first, second, third = scene.members
    with scene.anvil.rewound():
        second.record.request_withdrawal()
        until_closed(scene, 1)
        forked = scene.record.latest_model_id()
        assert second.account.address.lower() not in owners(scene.published(forked))
    assert scene.record.latest_model_id() < forked
    assert scene.record.withdrawals() == []
    scene.play_together()
    head = scene.settled()
    assert head == forked, "the number is taken by another model now"
    expected = sorted(each.account.address.lower() for each in (first, second, third))
    assert sorted(owners(scene.published(head))) == expected


def test_a_contribution_that_never_comes_is_waited_for_once(scene: Scene) -> None:
    rival = scene.members[1]
    withdrawal = request_replacement(rival)
    rival.record.offer(withdrawal, 1, rival.named(encode(rival.delta(value=700))))
    rival.record.ready(withdrawal)
    until_closed(scene, withdrawal, awaits=True)
    scene.play_together()
    scene.settled()
    served = owners(scene.published(scene.record.latest_model_id()))
    assert rival.account.address.lower() not in served
    assert len(list(served)) == len(NAMES) - 1
