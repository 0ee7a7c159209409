"""Answers to rounds, and moves of late rounds and withdrawals, by hand."""

import json
from pathlib import Path

import numpy as np
import pytest

from rescind.contracts import MemberStatus, WithdrawalMethod
from tests.support.chain import ETHER, Anvil
from tests.support.consortium import SALT, micro_parameters
from tests.support.files import (
    Files,
    key_options,
    make_certificate,
    make_files,
    rescind,
    save_key,
)


def done(*words: object) -> dict[str, object]:
    result = rescind(*(str(word) for word in words), "--json")
    assert result.exit_code == 0, result.output
    return json.loads(result.output)


def test_without_a_round_there_is_nothing_to_answer(files: Files) -> None:
    refused = rescind("round", "sit-out", "-c", files.nodes[0])
    assert (refused.exit_code, "No round was opened yet" in refused.output) == (10, True)


def test_members_answer_and_close_a_round_by_hand(files: Files) -> None:
    consortium = files.consortium
    consortium.of(consortium.aggregator).open_round()
    assert done("round", "sit-out", "-c", files.nodes[0])["state"] == "open"
    again = rescind("round", "sit-out", "-c", files.nodes[0])
    assert again.exit_code == 15
    assert "has answered this round already" in again.output
    done("round", "report-unavailable", "-c", files.nodes[1])
    early = rescind("round", "close", "-c", files.nodes[1])
    assert early.exit_code == 15
    assert "Others still have time" in early.output
    done("round", "report-unavailable", "-c", files.nodes[2])
    assert done("round", "close", "-c", files.nodes[1])["state"] == "abandoned"
    over = rescind("round", "close", "-c", files.nodes[1])
    assert (over.exit_code, "is abandoned" in over.output) == (10, True)
    assert consortium.of().aggregator_bond() == 5 * ETHER


def test_a_late_round_is_moved_on_and_the_silent_member_pays(files: Files) -> None:
    consortium, rng = files.consortium, np.random.default_rng(0)
    consortium.of(consortium.aggregator).open_round()
    for member in consortium.organizations:
        parts = consortium.register(consortium.random_delta(member, rng))
        consortium.of(member).commit(1, parts, SALT)
        if member is consortium.organizations[0]:
            revealed = parts
    assert done("round", "close", "-c", files.nodes[1])["state"] == "committed"
    consortium.of(consortium.organizations[0]).reveal(1, revealed, SALT)
    consortium.anvil.pass_time(301)
    assert done("round", "close", "-c", files.nodes[1])["state"] == "revealed"
    assert done("round", "penalize", "org-1", "-c", files.nodes[0])["bond_wei"] < ETHER
    twice = rescind("round", "penalize", "org-1", "-c", files.nodes[0])
    assert (twice.exit_code, "owes no penalty" in twice.output) == (15, True)
    consortium.anvil.pass_time(301)
    assert done("round", "abandon", "-c", files.nodes[2])["state"] == "abandoned"


def test_a_removal_is_folded_and_closed_by_another_member(files: Files) -> None:
    files.consortium.play_round(np.random.default_rng(0))
    done("withdraw", "request", "-c", files.nodes[0])
    early = rescind("withdraw", "close", "1", "-c", files.nodes[1])
    assert early.exit_code == 15
    assert "rescind withdraw fold" in early.output
    assert done("withdraw", "fold", "-c", files.nodes[1])["stale_models"] == []
    assert done("withdraw", "close", "1", "-c", files.nodes[1])["state"] == "closed"
    bond = rescind("node", "reclaim", "-c", files.nodes[0])
    assert (bond.exit_code, "exit delay is not over" in bond.output) == (15, True)
    files.consortium.anvil.pass_time(61)
    assert done("node", "reclaim", "-c", files.nodes[0])["reclaimed_wei"] == ETHER


