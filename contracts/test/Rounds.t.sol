// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Lineage} from "../src/Lineage.sol";
import {Rounds} from "../src/Rounds.sol";
import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {Fixture} from "./Fixture.sol";

contract RoundsTest is Fixture {
    bytes32 private _committedRoot;

    function setUp() public {
        deployAll(false, 0, 3);
    }

    function test_aRoundEndsInAModelAndRewards() public {
        uint64 round = runRound();
        assertRound(round, IRounds.State.Final);
        vm.assertEq(rounds.roundOf(round).model, 1);
        vm.assertEq(lineage.head(), 1);
        assertModelAddsUp(1);
        vm.assertEq(rewards.pending(orgs[0]), REWARD / 3);
    }

    function test_settingsMustNameParametersBaseModelAndRounds() public {
        IRounds.Settings memory settings =
            IRounds.Settings(0, bytes32(uint256(2)), false, false, 1, PHASE, PHASE, PHASE);
        vm.expectRevert(IRounds.EmptyValue.selector);
        new Rounds(members, lineage, withdrawals, rewards, settings);
    }

    function test_onlyTheAggregatorOpensARound() public {
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAggregator.selector, address(this)));
        rounds.openRound();
    }

    function test_noRoundOpensWhileTheLastIsUnfinished() public {
        uint64 round = open();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.RoundUnfinished.selector, round));
        rounds.openRound();
    }

    function test_noRoundOpensWithoutTheWholeAggregatorBond() public {
        runRound();
        vm.prank(address(lineage));
        members.slashAggregator(aggregator, anyone);
        vm.startPrank(aggregator);
        members.postAggregatorBond{value: AGGREGATOR_BOND - 1}();
        vm.expectRevert(IRounds.AggregatorBondMissing.selector);
        rounds.openRound();
        members.postAggregatorBond{value: 1}();
        rounds.openRound();
        vm.stopPrank();
    }

    function test_noMoreRoundsThanAgreedAreOpened() public {
        delete orgs;
        delete auditorKeys;
        deployAll(false, 0, 3, 1);
        runRound();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.TooManyRounds.selector, 1));
        rounds.openRound();
    }

    function test_onlyMembersWithAWholeBondMayAnswer() public {
        uint64 round = open();
        vm.expectRevert(abi.encodeWithSelector(IRounds.MayNotContribute.selector, address(this)));
        rounds.commit(round, SALT);
        vm.prank(address(rounds));
        members.penalize(orgs[0]);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.MayNotContribute.selector, orgs[0]));
        rounds.sitOut(round);
    }

    function test_nobodyAnswersTwice() public {
        uint64 round = open();
        commitAs(round, orgs[0]);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.AlreadyAnswered.selector, round, orgs[0]));
        rounds.sitOut(round);
    }

    function test_anEmptyCommitmentIsRefused() public {
        uint64 round = open();
        vm.prank(orgs[0]);
        vm.expectRevert(IRounds.EmptyValue.selector);
        rounds.commit(round, 0);
    }

    function test_nobodyAnswersAfterTheDeadline() public {
        uint64 round = open();
        uint64 deadline = rounds.roundOf(round).commitDeadline;
        vm.warp(deadline + 1);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
        rounds.sitOut(round);
    }

    function test_commitsStayOpenUntilAllAnsweredOrTheDeadlinePassed() public {
        uint64 round = open();
        commitAs(round, orgs[0]);
        uint64 deadline = rounds.roundOf(round).commitDeadline;
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.closeCommits(round);
        commitAs(round, orgs[1]);
        vm.prank(orgs[2]);
        rounds.sitOut(round);
        rounds.closeCommits(round);
        vm.assertEq(rounds.committed(round).length, 2);
        vm.assertEq(rounds.roundOf(round).revealDeadline, clock() + PHASE);
    }

    function test_aRoundNobodyTakesPartInIsAbandoned() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            rounds.sitOut(round);
        }
        rounds.closeCommits(round);
        assertRound(round, IRounds.State.Abandoned);
        vm.assertEq(open(), round + 1);
    }

    function test_anotherDeltaThanTheCommittedIsRefused() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            commitAs(round, orgs[i]);
        }
        rounds.closeCommits(round);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.CommitmentMismatch.selector, round, orgs[0]));
        rounds.reveal(round, bytes32(uint256(99)), SALT, MANIFEST, SALT);
    }

    function test_whoCommittedNothingRevealsNothing() public {
        uint64 round = open();
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongState.selector, round, IRounds.State.Open));
        rounds.reveal(round, SALT, SALT, MANIFEST, SALT);
        commitAs(round, orgs[0]);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NothingCommitted.selector, round, orgs[1]));
        rounds.reveal(round, SALT, SALT, MANIFEST, SALT);
    }

    function test_nobodyRevealsAfterTheDeadline() public {
        uint64 round = open();
        commitAs(round, orgs[0]);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        uint64 deadline = rounds.roundOf(round).revealDeadline;
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
        rounds.reveal(round, SALT, SALT, MANIFEST, SALT);
    }

    function test_aDeltaIsNeverTakenAgain() public {
        ILineage.Delta memory old = deltaOf(runRound(), orgs[0]);
        _commitToOne(ILineage.Delta(old.artifactId, freshDelta().digestRoot));
        vm.expectRevert(abi.encodeWithSelector(ILineage.ArtifactSeenBefore.selector, old.artifactId));
        vm.prank(orgs[1]);
        rounds.reveal(2, old.artifactId, _committedRoot, MANIFEST, SALT);
    }

    function test_aDigestIsNeverTakenAgain() public {
        ILineage.Delta memory old = deltaOf(runRound(), orgs[0]);
        _commitToOne(ILineage.Delta(SALT, old.digestRoot));
        vm.expectRevert(abi.encodeWithSelector(ILineage.DigestSeenBefore.selector, old.digestRoot));
        vm.prank(orgs[1]);
        rounds.reveal(2, SALT, old.digestRoot, MANIFEST, SALT);
    }

    function test_aDeltaOfNothingIsRefused() public {
        runRound();
        bytes32 zero = rootOf(Sparse(0, 0));
        _commitToOne(ILineage.Delta(SALT, zero));
        vm.expectRevert(ILineage.ZeroDelta.selector);
        vm.prank(orgs[1]);
        rounds.reveal(2, SALT, zero, MANIFEST, SALT);
    }

    function test_aDeltaWithoutDigestIsRefused() public {
        runRound();
        _commitToOne(ILineage.Delta(SALT, 0));
        vm.expectRevert(ILineage.EmptyValue.selector);
        vm.prank(orgs[1]);
        rounds.reveal(2, SALT, 0, MANIFEST, SALT);
    }

    function test_whoDoesNotRevealIsPenalizedAndStallsNothing() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            commitAs(round, orgs[i]);
        }
        rounds.closeCommits(round);
        revealAs(round, orgs[0]);
        uint64 deadline = rounds.roundOf(round).revealDeadline;
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.closeReveals(round);
        vm.warp(deadline + 1);
        rounds.closeReveals(round);
        vm.assertEq(members.member(orgs[1]).bond, BOND - PENALTY);
        vm.assertEq(members.member(orgs[0]).bond, BOND);
        vm.assertEq(rewards.pool(), POOL + 2 * PENALTY);
        aggregate(round);
        finish();
        vm.assertEq(lineage.head(), 1);
    }

    function test_whoWithdrawsMeanwhileIsNotPenalized() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            commitAs(round, orgs[i]);
        }
        rounds.closeCommits(round);
        revealAs(round, orgs[0]);
        revealAs(round, orgs[1]);
        requestAs(orgs[2], ILineage.Kind.Removal);
        rounds.closeReveals(round);
        vm.assertEq(members.member(orgs[2]).bond, BOND);
    }

    function test_aRoundNobodyRevealsInIsAbandonedAndPenalized() public {
        uint64 round = open();
        commitAs(round, orgs[0]);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        vm.warp(clock() + PHASE + 1);
        rounds.closeReveals(round);
        assertRound(round, IRounds.State.Abandoned);
        vm.assertEq(members.member(orgs[0]).bond, BOND - PENALTY);
    }

    function test_onlyTheAggregatorNamesTheSum() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        IRounds.Rejection[] memory none = new IRounds.Rejection[](0);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAggregator.selector, address(this)));
        rounds.aggregate(round, list, none, sum, adapter);
    }

    function test_theSumIsNamedInTime() public {
        uint64 round = toRevealed();
        uint64 deadline = rounds.roundOf(round).finalizeDeadline;
        vm.warp(deadline + 1);
        _refused(round, acceptable(round), abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
    }

    function test_nobodyWhoRevealedCanBeLeftOut() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        assembly ("memory-safe") {
            mstore(list, 2)
        }
        _refused(round, list, abi.encodeWithSelector(IRounds.UnaccountedFor.selector, round, 2, 3));
    }

    function test_nobodyWhoDidNotRevealCanBeAdded() public {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[0], orgs[1]);
        uint64 round = toRevealed(two);
        ILineage.Contribution[] memory list = acceptable(round);
        list[1].organization = orgs[2];
        _refused(round, list, abi.encodeWithSelector(IRounds.NotRevealed.selector, round, orgs[2]));
    }

    function test_nobodyIsNamedTwice() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        list[1] = list[0];
        _refused(round, list, abi.encodeWithSelector(IRounds.NotAscending.selector, orgs[0]));
    }

    function test_aDeltaCannotBeExchangedForAnother() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        list[1].digestRoot = freshDelta().digestRoot;
        _refused(round, list, abi.encodeWithSelector(IRounds.NotRevealed.selector, round, orgs[1]));
        list = acceptable(round);
        list[1].artifactId = SALT;
        _refused(round, list, abi.encodeWithSelector(IRounds.NotRevealed.selector, round, orgs[1]));
    }

    function test_weightsAreThoseOfTheRule() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        list[1].weight = 9_999;
        _refused(
            round, list, abi.encodeWithSelector(IRounds.WrongWeight.selector, orgs[1], uint256(9_999), uint256(10_000))
        );
    }

    function test_aScoreIsAtMostOne() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        list[2].score = 10_001;
        _refused(round, list, abi.encodeWithSelector(IRounds.ScoreTooHigh.selector, orgs[2], uint256(10_001)));
    }

    function test_whoWithdrewMeanwhileCannotBeAccepted() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        requestAs(orgs[1], ILineage.Kind.Removal);
        _refused(round, list, abi.encodeWithSelector(IRounds.Withdrawn.selector, orgs[1]));
        aggregate(round);
        finish();
        vm.assertTrue(lineage.isClean(1, orgs[1]));
        vm.assertEq(rounds.rejections(round).length, 1);
    }

    function test_aRejectionStandsInForAContribution() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        assembly ("memory-safe") {
            mstore(list, 2)
        }
        IRounds.Rejection[] memory rejected = new IRounds.Rejection[](1);
        rejected[0] = IRounds.Rejection(orgs[2], 11);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        vm.prank(aggregator);
        rounds.aggregate(round, list, rejected, sum, adapter);
        finish();
        vm.assertEq(rounds.rejections(round)[0].reason, 11);
        vm.assertEq(rewards.pending(orgs[2]), 0);
        vm.assertTrue(lineage.isClean(1, orgs[2]));
    }

    function test_aRoundOfRejectionsOnlyIsAbandoned() public {
        uint64 round = toRevealed();
        IRounds.Rejection[] memory rejected = new IRounds.Rejection[](3);
        for (uint256 i = 0; i < 3; ++i) {
            rejected[i] = IRounds.Rejection(orgs[i], 4);
        }
        vm.prank(aggregator);
        rounds.aggregate(round, new ILineage.Contribution[](0), rejected, _none(), _none());
        assertRound(round, IRounds.State.Abandoned);
    }

    function test_rejectionsAscendAndWereRevealed() public {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[0], orgs[1]);
        uint64 round = toRevealed(two);
        IRounds.Rejection[] memory rejected = new IRounds.Rejection[](2);
        (rejected[0], rejected[1]) = (IRounds.Rejection(orgs[1], 4), IRounds.Rejection(orgs[0], 4));
        ILineage.Contribution[] memory none = new ILineage.Contribution[](0);
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAscending.selector, orgs[0]));
        rounds.aggregate(round, none, rejected, _none(), _none());
        rejected[0] = IRounds.Rejection(orgs[2], 4);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotRevealed.selector, round, orgs[2]));
        rounds.aggregate(round, none, rejected, _none(), _none());
        vm.stopPrank();
    }

    function test_noOneIsBothAcceptedAndRejected() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        assembly ("memory-safe") {
            mstore(list, 2)
        }
        IRounds.Rejection[] memory rejected = new IRounds.Rejection[](1);
        rejected[0] = IRounds.Rejection(orgs[1], 5);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAscending.selector, orgs[1]));
        rounds.aggregate(round, list, rejected, sum, adapter);
    }

    function test_aRoundIsNeitherNamedNorFinishedTwice() public {
        uint64 round = toRevealed();
        aggregate(round);
        _refused(
            round,
            acceptable(round),
            abi.encodeWithSelector(IRounds.WrongState.selector, round, IRounds.State.Aggregated)
        );
        finish();
        vm.expectRevert(ILineage.NoClaim.selector);
        lineage.prove("", new bytes[](0), "");
        _refused(
            round, acceptable(round), abi.encodeWithSelector(IRounds.WrongState.selector, round, IRounds.State.Final)
        );
    }

    function test_onlyTheLineageConcludesOrRejects() public {
        uint64 round = toRevealed();
        aggregate(round);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotLineage.selector, address(this)));
        rounds.conclude(round, 1);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotLineage.selector, address(this)));
        rounds.reject(round);
    }

    function test_anyoneEndsARoundTheAggregatorForgot() public {
        uint64 round = toRevealed();
        uint64 deadline = rounds.roundOf(round).finalizeDeadline;
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.abandon(round);
        vm.warp(deadline + 1);
        vm.prank(anyone);
        rounds.abandon(round);
        assertRound(round, IRounds.State.Abandoned);
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongState.selector, round, IRounds.State.Abandoned));
        rounds.abandon(round);
    }

    function test_aNamedSumThatIsNotProvenInTimeEndsTheRound() public {
        uint64 round = toRevealed();
        aggregate(round);
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongState.selector, round, IRounds.State.Aggregated));
        rounds.abandon(round);
        uint64 deadline = lineage.claim().deadline;
        vm.expectRevert(abi.encodeWithSelector(ILineage.WindowOpen.selector, deadline));
        lineage.dropUnproven();
        vm.warp(deadline + 1);
        lineage.dropUnproven();
        assertRound(round, IRounds.State.Abandoned);
        vm.assertEq(lineage.contributions(round).length, 0);
        vm.assertEq(lineage.aggregateOf(round).digestRoot, bytes32(0));
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
        runRound();
        assertModelAddsUp(1);
    }

    function test_noRoundOpensWhileAWithdrawalIsOverdue() public {
        runRound();
        requestAs(orgs[0], ILineage.Kind.Removal);
        open();
        vm.warp(clock() + WITHDRAWAL + 1);
        rounds.abandon(2);
        vm.prank(aggregator);
        vm.expectRevert(IRounds.WithdrawalOverdue.selector);
        rounds.openRound();
    }

    function testFuzz_sharedWeightsSumToOne(uint8 count) public {
        delete orgs;
        delete auditorKeys;
        deployAll(true, 0, 1 + uint256(count) % 6);
        uint64 round = runRound();
        ILineage.Contribution[] memory all = lineage.contributions(round);
        uint256 total = 0;
        for (uint256 i = 0; i < all.length; ++i) {
            total += all[i].weight;
        }
        vm.assertEq(total, 10_000);
    }

    function _commitToOne(ILineage.Delta memory delta) private {
        uint64 round = open();
        bytes32 hash = commitment(round, orgs[1], delta);
        vm.prank(orgs[1]);
        rounds.commit(round, hash);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        _committedRoot = delta.digestRoot;
    }

    function _refused(uint64 round, ILineage.Contribution[] memory list, bytes memory reason) private {
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        IRounds.Rejection[] memory none = new IRounds.Rejection[](0);
        vm.prank(aggregator);
        vm.expectRevert(reason);
        rounds.aggregate(round, list, none, sum, adapter);
    }

    function _none() private pure returns (ILineage.Delta memory) {
        return ILineage.Delta(0, 0);
    }
}
