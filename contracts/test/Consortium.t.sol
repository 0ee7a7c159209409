// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {Fixture} from "./Fixture.sol";

contract ConsortiumTest is Fixture {
    function setUp() public {
        deployAll(false);
    }

    function test_aRoundEndsInAModelAndRewards() public {
        uint64 round = toRevealed();
        finish(round, 3);
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(IRounds.State.Final));
        vm.assertEq(rounds.latestModel(), 1);
        (address[] memory who,, uint16[] memory weights) = rounds.contentOf(1, round);
        vm.assertEq(who.length, 3);
        vm.assertEq(weights[2], 10_000);
        vm.assertEq(rewards.pending(orgs[0]), uint256(1 ether) / 3);
        vm.prank(orgs[0]);
        rewards.claim();
        vm.assertEq(orgs[0].balance, 1 ether + uint256(1 ether) / 3);
    }

    function test_aRoundCannotBeFinalizedTwice() public {
        uint64 round = toRevealed();
        finish(round, 3);
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongState.selector, round, IRounds.State.Final));
        finish(round, 3);
    }

    function test_nobodyWhoRevealedCanBeLeftOut() public {
        uint64 round = toRevealed();
        vm.expectRevert(abi.encodeWithSelector(IRounds.UnaccountedFor.selector, round, 2, 3));
        finish(round, 2);
    }

    function test_aRejectionStandsInForAContribution() public {
        uint64 round = toRevealed();
        IRounds.Rejection[] memory rejected = new IRounds.Rejection[](1);
        rejected[0] = IRounds.Rejection(orgs[2], 5);
        vm.prank(aggregator);
        rounds.finalize(round, accepted(round, 2), rejected, bytes32(uint256(3)), bytes32(uint256(4)));
        vm.assertEq(rounds.rejections(round).length, 1);
        vm.assertEq(rewards.pending(orgs[2]), 0);
    }

    function test_noOneIsBothAcceptedAndRejected() public {
        uint64 round = toRevealed();
        IRounds.Rejection[] memory rejected = new IRounds.Rejection[](1);
        rejected[0] = IRounds.Rejection(orgs[1], 5);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAscending.selector, orgs[1]));
        rounds.finalize(round, accepted(round, 2), rejected, bytes32(uint256(3)), bytes32(uint256(4)));
    }

    function test_anotherArtifactThanTheCommittedIsRefused() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            commitAs(round, i);
        }
        rounds.closeCommits(round);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.CommitmentMismatch.selector, round, orgs[0]));
        rounds.reveal(round, bytes32(uint256(99)), SALT);
    }

    function test_aRevealedArtifactIsNeverTakenAgain() public {
        uint64 first = toRevealed();
        finish(first, 3);
        bytes32 copied = artifactOf(first, 0);
        uint64 round = open();
        vm.prank(orgs[1]);
        rounds.commit(round, keccak256(abi.encode(round, orgs[1], copied, SALT)));
        vm.warp(block.timestamp + 101);
        rounds.closeCommits(round);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.ArtifactSeenBefore.selector, copied));
        rounds.reveal(round, copied, SALT);
    }

    function test_whoNeverRevealsDoesNotStallTheRound() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            commitAs(round, i);
        }
        rounds.closeCommits(round);
        revealAs(round, 0);
        uint64 deadline = rounds.roundOf(round).revealDeadline;
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.closeReveals(round);
        vm.warp(deadline + 1);
        rounds.closeReveals(round);
        finish(round, 1);
        vm.assertEq(rounds.latestModel(), 1);
    }

    function test_aRoundNobodyTakesPartInIsAbandoned() public {
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            rounds.sitOut(round);
        }
        rounds.closeCommits(round);
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(IRounds.State.Abandoned));
        vm.assertEq(open(), round + 1);
    }

    function test_anyoneEndsARoundTheAggregatorForgot() public {
        uint64 round = toRevealed();
        vm.warp(rounds.roundOf(round).finalizeDeadline + 1);
        vm.prank(address(0xBEEF));
        rounds.abandon(round);
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(IRounds.State.Abandoned));
    }

    function test_aRemovalLeavesEveryLaterModel() public {
        uint64 round = toRevealed();
        finish(round, 3);
        vm.prank(orgs[0]);
        uint256 id = withdrawals.request();
        vm.prank(aggregator);
        withdrawals.close(id, bytes32(uint256(9)));
        vm.assertFalse(rounds.isClean(1, orgs[0]));
        vm.assertTrue(rounds.isClean(2, orgs[0]));
        (address[] memory who,,) = rounds.contentOf(2, round);
        vm.assertEq(who.length, 2);
        vm.prank(orgs[0]);
        members.reclaimBond();
        vm.assertEq(orgs[0].balance, 2 ether);
    }

    function test_aWithdrawingOrganizationCannotBeAccepted() public {
        uint64 round = toRevealed();
        vm.prank(orgs[1]);
        withdrawals.request();
        vm.expectRevert(abi.encodeWithSelector(IRounds.Withdrawn.selector, orgs[1]));
        finish(round, 3);
    }

    function test_anOverdueWithdrawalBlocksNewRounds() public {
        uint64 round = toRevealed();
        finish(round, 3);
        vm.prank(orgs[0]);
        withdrawals.request();
        vm.warp(block.timestamp + 1001);
        vm.prank(aggregator);
        vm.expectRevert(IRounds.WithdrawalOverdue.selector);
        rounds.openRound();
    }

    function test_anAnchorNeverShrinksOrForks() public {
        vm.startPrank(orgs[0]);
        anchors.anchor(5, bytes32(uint256(1)));
        anchors.anchor(5, bytes32(uint256(1)));
        vm.expectRevert(abi.encodeWithSelector(IAnchors.Shrunk.selector, orgs[0], 4, 5));
        anchors.anchor(4, bytes32(uint256(1)));
        vm.expectRevert(abi.encodeWithSelector(IAnchors.Forked.selector, orgs[0], 5, bytes32(uint256(1))));
        anchors.anchor(5, bytes32(uint256(2)));
        vm.stopPrank();
    }

    function testFuzz_onlyTheExactBondJoins(uint96 amount) public {
        vm.assume(amount != 1 ether);
        address newcomer = address(0x2001);
        members.admit(newcomer, "new", bytes32(uint256(200)));
        vm.deal(newcomer, amount);
        vm.prank(newcomer);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, amount, 1 ether));
        members.join{value: amount}();
    }

    function testFuzz_rewardsNeverExceedThePool(uint16[3] memory scores) public {
        uint64 round = toRevealed();
        IRounds.Contribution[] memory list = accepted(round, 3);
        for (uint256 i = 0; i < 3; ++i) {
            list[i].score = scores[i] % 10_001;
        }
        vm.prank(aggregator);
        rounds.finalize(round, list, none(), bytes32(uint256(3)), bytes32(uint256(4)));
        uint256 owed = rewards.pending(orgs[0]) + rewards.pending(orgs[1]) + rewards.pending(orgs[2]);
        vm.assertEq(owed + rewards.pool(), address(rewards).balance);
        vm.assertLe(owed, 1 ether);
    }

    function testFuzz_sharedWeightsSumToOne(uint8 count) public {
        deployAll(true);
        uint256 n = 1 + uint256(count) % 3;
        uint64 round = open();
        for (uint256 i = 0; i < 3; ++i) {
            if (i < n) {
                commitAs(round, i);
            } else {
                vm.prank(orgs[i]);
                rounds.sitOut(round);
            }
        }
        rounds.closeCommits(round);
        IRounds.Contribution[] memory list = accepted(round, n);
        for (uint256 i = 0; i < n; ++i) {
            revealAs(round, i);
            list[i].weight = uint16(10_000 / n + (i < 10_000 % n ? 1 : 0));
        }
        rounds.closeReveals(round);
        vm.prank(aggregator);
        rounds.finalize(round, list, none(), bytes32(uint256(3)), bytes32(uint256(4)));
        (,, uint16[] memory weights) = rounds.contentOf(1, round);
        uint256 total = 0;
        for (uint256 i = 0; i < n; ++i) {
            total += weights[i];
        }
        vm.assertEq(total, 10_000);
    }
}
