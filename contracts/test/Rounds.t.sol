// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rounds} from "../src/Rounds.sol";
import {ArtifactId, ModelId, PointHash, RoundId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Curve} from "../src/libraries/Curve.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {RoundFixture} from "./RoundFixture.sol";

contract RoundsTest is RoundFixture {
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
}
