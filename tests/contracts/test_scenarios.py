"""The contracts against their reference, in cases that must work or be refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rescind.contracts import (
    MemberStatus,
    ModelKind,
    RoundState,
    WithdrawalState,
)
from tests.contracts.driver import FAULTS, Play
from tests.contracts.stage import Stage, open_stage
from tests.support.consortium import SALT


@pytest.fixture(params=["blocks", "shared"], scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with open_stage(request.param) as opened:
        yield opened


@pytest.fixture
def play(stage: Stage) -> Play:
    return Play(stage)


def test_a_removal_takes_an_organization_out_of_the_model(play: Play) -> None:
    for _ in range(2):
        play.play_round(most=1)
        play.check()
    leaver = play.orgs[1]
    assert play.do(leaver, "request_withdrawal", ModelKind.REMOVAL) == ""
    play.finish(1, most=2)
    play.check()
    assert play.model.withdrawals[1].state is WithdrawalState.CLOSED
    assert play.model.status(leaver) is MemberStatus.WITHDRAWN
    assert not play.model.models[play.model.head].has(leaver)


def test_a_replacement_swaps_only_the_organizations_own_delta(play: Play) -> None:
    play.play_round()
    play.do(play.boss, "release", 1)
    play.play_round()
    who = play.orgs[0]
    old = {part.delta for part in play.model.models[2].parts if part.organization == who}
    play.do(who, "request_subject_withdrawal", "ab" * 32, ModelKind.REPLACEMENT)
    assert play.do(who, "ready", 1) == "NothingOffered"
    assert play.do(who, "offer", 1, 1, play.delta(who, "zero")) == "ZeroDelta"
    assert play.do(who, "offer", 1, 1, play.delta(who, "revealed")) == "ArtifactSeenBefore"
    assert play.do(play.orgs[1], "offer", 1, 1, play.delta(who)) == "NotOrganization"
    for round_id in (1, 2):
        assert play.do(who, "offer", 1, round_id, play.delta(who)) == ""
    assert play.do(who, "offer", 1, 2, play.delta(who)) == "OfferedBefore"
    assert play.do(who, "ready", 1) == ""
    assert play.carry_out(1, 1) == ""
    play.prove_all(most=1)
    assert play.do(play.boss, "close_withdrawal", 1) == "NotCarriedOut"
    assert play.carry_out(1, 2) == ""
    play.prove_all()
    assert play.do(play.boss, "close_withdrawal", 1) == ""
    play.check()
    assert old <= play.model.taken_back()
    play.play_round()
    play.check()
    assert play.model.rounds[3].state is RoundState.FINAL


def test_a_counter_training_needs_both_auditors(play: Play) -> None:
    play.play_round()
    who = play.orgs[2]
    play.do(who, "request_subject_withdrawal", "cd" * 32, ModelKind.COUNTER_TRAINING)
    play.prepare(1)
    for fault, reason in [
        ("evidence", "EmptyValue"),
        ("quorum", "QuorumMissing"),
        ("stranger", "NotAuditor"),
        ("order", "SignersNotAscending"),
    ]:
        assert play.carry_out(1, 1, fault) == reason
    play.finish(1)
    play.check()
    assert [part.round_id for part in play.model.models[2].parts] == [0, 1, 1, 1]
    play.do(who, "request_withdrawal", ModelKind.REMOVAL)
    play.finish(2)
    play.check()
    assert not play.model.models[3].has(who)


@pytest.mark.parametrize("whole", [True, False])
def test_a_replay_replaces_every_later_delta(play: Play, whole: bool) -> None:
    play.play_round()
    play.do(play.boss, "release", 1)
    for _ in range(2):
        play.play_round()
    who, other = play.orgs[:2]
    if whole:
        play.do(who, "request_withdrawal", ModelKind.REPLAY)
    else:
        play.do(who, "request_subject_withdrawal", "ef" * 32, ModelKind.REPLAY)
        play.do(who, "offer", 1, 1, play.delta(who))
        play.do(who, "ready", 1)
    assert play.do(other, "offer", 1, 2, play.delta(other)) == ""
    assert play.carry_out(1, 1) == "HeadFirst"
    assert play.carry_out(1, 3) == ""
    if whole and not play.model.shared:
        assert play.prove() == "", "nobody else's delta has to change in a block of its own"
        play.finish(1)
        play.check()
        assert play.model.withdrawals[1].state is WithdrawalState.CLOSED
        return
    assert play.prove() == "ReplayIncomplete"
    assert play.do(other, "offer", 1, 3, play.delta(other)) == "ClaimPending"
    play.prove_all()
    for part in play.model.models[3].parts:
        if part.round_id > 1 and not (whole and part.organization == who):
            play.do(part.organization, "offer", 1, part.round_id, play.delta(part.organization))
    play.finish(1)
    play.check()
    assert play.model.withdrawals[1].state is WithdrawalState.CLOSED
    late = [part for part in play.model.models[play.model.head].parts if part.round_id > 1]
    assert late
    assert all(part.order for part in late)


def test_a_late_withdrawal_stops_the_rounds_and_costs_the_aggregator_its_bond(play: Play) -> None:
    play.play_round()
    who, other = play.orgs[:2]
    play.do(who, "request_subject_withdrawal", "ab" * 32, ModelKind.REPLACEMENT)
    assert play.do(other, "escalate", 1) == "NotOverdue"
    play.pass_time(3601)
    assert play.do(other, "escalate", 1) == ""
    assert play.model.status(who) is MemberStatus.WITHDRAWING
    assert play.do(other, "slash", 1) == "NotOverdue"
    play.pass_time(3601)
    assert play.do(play.boss, "open_round") == "WithdrawalOverdue"
    assert play.do(other, "slash", 1) == ""
    assert play.do(other, "slash", 1) == "NothingToSlash"
    play.check()
    assert play.do(who, "claim_compensation") == ""
    play.finish(1)
    assert play.do(play.boss, "open_round") == "AggregatorBondMissing"
    assert play.do(play.boss, "post_aggregator_bond", 10 * 10**18) == ""
    assert play.do(who, "reclaim_bond") == "TooEarly"
    play.pass_time(86_400)
    assert play.do(who, "reclaim_bond") == ""
    play.play_round()
    play.check()
    assert play.model.rounds[2].state is RoundState.FINAL


def test_members_vote_a_member_out(play: Play) -> None:
    play.play_round()
    first, second, gone = play.orgs
    play.do(first, "propose_expulsion", gone)
    assert play.do(first, "vote", 1) == "AlreadyVoted"
    assert play.do(second, "execute", 1) == "NotEnoughVotes"
    play.do(second, "vote", 1)
    assert play.do(gone, "execute", 1) == ""
    assert play.do(gone, "execute", 1) == "AlreadyExecuted"
    play.finish(1)
    play.check()
    assert play.model.withdrawals[1].expelled
    assert play.model.status(gone) is MemberStatus.WITHDRAWN


@pytest.mark.parametrize("fault", ["withdrawn", "sum", "adapter", "rejected"])
def test_a_round_is_final_only_with_its_exact_sum(play: Play, fault: str) -> None:
    play.do(play.boss, "open_round")
    for who in play.orgs:
        play.do(who, "commit", 1, play.delta(who), SALT)
    play.do(play.boss, "close_commits", 1)
    for who in play.orgs:
        play.do(who, "reveal", 1, play.model.rounds[1].answers[who].delta, SALT)
    play.do(play.boss, "close_reveals", 1)
    if fault == "withdrawn":
        play.do(play.orgs[0], "request_withdrawal", ModelKind.REMOVAL)
    for refused in ("weight", "root", "dropped"):
        assert play.aggregate(1, refused) == FAULTS[refused]
    assert play.aggregate(1, fault) == FAULTS[fault]
    if FAULTS[fault]:
        assert play.aggregate(1) == ""
    for given in ("WrongCarry", "WrongDigest", "TooManyDigests"):
        assert play.prove(fault=given) == given
    play.prove_all(most=2)
    play.check()
    final = fault not in ("sum", "adapter")
    assert play.model.rounds[1].state is (RoundState.FINAL if final else RoundState.ABANDONED)


@pytest.mark.parametrize(
    ("kind", "reason"),
    [("zero", "ZeroDelta"), ("revealed", "ArtifactSeenBefore"), ("offered", "ArtifactSeenBefore")],
)
def test_a_zero_or_copied_delta_is_refused_when_revealed(
    play: Play, kind: str, reason: str
) -> None:
    play.play_round()
    who, owner_ = play.orgs[:2]
    play.do(owner_, "request_subject_withdrawal", "ab" * 32, ModelKind.COUNTER_TRAINING)
    play.do(owner_, "offer", 1, 0, play.delta(owner_))
    play.do(play.boss, "open_round")
    delta = play.delta(who, kind)
    play.do(who, "commit", 2, delta, SALT)
    play.pass_time(601)
    play.do(play.boss, "close_commits", 2)
    assert play.do(who, "reveal", 2, delta, b"\x08" * 32) == "CommitmentMismatch"
    assert play.do(who, "reveal", 2, delta, SALT) == reason
    play.pass_time(301)
    play.do(play.boss, "close_reveals", 2)
    play.check()
    assert play.do(who, "top_up", 10**18) == "WrongBond"
    assert play.do(who, "top_up", 10**17) == ""
    play.check()