def test_a_late_withdrawal_becomes_a_removal_by_anyones_command(files: Files) -> None:
    consortium = files.consortium
    consortium.play_round(np.random.default_rng(0))
    leaver = consortium.organizations[0]
    consortium.of(leaver).request_subject_withdrawal("5a" * 32, WithdrawalMethod.REPLACEMENT)
    early = rescind("withdraw", "escalate", "1", "-c", files.nodes[1])
    assert (early.exit_code, "is not late" in early.output) == (15, True)
    consortium.anvil.pass_time(3_601)
    late = done("withdraw", "escalate", "1", "-c", files.nodes[1])
    assert (late["method"], late["state"]) == ("removal", "effective")
    assert consortium.of().member(leaver.address).status is MemberStatus.WITHDRAWING
    unreplayed = rescind("withdraw", "finish-replay", "1", "-c", files.nodes[1])
    assert (unreplayed.exit_code, "does not allow this" in unreplayed.output) == (15, True)
    for command in ("start-replay", "advance-replay"):
        assert rescind("withdraw", command, "-c", files.nodes[1]).exit_code == 15


def test_anyone_adds_to_the_pool(files: Files) -> None:
    before = files.consortium.of().pool()
    paid = done("rewards", "fund", "--wei", "7", "-c", files.nodes[0])
    assert paid["pool_wei"] == before + 7
    refund = rescind("rewards", "refund", "-c", files.nodes[0])
    assert (refund.exit_code, "nothing to take out" in refund.output) == (15, True)


def test_the_aggregator_renews_its_certificate_without_a_vote(files: Files) -> None:
    mark = make_certificate(files.folder / "aggregator", "aggregator")
    renewed = done("aggregator", "rotate-certificate", "-c", files.aggregator)
    assert renewed["fingerprint"] == mark
    assert files.consortium.of().fingerprint(files.consortium.aggregator.address) == mark
    again = done("aggregator", "rotate-certificate", "-c", files.aggregator)
    assert again["transaction"] is None


def test_only_the_founder_sweeps_and_only_when_no_one_is_left(files: Files) -> None:
    early = rescind("sweep", *files.chain, *files.founder)
    assert (early.exit_code, "Members are active" in early.output) == (15, True)
    save_key(files.folder, "stranger", files.consortium.anvil.funded())
    other = rescind("sweep", *files.chain, *key_options(files.folder, "stranger"))
    assert (other.exit_code, "Only the founder" in other.output) == (15, True)


@pytest.mark.slow
def test_a_replay_is_moved_on_paid_and_refunded_by_hand(anvil: Anvil, tmp_path: Path) -> None:
    files = make_files(tmp_path, anvil, parameters=micro_parameters(federated=True))
    consortium, rng = files.consortium, np.random.default_rng(0)
    for _ in range(3):
        consortium.play_round(rng)
    asked = done("withdraw", "request", "-c", files.nodes[0], "--method", "replay")
    assert asked["state"] == "replaying"
    stale = rescind("withdraw", "start-replay", "-c", files.nodes[1])
    assert (stale.exit_code, "rescind withdraw fold" in stale.output) == (15, True)
    done("withdraw", "fold", "-c", files.nodes[1])
    begun = done("withdraw", "start-replay", "-c", files.nodes[1])
    assert (begun["withdrawals"], begun["from_round"], begun["to_round"]) == ([1], 2, 3)
    for number in (2, 3):
        early = rescind("withdraw", "advance-replay", "-c", files.nodes[1])
        assert (early.exit_code, "Others still have time" in early.output) == (15, True)
        for each in consortium.organizations[1:]:
            parts = consortium.register(consortium.random_delta(each, rng))
            consortium.of(each).offer_replayed(number, parts)
        done("withdraw", "advance-replay", "-c", files.nodes[1])
    done("withdraw", "fold", "-c", files.nodes[2])
    assert done("withdraw", "finish-replay", "1", "-c", files.nodes[1])["state"] == "attesting"
    early = rescind("withdraw", "close", "1", "-c", files.nodes[1])
    assert (early.exit_code, "does not allow this" in early.output) == (15, True)
    earned = done("rewards", "claim-replay", "--replay", "1", "-c", files.nodes[1])
    assert earned["rounds"] == [2, 3]
    twice = rescind("rewards", "claim-replay", "--replay", "1", "-c", files.nodes[1])
    assert twice.exit_code == 15
    none = rescind("rewards", "claim-replay", "--replay", "1", "-c", files.nodes[0])
    assert (none.exit_code, "trained no closed round" in none.output) == (10, True)
