// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Rewards} from "../src/Rewards.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {Cheats} from "./Cheats.sol";

contract RewardsTest is Cheats {
    Rewards private rewards;
    address[] private orgs;

    function setUp() public {
        vm.deal(address(this), 10 ether);
        rewards = new Rewards{value: 3 ether}(address(this), 1 ether);
        for (uint160 i = 1; i <= 3; ++i) {
            orgs.push(address(0x1000 + i));
        }
    }

    function test_aRoundsRewardIsSplitByScoreAndPulledOnce() public {
        rewards.credit(1, orgs, _scores(5_000, 3_000, 2_000));
        vm.assertEq(rewards.pending(orgs[0]), 0.5 ether);
        vm.assertEq(rewards.creditedIn(1, orgs[1]), 0.3 ether);
        vm.assertEq(rewards.pool(), 2 ether);
        vm.startPrank(orgs[0]);
        rewards.claim();
        vm.assertEq(orgs[0].balance, 0.5 ether);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NothingToClaim.selector, orgs[0]));
        rewards.claim();
        vm.stopPrank();
    }

    function test_onlyTheRoundsContractCredits() public {
        uint256[] memory scores = _scores(1, 1, 1);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotRounds.selector, orgs[0]));
        rewards.credit(1, orgs, scores);
    }

    function test_aRoundWithoutScoresPaysNothing() public {
        rewards.credit(1, orgs, _scores(0, 0, 0));
        vm.assertEq(rewards.pool(), 3 ether);
    }

    function test_anEmptyPoolPaysNothingAndStallsNothing() public {
        for (uint64 round = 1; round <= 5; ++round) {
            rewards.credit(round, orgs, _scores(10_000, 0, 0));
        }
        vm.assertEq(rewards.pool(), 0);
        vm.assertEq(rewards.pending(orgs[0]), 3 ether);
        rewards.fund{value: 1 ether}();
        vm.assertEq(rewards.pool(), 1 ether);
    }

    function testFuzz_rewardsNeverExceedThePool(uint16[3] memory scores, uint8 count) public {
        for (uint64 round = 0; round < count % 6; ++round) {
            rewards.credit(round, orgs, _scores(scores[0] % 10_001, scores[1] % 10_001, scores[2] % 10_001));
        }
        uint256 owed = rewards.pending(orgs[0]) + rewards.pending(orgs[1]) + rewards.pending(orgs[2]);
        vm.assertEq(owed + rewards.pool(), address(rewards).balance);
        vm.assertLe(owed, 3 ether);
    }

    function _scores(uint256 first, uint256 second, uint256 third) private pure returns (uint256[] memory scores) {
        scores = new uint256[](3);
        (scores[0], scores[1], scores[2]) = (first, second, third);
    }
}
