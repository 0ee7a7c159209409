// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rounds} from "../src/Rounds.sol";
import {ArtifactId, MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Curve} from "../src/libraries/Curve.sol";
import {Quorum} from "../src/libraries/Quorum.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract RoundsTest is Fixture {
    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
    }

    function state(RoundId round, IRounds.State wanted) private view {
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(wanted));
    }

    function wrongState(RoundId round, IRounds.State now_) private {
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongState.selector, round, now_));
    }

    function committed(uint256 count) private returns (RoundId round) {
        round = open();
        for (uint256 i = 0; i < count; ++i) {
            commitAs(round, orgs[i]);
        }
        pass(PHASE + 1);
        rounds.closeCommits(round);
    }

    function scores(uint256 count) private pure returns (bytes memory packed) {
        for (uint256 i = 0; i < count; ++i) {
            packed = abi.encodePacked(packed, uint16(5_000));
        }
    }

    /// @dev An external call: with dynamic_test_linking forge ends a test at the first creation that reverts as expected.
    function settingsOf(Weights.Rule[] memory rules_, uint16 most, bytes32 id) external returns (Rounds) {
        return new Rounds(
            members,
            models,
            replays,
            rewards,
            1,
            IRounds.Settings(id, bytes32(uint256(2)), rules_, false, false, most, PHASE, PHASE, PHASE)
        );
    }

    // Deployment

    function test_settings_must_make_sense() public {
        bytes32 id = bytes32(uint256(1));
        vm.expectRevert(abi.encodeWithSelector(IRounds.EmptyValue.selector));
        this.settingsOf(new Weights.Rule[](1), 1, 0);
        bytes memory refusal = abi.encodeWithSelector(IRounds.WrongSettings.selector);
        vm.expectRevert(refusal);
        this.settingsOf(new Weights.Rule[](0), 1, id);
        vm.expectRevert(refusal);
        this.settingsOf(new Weights.Rule[](5), 1, id);
        vm.expectRevert(refusal);
        this.settingsOf(new Weights.Rule[](1), 0, id);
        vm.expectRevert(refusal);
        this.settingsOf(new Weights.Rule[](1), 1_025, id);
        vm.assertEq(this.settingsOf(new Weights.Rule[](4), 1_024, id).partCount(), 4);
        vm.assertEq(rounds.settings().parametersId, id);
    }

    // Opening

    function test_only_the_aggregator_with_its_bond_opens_a_round() public {
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAggregator.selector, address(this)));
        rounds.open();
        vm.prank(address(governance));
        members.setAggregator(anyone);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IRounds.AggregatorBondMissing.selector));
        rounds.open();
    }

    function test_one_round_is_open_at_a_time() public {
        RoundId round = open();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.RoundUnfinished.selector, round));
        rounds.open();
    }

    function test_no_round_opens_on_a_stale_model() public {
        playRound();
        vm.prank(orgs[0]);
        withdrawals.request(IWithdrawals.Method.Removal);
        ModelId head = models.head();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.StaleParent.selector, head));
        rounds.open();
        refold();
        open();
    }

    function test_no_round_opens_while_no_member_may_contribute() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NoContributor.selector));
        rounds.open();
    }

    function test_there_are_no_more_rounds_than_agreed() public {
        maxRounds = 1;
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Block, 1);
        playRound();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.TooManyRounds.selector, 1));
        rounds.open();
    }

    // Answers

    function test_a_member_answers_an_open_round_once() public {
        RoundId round = open();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.EmptyValue.selector));
        rounds.commit(round, 0);
        commitAs(round, orgs[0]);
        vm.prank(orgs[1]);
        rounds.sitOut(round);
        vm.prank(orgs[2]);
        rounds.reportUnavailable(round);
        for (uint256 i = 0; i < 3; ++i) {
            bytes memory refusal = abi.encodeWithSelector(IRounds.AlreadyAnswered.selector, round, orgs[i]);
            vm.startPrank(orgs[i]);
            vm.expectRevert(refusal);
            rounds.commit(round, SALT);
            vm.expectRevert(refusal);
            rounds.sitOut(round);
            vm.expectRevert(refusal);
            rounds.reportUnavailable(round);
            vm.stopPrank();
        }
    }

    function test_strangers_do_not_answer() public {
        RoundId round = open();
        bytes memory refusal = abi.encodeWithSelector(IMembers.MayNotContribute.selector, anyone);
        vm.startPrank(anyone);
        vm.expectRevert(refusal);
        rounds.commit(round, SALT);
        vm.expectRevert(refusal);
        rounds.sitOut(round);
        vm.expectRevert(refusal);
        rounds.reportUnavailable(round);
        vm.stopPrank();
    }

    function test_answers_are_late_after_the_deadline() public {
        RoundId round = open();
        uint40 deadline = rounds.roundOf(round).deadline;
        pass(PHASE + 1);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
        rounds.commit(round, SALT);
    }

    function test_the_commit_phase_ends_once_all_answered_or_it_is_late() public {
        RoundId round = open();
        uint40 deadline = rounds.roundOf(round).deadline;
        commitAs(round, orgs[0]);
        commitAs(round, orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.closeCommits(round);
        vm.prank(orgs[2]);
        rounds.sitOut(round);
        rounds.closeCommits(round);
        state(round, IRounds.State.Committed);
        wrongState(round, IRounds.State.Committed);
        rounds.closeCommits(round);
    }

    function test_a_round_without_commitments_is_abandoned() public {
        RoundId round = open();
        pass(PHASE + 1);
        rounds.closeCommits(round);
        state(round, IRounds.State.Abandoned);
        open();
    }

    function test_half_of_the_members_cannot_have_the_aggregator_penalized() public {
        vm.prank(orgs[2]);
        members.resign();
        RoundId round = open();
        vm.prank(orgs[0]);
        rounds.reportUnavailable(round);
        commitAs(round, orgs[1]);
        rounds.closeCommits(round);
        state(round, IRounds.State.Committed);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
    }

    function test_most_members_missing_the_parent_cost_the_aggregator_a_share() public {
        RoundId round = open();
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(orgs[i]);
            rounds.reportUnavailable(round);
        }
        commitAs(round, orgs[2]);
        rounds.closeCommits(round);
        state(round, IRounds.State.Abandoned);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND / 2);
        vm.assertEq(rewards.pool(), POOL + AGGREGATOR_BOND / 2);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.AggregatorBondMissing.selector));
        rounds.open();
    }

    function test_an_aggregator_that_resigns_still_pays_for_its_round() public {
        RoundId round = open();
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(orgs[i]);
            rounds.reportUnavailable(round);
        }
        vm.prank(aggregator);
        members.resignAggregator();
        pass(PHASE + 1);
        rounds.closeCommits(round);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND / 2);
    }

    // Reveals

    function test_a_reveal_opens_its_own_commitment_once() public {
        RoundId round = committed(2);
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[0]);
        vm.startPrank(orgs[2]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NothingCommitted.selector, round, orgs[2]));
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        vm.stopPrank();
        vm.startPrank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.CommitmentMismatch.selector, round, orgs[1]));
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        vm.stopPrank();
        revealAs(round, orgs[0]);
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NothingCommitted.selector, round, orgs[0]));
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        vm.stopPrank();
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        vm.assertEq(ArtifactId.unwrap(rounds.artifactOf(PointHash.wrap(keccak256(points)))), ids[0]);
    }

    function test_a_reveal_is_late_after_the_deadline() public {
        RoundId round = committed(1);
        uint40 deadline = rounds.roundOf(round).deadline;
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.closeReveals(round);
        pass(PHASE + 1);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        rounds.closeReveals(round);
        state(round, IRounds.State.Abandoned);
    }

    /// @dev Commit to something, and expect its reveal to be refused.
    function refused(bytes32[] memory ids, bytes memory points, bytes memory refusal) private {
        RoundId round = open();
        bytes32 hash = keccak256(abi.encode(round, orgs[0], ids, keccak256(points), MANIFEST, SALT));
        vm.prank(orgs[0]);
        rounds.commit(round, hash);
        pass(PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[0]);
        vm.expectRevert(refusal);
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        vm.assertEq(ArtifactId.unwrap(rounds.artifactOf(PointHash.wrap(keccak256(points)))), 0);
        pass(PHASE + 1);
        rounds.closeReveals(round);
        members.penalize(orgs[0]);
        vm.prank(orgs[0]);
        members.topUp{value: PENALTY}();
    }

    function test_a_bad_point_is_refused_and_nothing_of_it_is_registered() public {
        bytes32[] memory ids = new bytes32[](1);
        ids[0] = keccak256("artifact");
        bytes memory point = multiple(77);
        // Infinity.
        refused(ids, new bytes(128), abi.encodeWithSelector(Curve.Infinity.selector));
        // Off the curve: another y.
        bytes memory off = multiple(77);
        off[127] ^= 0x01;
        refused(ids, off, abi.encodeWithSelector(Curve.NotOnCurve.selector, off));
        // A coordinate beyond the field's order.
        bytes memory large = multiple(77);
        large[0] = 0x01;
        refused(ids, large, abi.encodeWithSelector(Curve.NotOnCurve.selector, large));
        // On the curve and outside of the subgroup: x = 4, from the curve's y^2 = x^3 + 4.
        bytes memory outside = outsideSubgroup();
        refused(ids, outside, abi.encodeWithSelector(Curve.NotOnCurve.selector, outside));
        // Small order: (0, 2) has order 3.
        bytes memory small = new bytes(128);
        small[127] = 0x02;
        refused(ids, small, abi.encodeWithSelector(Curve.NotOnCurve.selector, small));
        // Wrong lengths, wrong counts.
        bytes memory long = bytes.concat(point, hex"00");
        refused(ids, long, abi.encodeWithSelector(Curve.WrongLength.selector, 129));
        bytes memory two = bytes.concat(point, multiple(78));
        refused(ids, two, abi.encodeWithSelector(IRounds.WrongPartCount.selector, 1, 1));
        refused(new bytes32[](2), point, abi.encodeWithSelector(IRounds.WrongPartCount.selector, 2, 1));
        refused(new bytes32[](1), point, abi.encodeWithSelector(IRounds.EmptyValue.selector));
    }

    function test_a_point_is_revealed_once_ever() public {
        playRound();
        (bytes32[] memory ids, bytes memory points) = contributionOf(RoundId.wrap(1), orgs[1]);
        RoundId round = open();
        bytes32 hash = keccak256(abi.encode(round, orgs[0], ids, keccak256(points), MANIFEST, SALT));
        vm.prank(orgs[0]);
        rounds.commit(round, hash);
        pass(PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.PointSeenBefore.selector, keccak256(points)));
        rounds.reveal(round, ids, points, MANIFEST, SALT);
    }

    function test_the_reveal_phase_waits_for_no_one_that_left() public {
        RoundId round = committed(2);
        revealAs(round, orgs[0]);
        vm.assertFalse(rounds.allRevealed(round));
        vm.prank(orgs[1]);
        members.resign();
        vm.assertTrue(rounds.allRevealed(round));
        rounds.closeReveals(round);
        state(round, IRounds.State.Revealed);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NoPenaltyDue.selector, orgs[1]));
        members.penalize(orgs[1]);
    }

    // Judgement

    function test_only_the_aggregator_judges_and_in_time() public {
        RoundId round = revealed(orgs);
        uint256[4] memory set = rounds.answersOf(round).revealed;
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAggregator.selector, address(this)));
        rounds.judge(round, set, scores(3), "");
        uint40 deadline = rounds.roundOf(round).deadline;
        pass(PHASE + 1);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
        rounds.judge(round, set, scores(3), "");
    }

    function test_a_judgement_accounts_for_every_reveal() public {
        RoundId round = committed(2);
        revealAs(round, orgs[0]);
        revealAs(round, orgs[1]);
        rounds.closeReveals(round);
        uint256[4] memory set;
        set[0] = 5;
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotRevealed.selector, round));
        rounds.judge(round, set, scores(2), "");
        set[0] = 1;
        vm.expectRevert(abi.encodeWithSelector(IRounds.UnaccountedFor.selector, round, 4, 2));
        rounds.judge(round, set, scores(2), hex"01");
        vm.expectRevert(abi.encodeWithSelector(IRounds.UnaccountedFor.selector, round, 0, 1));
        rounds.judge(round, set, scores(1), "");
        vm.expectRevert(abi.encodeWithSelector(IRounds.ScoreTooHigh.selector, 10_001));
        rounds.judge(round, set, abi.encodePacked(uint16(10_001)), hex"01");
        rounds.judge(round, set, abi.encodePacked(uint16(10_000)), hex"01");
        vm.stopPrank();
        state(round, IRounds.State.Judged);
        vm.assertTrue(rounds.isAccepted(round, MemberId.wrap(0)));
        vm.assertFalse(rounds.isAccepted(round, MemberId.wrap(1)));
    }

    function test_a_round_that_accepts_no_one_is_abandoned() public {
        RoundId round = revealed(some(0));
        uint256[4] memory none;
        vm.prank(aggregator);
        rounds.judge(round, none, "", hex"01");
        state(round, IRounds.State.Abandoned);
    }

    function test_a_round_that_is_not_judged_in_time_is_abandoned() public {
        RoundId round = revealed(orgs);
        uint40 deadline = rounds.roundOf(round).deadline;
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.abandon(round);
        pass(PHASE + 1);
        rounds.abandon(round);
        state(round, IRounds.State.Abandoned);
        wrongState(round, IRounds.State.Abandoned);
        rounds.abandon(round);
    }

    function test_only_a_late_judgement_or_a_stale_parent_ends_a_round() public {
        wrongState(RoundId.wrap(1), IRounds.State.None);
        rounds.abandon(RoundId.wrap(1));
        RoundId round = open();
        pass(10 * PHASE);
        wrongState(round, IRounds.State.Open);
        rounds.abandon(round);
        commitLate();
    }

    function test_a_round_that_is_over_is_not_abandoned_though_its_parent_is_the_head_no_more() public {
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Share, 3);
        RoundId round = playRound();
        wrongState(round, IRounds.State.Final);
        rounds.abandon(round);
        RoundId second = open();
        pass(PHASE + 1);
        rounds.closeCommits(second);
        vm.prank(orgs[0]);
        withdrawals.request(IWithdrawals.Method.Removal);
        wrongState(second, IRounds.State.Abandoned);
        rounds.abandon(second);
        wrongState(RoundId.wrap(3), IRounds.State.None);
        rounds.abandon(RoundId.wrap(3));
    }

    function commitLate() private {
        rounds.closeCommits(rounds.currentRound());
        RoundId round = revealed(orgs);
        judge(round);
        pass(10 * PHASE);
        wrongState(round, IRounds.State.Judged);
        rounds.abandon(round);
    }

    function test_phases_come_in_order() public {
        RoundId round = open();
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[0]);
        uint256[4] memory set;
        wrongState(round, IRounds.State.Open);
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        wrongState(round, IRounds.State.Open);
        rounds.closeReveals(round);
        vm.prank(aggregator);
        wrongState(round, IRounds.State.Open);
        rounds.judge(round, set, "", "");
        commitAs(round, orgs[0]);
        pass(PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[1]);
        wrongState(round, IRounds.State.Committed);
        rounds.sitOut(round);
    }

    function test_only_the_models_contract_makes_a_round_final() public {
        RoundId round = revealed(orgs);
        judge(round);
        uint256[4] memory set;
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotModels.selector, address(this)));
        rounds.finish(round, ModelId.wrap(1), set);
        vm.prank(address(models));
        rounds.finish(round, ModelId.wrap(1), set);
        vm.prank(address(models));
        wrongState(round, IRounds.State.Final);
        rounds.finish(round, ModelId.wrap(1), set);
    }

    // Scores

    function test_scores_are_of_accepted_members_of_final_rounds() public {
        RoundId round = revealed(orgs);
        (uint256 score, uint256 total) = rounds.scoreOf(round, orgs[0]);
        vm.assertEq(score + total, 0);
        uint256[4] memory set;
        set[0] = 6;
        vm.prank(aggregator);
        rounds.judge(round, set, abi.encodePacked(uint16(1_000), uint16(3_000)), hex"05");
        (score, total) = rounds.scoreOf(round, orgs[1]);
        vm.assertEq(score + total, 0);
        sumUp(OfferId.wrap(0), round, 9);
        foldAll(models.head());
        (score, total) = rounds.scoreOf(round, orgs[2]);
        vm.assertEq(score, 3_000);
        vm.assertEq(total, 4_000);
        (score, total) = rounds.scoreOf(round, orgs[0]);
        vm.assertEq(score + total, 0);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        rounds.scoreOf(round, anyone);
    }

    // Attestation

    function deployAttested() private {
        attested = true;
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Share, 2);
    }

    function test_an_attestation_is_of_the_contributions_that_its_signers_saw() public {
        deployAttested();
        uint256 before = vm.snapshotState();
        RoundId round = playRound();
        bytes[] memory signatures = signed(round, EVIDENCE, 2);
        vm.expectPartialRevert(Quorum.NotAuditor.selector);
        rounds.attest(round, keccak256("other evidence"), signatures);
        // On a fork the same round has other contributions.
        vm.revertToState(before);
        orgs.pop();
        vm.assertTrue(playRound(orgs) == round);
        vm.expectPartialRevert(Quorum.NotAuditor.selector);
        rounds.attest(round, EVIDENCE, signatures);
    }

    function test_a_quorum_of_auditors_attests_final_rounds_in_order() public {
        deployAttested();
        RoundId first = playRound();
        RoundId gap = open();
        pass(PHASE + 1);
        rounds.closeCommits(gap);
        RoundId second = playRound();
        vm.assertFalse(rounds.isPayable(first));
        vm.assertFalse(rounds.isAttested(first));
        vm.expectRevert(abi.encodeWithSelector(IRounds.EarlierRoundFirst.selector, first));
        rounds.attest(second, EVIDENCE, new bytes[](0));
        vm.expectRevert(abi.encodeWithSelector(Quorum.QuorumMissing.selector, 1, 2));
        rounds.attest(first, EVIDENCE, new bytes[](1));
        bytes[] memory signatures = signed(first, EVIDENCE, 2);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        vm.expectRevert(abi.encodeWithSelector(Quorum.SignersNotAscending.selector, vm.addr(auditorKeys[0])));
        rounds.attest(first, EVIDENCE, signatures);
        signatures[0] = signatures[1];
        vm.expectRevert(abi.encodeWithSelector(Quorum.SignersNotAscending.selector, vm.addr(auditorKeys[0])));
        rounds.attest(first, EVIDENCE, signatures);
        vm.prank(address(governance));
        members.dismissAuditor(vm.addr(auditorKeys[1]));
        signatures = signed(first, EVIDENCE, 2);
        vm.expectRevert(abi.encodeWithSelector(Quorum.NotAuditor.selector, vm.addr(auditorKeys[1])));
        rounds.attest(first, EVIDENCE, signatures);
        vm.prank(address(governance));
        members.nameAuditor(vm.addr(auditorKeys[1]));
        rounds.attest(first, EVIDENCE, signatures);
        vm.expectRevert(abi.encodeWithSelector(IRounds.AttestedBefore.selector, first));
        rounds.attest(first, EVIDENCE, signatures);
        vm.assertTrue(rounds.isPayable(first));
        vm.assertTrue(rounds.isAttested(first));
        vm.assertFalse(rounds.isAttested(second));
        wrongState(gap, IRounds.State.Abandoned);
        rounds.attest(gap, EVIDENCE, signatures);
        rounds.attest(second, EVIDENCE, signed(second, EVIDENCE, 2));
        vm.assertTrue(rounds.isAttested(second));
    }
}
