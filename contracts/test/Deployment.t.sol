// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Fixture} from "./Fixture.sol";

contract DeploymentTest is Fixture {
    function setUp() public {
        deployAll(true, CHALLENGE, 2);
    }

    function test_everyContractKnowsItsPeers() public view {
        vm.assertEq(members.governance(), address(governance));
        vm.assertEq(members.rounds(), address(rounds));
        vm.assertEq(members.lineage(), address(lineage));
        vm.assertEq(members.withdrawals(), address(withdrawals));
        vm.assertEq(address(members.rewards()), address(rewards));
        vm.assertEq(address(rounds.lineage()), address(lineage));
        vm.assertEq(address(rounds.withdrawals()), address(withdrawals));
        vm.assertEq(address(rounds.rewards()), address(rewards));
        vm.assertEq(address(lineage.rounds()), address(rounds));
        vm.assertEq(address(lineage.referee()), address(referee));
        vm.assertEq(lineage.withdrawals(), address(withdrawals));
        vm.assertEq(address(withdrawals.lineage()), address(lineage));
        vm.assertEq(withdrawals.governance(), address(governance));
        vm.assertEq(governance.withdrawals(), address(withdrawals));
        vm.assertEq(rewards.rounds(), address(rounds));
        vm.assertTrue(lineage.sharedLayout());
    }

    /// @dev EIP-170 allows 24,576 bytes; some room is left for a fix.
    function test_everyContractIsSmallEnoughToBeDeployed() public view {
        address[8] memory all = [
            address(members),
            address(rounds),
            address(lineage),
            address(withdrawals),
            address(governance),
            address(rewards),
            address(referee),
            address(anchors)
        ];
        for (uint256 i = 0; i < all.length; ++i) {
            vm.assertLt(all[i].code.length, 24_000);
        }
    }

    function test_anEmptyConsortiumHasOnlyTheBaseModel() public view {
        vm.assertEq(lineage.head(), 0);
        vm.assertEq(lineage.model(0).digestRoot, rootOf(Sparse(0, 0)));
        vm.assertEq(lineage.modelsInUse().length, 0);
        vm.assertTrue(lineage.isClean(0, orgs[0]));
        vm.assertEq(rounds.currentRound(), 0);
        vm.assertFalse(lineage.claim().open);
    }
}
