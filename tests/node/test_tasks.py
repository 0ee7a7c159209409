"""Tasks of a node in a running replay."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from rescind.contracts import REPLAY_OFFERS
from rescind.ledger.records import RECORD_TYPES
from rescind.node.facts import DeltaFact, open_journal
from rescind.node.offers import about_offer
from rescind.node.tasks import next_task
from rescind.node.withdrawal_facts import OfferedDelta

ME = "0x" + "11" * 20
REPLAY = REPLAY_OFFERS + 1
DELTA = DeltaFact("aa" * 32, "bb" * 128, "residual.bin", "cc" * 32)


def session_of(tmp_path: Path, round_id: int) -> Any:
    """A node whose offers of rounds 2 and 3 are on chain, while a replay is at a round."""
    replay = SimpleNamespace(id=REPLAY, running=True, deadline=100, round_id=round_id)
    consortium = SimpleNamespace(
        current_replay=lambda: replay,
        expected_replayers=lambda: [ME],
        replay=lambda _: replay,
        replayed=lambda _, number: [SimpleNamespace(round_id=number, organization=ME)],
    )
    return SimpleNamespace(journal=open_journal(tmp_path), consortium=consortium, me=ME)


def test_an_offer_of_an_earlier_round_is_deposited_before_the_next_round(tmp_path: Path) -> None:
    """A node was killed after its offer, which was the last of round 2 and moved the replay on."""
    session = session_of(tmp_path, round_id=3)
    offered = OfferedDelta(REPLAY, 2, DELTA, {})
    offered.save(session.journal)
    task = next_task(session, [], now=50)
    assert task is not None
    assert (task.offer_id, task.round_id, task.trained, task.offered) == (REPLAY, 2, True, True)
    replace(offered, deposited=True).save(session.journal)
    task = next_task(session, [], now=50)
    assert task is not None
    assert (task.round_id, task.trained) == (3, False)


@pytest.mark.parametrize("offer_id", [7, REPLAY])
def test_a_record_about_a_withdrawal_or_a_replay_has_what_it_needs(offer_id: int) -> None:
    payload = {**about_offer(offer_id), "event": "offered"}
    assert set(RECORD_TYPES["withdrawal"].needs) <= set(payload)
