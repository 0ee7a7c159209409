// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {Fixture} from "./Fixture.sol";

contract AnchorsTest is Fixture {
    function setUp() public {
        deployAll(false, 0, 1);
    }

    function test_anAnchorGrows() public {
        vm.startPrank(orgs[0]);
        anchors.anchor(5, SALT);
        anchors.anchor(9, EVIDENCE);
        vm.stopPrank();
        vm.assertEq(anchors.latest(orgs[0]).size, 9);
        vm.assertEq(anchors.latest(orgs[0]).root, EVIDENCE);
    }

    function test_onlyMembersAnchor() public {
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.NotMember.selector, anyone));
        anchors.anchor(1, SALT);
    }

    function testFuzz_anAnchorNeverShrinks(uint64 size, uint64 smaller) public {
        vm.assume(smaller < size);
        vm.startPrank(orgs[0]);
        anchors.anchor(size, SALT);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.Shrunk.selector, orgs[0], smaller, size));
        anchors.anchor(smaller, SALT);
        vm.stopPrank();
    }

    function testFuzz_anAnchorNeverForks(uint64 size, bytes32 root, bytes32 other) public {
        vm.assume(root != other);
        vm.startPrank(orgs[0]);
        anchors.anchor(size, root);
        anchors.anchor(size, root);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.Forked.selector, orgs[0], size, root));
        anchors.anchor(size, other);
        vm.stopPrank();
    }

    function testFuzz_whatWasSpentStaysSpent(uint64 epsilon, uint64 less) public {
        vm.assume(less < epsilon);
        vm.startPrank(orgs[0]);
        anchors.stateSpent(epsilon, 10);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.BudgetShrunk.selector, orgs[0], less, epsilon));
        anchors.stateSpent(less, 10);
        vm.stopPrank();
        vm.assertEq(anchors.spentBy(orgs[0]).epsilonMicro, epsilon);
        vm.assertEq(anchors.spentBy(orgs[0]).deltaPico, 10);
        vm.assertEq(anchors.spentBy(orgs[0]).statedAt, block.number);
    }

    function test_onlyMembersStateWhatTheySpent() public {
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IAnchors.NotMember.selector, anyone));
        anchors.stateSpent(1, 1);
    }
}
