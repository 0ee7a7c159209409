// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {OfferId, RoundId, WithdrawalId} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract RewardsTest is Fixture {
    receive() external payable {}

    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
    }

    function list(RoundId round) private pure returns (RoundId[] memory only) {
        only = new RoundId[](1);
        only[0] = round;
    }

    function claimAs(uint256 i, RoundId round) private returns (uint256) {
        uint256 before = orgs[i].balance;
        vm.prank(orgs[i]);
        rewards.claim(list(round));
        return orgs[i].balance - before;
    }

    function judgedWith(bytes memory scores) private returns (RoundId round) {
        round = revealed(orgs);
        uint256[4] memory set = rounds.answersOf(round).revealed;
        vm.prank(aggregator);
        rounds.judge(round, set, scores, "");
        sumUp(OfferId.wrap(0), round, 9);
    }

    function test_members_are_paid_by_score_once() public {
        RoundId round = judgedWith(abi.encodePacked(uint16(1_000), uint16(3_000), uint16(0)));
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotAttested.selector, round));
        rewards.claim(list(round));
        foldAll(models.head());
        vm.assertEq(rewards.claimable(orgs[1], list(round)), REWARD * 3 / 4);
        vm.assertEq(claimAs(0, round), REWARD / 4);
        vm.assertEq(claimAs(1, round), REWARD * 3 / 4);
        vm.assertEq(rewards.claimable(orgs[1], list(round)), 0);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.ClaimedBefore.selector, round, orgs[0]));
        rewards.claim(list(round));
        vm.prank(orgs[2]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotScored.selector, round, orgs[2]));
        rewards.claim(list(round));
        vm.prank(orgs[2]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingToClaim.selector, orgs[2]));
        rewards.claim(new RoundId[](0));
        vm.assertEq(address(rewards).balance, rewards.pool());
    }

    function test_a_round_without_scores_takes_nothing_from_the_pool() public {
        RoundId round = judgedWith(new bytes(6));
        foldAll(models.head());
        vm.assertEq(rewards.reservedFor(round), 0);
        vm.assertEq(rewards.pool(), POOL);
    }

    function test_a_member_that_left_during_the_round_leaves_its_share_to_the_others() public {
        RoundId round = judgedWith(abi.encodePacked(uint16(1_000), uint16(1_000), uint16(2_000)));
        vm.prank(orgs[2]);
        withdrawals.request(IWithdrawals.Method.Removal);
        refold();
        foldAll(models.head());
        vm.assertEq(claimAs(0, round), REWARD / 2);
        vm.assertEq(claimAs(1, round), REWARD / 2);
        vm.assertEq(rewards.claimable(orgs[2], list(round)), 0);
    }

    function test_only_the_rounds_contract_reserves() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotRounds.selector, address(this)));
        rewards.reserve(RoundId.wrap(1));
    }

    function test_what_is_left_in_the_pool_is_the_last_reward() public {
        vm.deal(address(rewards), 0);
        while (rewards.pool() > REWARD / 2) {
            vm.prank(address(rounds));
            rewards.reserve(RoundId.wrap(900));
        }
        rewards.fund{value: 3}();
        vm.prank(address(rounds));
        rewards.reserve(RoundId.wrap(901));
        vm.assertEq(rewards.reservedFor(RoundId.wrap(901)), 3);
        vm.assertEq(rewards.pool(), 0);
    }

    function emptied() private {
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
    }

    function test_the_founder_sweeps_what_is_left_the_exit_delay_after_the_last_member_left() public {
        vm.expectRevert(abi.encodeWithSelector(IRewards.StillUnderWay.selector));
        rewards.sweep();
        RoundId round = playRound();
        claimAs(0, round);
        emptied();
        pass(EXIT - 1);
        vm.expectRevert(abi.encodeWithSelector(IRewards.StillUnderWay.selector));
        rewards.sweep();
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotFounder.selector, anyone));
        rewards.sweep();
        claimAs(1, round);
        pass(1);
        rewards.sweep();
        vm.assertEq(address(rewards).balance, 0);
        vm.assertEq(rewards.pool(), 0);
        // What no one claimed by then is gone, also if others fund the pool later.
        rewards.fund{value: 1 ether}();
        vm.assertEq(rewards.claimable(orgs[2], list(round)), 0);
        vm.prank(orgs[2]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotScored.selector, round, orgs[2]));
        rewards.claim(list(round));
        vm.prank(address(rounds));
        rewards.reserve(round);
        vm.assertEq(rewards.pool(), 1 ether);
    }

    function test_nothing_is_stuck_when_the_last_member_leaves() public {
        RoundId round = playRound();
        vm.prank(orgs[0]);
        withdrawals.request(IWithdrawals.Method.Removal);
        for (uint256 i = 1; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
        refold();
        withdrawals.close(WithdrawalId.wrap(1));
        vm.prank(aggregator);
        members.resignAggregator();
        claimAs(0, round);
        pass(EXIT);
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.reclaimBond();
        }
        vm.prank(aggregator);
        members.reclaimAggregatorBond();
        rewards.sweep();
        vm.assertEq(address(members).balance + address(rewards).balance + address(replays).balance, 0);
    }
}

contract AnchorsTest is Fixture {
    function setUp() public {
        deployAll(Weights.Rule.Block, 2);
    }

    function test_a_ledger_only_grows() public {
        vm.startPrank(orgs[0]);
        anchors.anchor(5, SALT);
        vm.assertEq(anchors.latest(orgs[0]).root, SALT);
        anchors.anchor(5, SALT);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.Shrunk.selector, orgs[0], 4, 5));
        anchors.anchor(4, SALT);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.Forked.selector, orgs[0], 5, SALT));
        anchors.anchor(5, EVIDENCE);
        anchors.anchor(6, EVIDENCE);
        vm.assertEq(uint256(anchors.latest(orgs[0]).size), 6);
        vm.stopPrank();
    }

    function test_only_members_anchor_and_state() public {
        vm.startPrank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.NotMember.selector, anyone));
        anchors.anchor(1, SALT);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.NotMember.selector, anyone));
        anchors.stateSpent(1, 1);
        vm.stopPrank();
    }

    function test_what_is_spent_stays_spent() public {
        vm.startPrank(orgs[0]);
        anchors.stateSpent(5, 100);
        IAnchors.Spent memory last = anchors.spentBy(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.BudgetShrunk.selector, orgs[0], last));
        anchors.stateSpent(5, 99);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.BudgetShrunk.selector, orgs[0], last));
        anchors.stateSpent(4, 100);
        anchors.stateSpent(6, 100);
        vm.stopPrank();
        vm.assertEq(uint256(anchors.spentBy(orgs[0]).epsilonMicro), 6);
    }
}
