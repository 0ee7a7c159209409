"""The contracts against their reference, in cases that must work or be refused."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from rescind.contracts import (
    Limits,
    MemberStatus,
    ModelKind,
    RoundState,
    WithdrawalMethod,
    WithdrawalState,
)
from tests.contracts.play import DAY, ROUND_SECONDS, Play
from tests.contracts.stage import Stage, open_stage
from tests.support.consortium import SALT

ONE = Limits(points=1, rows=1)
REMOVAL, REPLACEMENT, REPLAY, COUNTER = (
    WithdrawalMethod.REMOVAL,
    WithdrawalMethod.REPLACEMENT,
    WithdrawalMethod.REPLAY,
    WithdrawalMethod.COUNTER_TRAINING,
)


@pytest.fixture(params=["blocks", "shared"], scope="module")
def stage(request: pytest.FixtureRequest) -> Iterator[Stage]:
    with open_stage(request.param) as opened:
        yield opened


@pytest.fixture
def play(stage: Stage) -> Play:
    return Play(stage)


@pytest.fixture
def chained_play(play: Play) -> Play:
    if play.consortium.parameters.layout != "shared":
        pytest.skip("only chained rounds are replayed or abandoned for their parent")
    return play


def test_a_removal_takes_effect_with_the_request(play: Play) -> None:
    for _ in range(2):
        play.play_round()
        play.check()
    leaver = play.orgs[1]
    assert play.request(leaver, REMOVAL) == ""
    assert play.record.is_stale(play.model.head)
    assert play.do(play.consortium.aggregator, "open_round") == "StaleParent"
    assert play.do(leaver, "close_withdrawal", 1) == "NotFolded"
    play.fold_all(ONE)
    play.check()
    assert play.do(leaver, "close_withdrawal", 1) == ""
    assert play.record.withdrawal(1).state is WithdrawalState.CLOSED
    assert play.record.member(leaver.address).status is MemberStatus.WITHDRAWN
    assert play.record.is_clean(play.model.head, leaver.address)
    assert play.record.model(play.model.head).kind is ModelKind.REMOVAL
    play.play_round()
    play.check()


def test_every_model_in_use_is_folded(play: Play) -> None:
    for _ in range(3):
        play.play_round()
        assert play.release() == ""
    assert play.request(play.orgs[0], REMOVAL) == ""
    assert all(play.record.is_stale(number) for number in play.record.models_in_use())
    play.fold_all()
    play.check()
    assert len(play.record.models_in_use()) == 3
    assert play.do(play.orgs[0], "close_withdrawal", 1) == ""


@pytest.mark.parametrize("steps", range(5))
def test_a_request_in_any_phase_of_a_round_keeps_the_leaver_out(play: Play, steps: int) -> None:
    play.play_round()
    for _ in range(steps):
        play.step_round()
    leaver = play.orgs[1]
    assert play.request(leaver, REMOVAL) == ""
    play.fold_all(ONE)
    number = play.record.current_round_id()
    for _ in range(8):
        if play.record.round(number).state.over:
            break
        if play._chained and play.record.round(number).parent_model != play.model.head:
            assert play.do(play.orgs[0], "abandon", number) == ""
        else:
            play.step_round()
    play.fold_all(ONE)
    play.check()
    assert play.record.round(number).state.over
    assert not play.model.holds(play.model.models[play.model.head], leaver.address)
    assert play.do(leaver, "close_withdrawal", 1) == ""


def test_a_request_between_two_pieces_of_a_fold_is_folded_after(play: Play) -> None:
    play.play_round()
    for _ in range(4):
        play.step_round()
    assert play.record.round(2).state is RoundState.JUDGED
    play.begin_fold()
    assert play.request(play.orgs[1], REMOVAL) == ""
    play.fold_all(ONE)
    play.check()
    assert not play.model.holds(play.model.models[play.model.head], play.orgs[1].address)


def test_a_round_that_is_abandoned_while_it_is_folded_stops_nothing(chained_play: Play) -> None:
    play = chained_play
    play.play_round()
    for _ in range(4):
        play.step_round()
    play.begin_fold()
    assert play.request(play.orgs[1], REMOVAL) == ""
    play.do(play.orgs[0], "abandon", 2)
    play.fold_all()
    assert not play.record.is_stale(play.record.latest_model_id())


def test_several_withdrawals_are_folded_in_the_order_of_requests(play: Play) -> None:
    for _ in range(2):
        play.play_round()
    assert play.request_for_subject(play.orgs[0], REPLACEMENT) == ""
    assert play.prepare(1) == ""
    assert play.request(play.orgs[1], REMOVAL) == ""
    assert play.request_for_subject(play.orgs[2], COUNTER) == ""
    assert play.prepare(3) == ""
    play.fold_all(ONE)
    play.check()
    kinds = [play.record.model(number).kind for number in range(3, play.record.model_count() + 1)]
    assert kinds == [ModelKind.REPLACEMENT, ModelKind.REMOVAL, ModelKind.COUNTER_TRAINING]
    assert play.finish(3) == ""
    play.check()


def test_a_replacement_swaps_only_the_organizations_own_contribution(play: Play) -> None:
    for _ in range(2):
        play.play_round()
    organization, other = play.orgs[0], play.orgs[1]
    assert play.request_for_subject(organization, REPLACEMENT) == ""
    assert play.do(organization, "ready", 1) == "NothingOffered"
    assert play.do(organization, "offer", 1, 0, play.parts(organization)) == "WrongMethod"
    assert play.do(other, "offer", 1, 1, play.parts(other)) == "NotOrganization"
    seen = play.revealed[organization.address]
    assert play.do(organization, "offer", 1, 1, seen) == "PointSeenBefore"
    assert play.offer(1, 2) == ""
    assert play.offer(1, 2) == "", "an offer can be made again until it is ready"
    assert play.offer(1, 3) == "NotContributed"
    assert play.ready(1) == ""
    play.fold_all(ONE)
    play.check()
    assert play.do(other, "close_withdrawal", 1) == ""
    assert play.record.member(organization.address).status is MemberStatus.ACTIVE


def test_counter_training_is_attested_and_leaves_with_its_organization(play: Play) -> None:
    play.play_round()
    organization = play.orgs[2]
    assert play.request(organization, COUNTER) == ""
    assert play.prepare(1) == ""
    play.fold_all()
    play.check()
    assert play.do(organization, "close_withdrawal", 1) == "WrongState"
    assert play.attest(1) == ""
    assert play.do(organization, "close_withdrawal", 1) == ""
    assert play.record.content(play.model.head)[0].round_id == 0
    assert play.request(organization, REMOVAL) == ""
    play.fold_all()
    play.check()
    assert all(entry.round_id for entry in play.record.content(play.model.head))


def test_a_late_withdrawal_becomes_a_removal(play: Play) -> None:
    play.play_round()
    assert play.request_for_subject(play.orgs[0], REPLACEMENT) == ""
    assert play.to_removal(play.orgs[1], 1, "escalate") == "NotOverdue"
    play.pass_time(DAY)
    assert play.to_removal(play.orgs[1], 1, "escalate") == ""
    play.fold_all()
    play.check()
    assert play.record.withdrawal(1).method is REMOVAL
    assert not play.model.holds(play.model.models[play.model.head], play.orgs[0].address)


def test_an_expelled_member_is_out_at_once(play: Play) -> None:
    play.play_round()
    assert play.expel(play.orgs[2]) == ""
    assert play.record.withdrawal(1).expelled
    assert play.record.is_stale(play.model.head)
    play.fold_all()
    play.check()
    assert play.do(play.orgs[0], "close_withdrawal", 1) == ""


def test_attestations_need_a_quorum_in_order(play: Play) -> None:
    play.play_round()
    assert play.request(play.orgs[0], COUNTER) == ""
    assert play.prepare(1) == ""
    play.fold_all()
    consortium, head = play.consortium, play.model.head
    attested = play.record.withdrawal_attestation_hash(1, head, "ee" * 32)
    first, second = consortium.signatures(attested)
    stranger = consortium.signatures(attested, [play.orgs[0]])
    for signatures, reason in (
        ([first], "QuorumMissing"),
        ([second, first], "SignersNotAscending"),
        ([first, first], "SignersNotAscending"),
        ([*stranger, *stranger], "NotAuditor"),
    ):
        assert (
            play.do(consortium.aggregator, "attest_withdrawal", 1, head, "ee" * 32, signatures)
            == reason
        )
    stale = play.record.model(head).source
    assert (
        play.do(consortium.aggregator, "attest_withdrawal", 1, stale, "ee" * 32, [first, second])
        == "NotAmended"
    )


def test_a_replay_trains_later_rounds_again(chained_play: Play) -> None:
    play = chained_play
    for absent in (0, 0b100, 0, 0b010):
        play.play_round(absent=absent)
    leaver = play.orgs[1]
    assert play.request(leaver, REPLAY) == ""
    assert play.do(leaver, "start_replay") == "StaleHead"
    play.fold_all()
    assert play.start_replay() == ""
    assert play.do(play.consortium.aggregator, "open_round") == "ReplayUnderWay"
    assert play.step_replay() == ""
    assert play.step_replay(absent=0b001) == "", "a late member is dropped from then on"
    assert play.record.expected_replayers() == [play.orgs[2].address]
    assert play.step_replay() == ""
    assert play.do(leaver, "finish_replay", 1) == ""
    play.fold_all(ONE)
    play.check()
    assert play.record.model(play.model.head).kind is ModelKind.REPLAY
    assert play.attest(1) == ""
    assert play.do(leaver, "close_withdrawal", 1) == ""
    replay = play.record.current_replay()
    assert replay is not None
    assert play.do(play.orgs[0], "claim_replay", replay.id, [2]) == ""
    assert play.do(play.orgs[0], "claim_replay", replay.id, [3]) == "NothingToClaim"
    play.play_round()
    play.check()


def test_in_blocks_a_whole_organization_is_not_replayed(play: Play) -> None:
    play.play_round()
    if play._chained:
        assert play.request(play.orgs[0], REPLAY) == ""
        return
    assert play.request(play.orgs[0], REPLAY) == "WrongMethod"
    play.play_round()
    assert play.request_for_subject(play.orgs[0], REPLAY) == ""
    assert play.offer(1, 1) == ""
    assert play.do(play.orgs[0], "ready", 1) == "OfferMissing"
    assert play.offer(1, 2) == ""
    assert play.ready(1) == ""
    play.fold_all(ONE)
    play.check()
    assert play.record.withdrawal(1).state is WithdrawalState.ATTESTING
    assert play.finish(1) == ""


def test_a_chained_round_is_abandoned_with_its_parent(chained_play: Play) -> None:
    play = chained_play
    play.play_round()
    for _ in range(3):
        play.step_round()
    assert play.do(play.orgs[0], "abandon", 2) in ("WrongState", "DeadlineAhead")
    assert play.request(play.orgs[1], REMOVAL) == ""
    assert play.do(play.orgs[0], "abandon", 2) == ""
    play.fold_all()
    play.play_round()
    play.check()
    assert play.record.member(play.orgs[0].address).bond == play.record.member_terms().bond


def test_a_member_that_does_not_reveal_is_suspended_until_it_pays(play: Play) -> None:
    organization = play.orgs[0]
    assert play.step_round() == ""
    assert play.step_round() == ""
    assert play.step_round(absent=0b001) == ""
    assert not play.record.may_contribute(organization.address)
    assert play.do(play.orgs[1], "penalize", organization.address) == ""
    play.check()
    terms = play.record.member_terms()
    assert play.record.member(organization.address).bond == terms.bond - terms.unrevealed_penalty
    assert play.do(organization, "top_up", terms.bond) == "WrongBond"
    assert play.do(organization, "top_up", terms.unrevealed_penalty) == ""
    assert play.record.may_contribute(organization.address)
    play.check()


def test_commitments_open_only_to_what_was_committed(play: Play) -> None:
    organization, other = play.orgs[0], play.orgs[1]
    assert play.step_round() == ""
    parts, salt = play.parts(organization), b"\x08" * 32
    assert play.do(organization, "commit", 1, parts, SALT) == ""
    assert play.do(organization, "commit", 1, parts, SALT) == "AlreadyAnswered"
    assert play.do(other, "commit", 1, parts, SALT) == ""
    assert play.do(play.orgs[2], "sit_out", 1) == ""
    assert play.do(organization, "reveal", 1, parts, SALT) == "WrongState"
    assert play.do(other, "close_commits", 1) == ""
    assert play.do(organization, "reveal", 1, parts, salt) == "CommitmentMismatch"
    assert (
        play.do(organization, "reveal", 1, play.parts(organization), SALT) == "CommitmentMismatch"
    )
    assert play.do(organization, "reveal", 1, parts, SALT) == ""
    assert play.do(other, "reveal", 1, parts, SALT) == "PointSeenBefore"
    assert play.do(play.orgs[2], "reveal", 1, parts, SALT) == "NothingCommitted"


def test_a_piece_with_wrong_points_is_refused(play: Play) -> None:
    for _ in range(4):
        play.step_round()
    aggregator = play.consortium.aggregator
    first, second, third = (each.parts.points[0] for each in play.record.contributions(1))
    nothing = bytes(128)
    for carried, points, reason in (
        (first, [first], "WrongPoint"),
        (nothing, [second], "WrongPoint"),
        (nothing, [first, first], "WrongPoint"),
        (nothing, [first, third], "WrongPoint"),
        (nothing, [first, second, third, third], "TooManyPoints"),
        (nothing, [first[:-1]], "WrongLength"),
    ):
        assert play.do(aggregator, "sum_points", 0, 1, carried, points) == reason
    assert play.do(aggregator, "fold_points", 0, nothing, []) == "NothingToFold"
    play.fold_all()
    play.check()
    assert play.do(aggregator, "sum_points", 0, 1, nothing, [first]) == "SumComplete"


def test_a_round_that_is_not_judged_in_time_is_abandoned(play: Play) -> None:
    for _ in range(3):
        play.step_round()
    assert play.do(play.orgs[0], "abandon", 1) == "DeadlineAhead"
    play.pass_time(ROUND_SECONDS)
    assert play.do(play.orgs[0], "abandon", 1) == ""
    play.play_round()
    play.check()
