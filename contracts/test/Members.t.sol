// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Members} from "../src/Members.sol";
import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Calls back into whoever pays it.
contract Greedy {
    bytes private again;
    bool public refused;

    function act(address to, uint256 value, bytes calldata data, bytes calldata again_) external payable {
        again = again_;
        (bool done, bytes memory why) = to.call{value: value}(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(why, 32), mload(why))
            }
        }
    }

    receive() external payable {
        if (again.length == 0) return;
        (bool done,) = msg.sender.call(again);
        refused = !done;
    }
}

contract MembersTest is Fixture {
    address private newcomer = address(0x2001);

    function setUp() public {
        deployAll(false, 0, 3);
    }

    function test_anAdmittedOrganizationJoinsOnce() public {
        _admit(newcomer, "new", SALT);
        vm.deal(newcomer, 2 * BOND);
        vm.startPrank(newcomer);
        members.join{value: BOND}();
        vm.assertEq(uint8(members.statusOf(newcomer)), uint8(IMembers.Status.Active));
        vm.assertEq(members.activeCount(), 4);
        vm.assertTrue(members.mayContribute(newcomer));
        vm.assertEq(members.organizationOf(SALT), newcomer);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, newcomer, IMembers.Status.Active));
        members.join{value: BOND}();
        vm.stopPrank();
    }

    function test_nobodyJoinsUnadmitted() public {
        vm.deal(newcomer, BOND);
        vm.prank(newcomer);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, newcomer, IMembers.Status.None));
        members.join{value: BOND}();
    }

    function testFuzz_onlyTheExactBondJoins(uint96 amount) public {
        vm.assume(amount != BOND);
        _admit(newcomer, "new", SALT);
        vm.deal(newcomer, amount);
        vm.prank(newcomer);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, amount, BOND));
        members.join{value: amount}();
    }

    function test_anAdmissionNeedsANameAnAddressAndACertificate() public {
        vm.startPrank(address(governance));
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.admit(address(0), "new", SALT);
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.admit(newcomer, "", SALT);
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.admit(newcomer, "new", 0);
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.nameAuditor(address(0));
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.setAggregator(address(0), SALT);
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.setAggregator(newcomer, 0);
        vm.stopPrank();
    }

    function test_nobodyIsAdmittedTwiceOrWithAnothersCertificate() public {
        vm.startPrank(address(governance));
        vm.expectRevert(abi.encodeWithSelector(IMembers.AlreadyAdmitted.selector, orgs[0]));
        members.admit(orgs[0], "again", SALT);
        bytes32 taken = members.member(orgs[0]).fingerprint;
        vm.expectRevert(abi.encodeWithSelector(IMembers.FingerprintInUse.selector, taken));
        members.admit(newcomer, "new", taken);
        vm.stopPrank();
    }

    function test_noMoreMembersThanTheDigestCountsOnAreAdmitted() public {
        vm.startPrank(address(governance));
        for (uint160 i = 3; i < 100; ++i) {
            members.admit(address(0x3000 + i), "more", bytes32(uint256(0x3000 + i)));
        }
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooManyMembers.selector, 100));
        members.admit(newcomer, "new", SALT);
        vm.stopPrank();
        vm.assertEq(members.organizations().length, 100);
    }

    function test_auditorsAreNamedAndDismissedByGovernance() public {
        vm.startPrank(address(governance));
        members.nameAuditor(anyone);
        members.nameAuditor(anyone);
        vm.assertEq(members.auditors().length, 4);
        members.dismissAuditor(anyone);
        vm.assertFalse(members.isAuditor(anyone));
        vm.expectRevert(abi.encodeWithSelector(IMembers.UnknownAuditor.selector, anyone));
        members.dismissAuditor(anyone);
        vm.stopPrank();
    }

    function test_aPenalizedMemberToppingUpMayContributeAgain() public {
        vm.prank(address(rounds));
        members.penalize(orgs[0]);
        vm.assertFalse(members.mayContribute(orgs[0]));
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, 0, PENALTY));
        members.topUp();
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, PENALTY + 1, PENALTY));
        members.topUp{value: PENALTY + 1}();
        members.topUp{value: PENALTY}();
        vm.stopPrank();
        vm.assertTrue(members.mayContribute(orgs[0]));
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, address(this), IMembers.Status.None));
        members.topUp{value: 1}();
    }

    function test_aPenaltyTakesNoMoreThanTheBond() public {
        vm.startPrank(address(rounds));
        for (uint256 i = 0; i < 11; ++i) {
            members.penalize(orgs[0]);
        }
        vm.stopPrank();
        vm.assertEq(members.member(orgs[0]).bond, 0);
        vm.assertEq(rewards.pool(), POOL + BOND);
    }

    function test_aBondIsReclaimedOnceAfterTheExitDelay() public {
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Active));
        members.reclaimBond();
        members.resign();
        uint64 exitAt = clock() + EXIT;
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooEarly.selector, exitAt));
        members.reclaimBond();
        vm.warp(exitAt);
        members.reclaimBond();
        vm.assertEq(orgs[0].balance, 2 * BOND);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Left));
        members.reclaimBond();
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Left));
        members.resign();
        vm.stopPrank();
        vm.assertEq(members.activeCount(), 2);
    }

    function test_aWithdrawingMemberReclaimsItsBondOnlyOnceWithdrawn() public {
        runRound();
        requestAs(orgs[0], ILineage.Kind.Removal);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Withdrawing));
        members.reclaimBond();
        carryOut(1, 1);
        withdrawals.close(1);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooEarly.selector, clock() + EXIT));
        members.reclaimBond();
        vm.warp(clock() + EXIT);
        vm.prank(orgs[0]);
        members.reclaimBond();
        vm.assertEq(orgs[0].balance, 2 * BOND);
    }

    function test_aCertificateIsReplacedByItsOwner() public {
        bytes32 old = members.member(orgs[0]).fingerprint;
        vm.startPrank(orgs[0]);
        members.rotateFingerprint(SALT);
        vm.assertEq(members.organizationOf(SALT), orgs[0]);
        vm.assertEq(members.organizationOf(old), address(0));
        bytes32 taken = members.member(orgs[1]).fingerprint;
        vm.expectRevert(abi.encodeWithSelector(IMembers.FingerprintInUse.selector, taken));
        members.rotateFingerprint(taken);
        vm.expectRevert(IMembers.EmptyValue.selector);
        members.rotateFingerprint(0);
        vm.stopPrank();
        vm.prank(aggregator);
        members.rotateFingerprint(old);
        vm.assertEq(members.aggregatorFingerprint(), old);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        members.rotateFingerprint(bytes32(uint256(99)));
    }

    function test_onlyTheAggregatorPostsItsBond() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotAllowed.selector, address(this)));
        members.postAggregatorBond{value: 1}();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, 0, AGGREGATOR_BOND));
        members.postAggregatorBond();
    }

    function test_aFormerAggregatorReclaimsItsBondAfterTheExitDelay() public {
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToClaim.selector, aggregator));
        members.reclaimAggregatorBond();
        vm.prank(address(governance));
        members.setAggregator(anyone, SALT);
        vm.assertFalse(members.aggregatorReady());
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooEarly.selector, clock() + EXIT));
        members.reclaimAggregatorBond();
        vm.warp(clock() + EXIT);
        members.reclaimAggregatorBond();
        vm.assertEq(aggregator.balance, 2 * AGGREGATOR_BOND);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToClaim.selector, aggregator));
        members.reclaimAggregatorBond();
        vm.stopPrank();
    }

    function test_aFormerAggregatorCanStillBeSlashed() public {
        vm.prank(address(governance));
        members.setAggregator(anyone, SALT);
        vm.prank(address(lineage));
        members.slashAggregator(aggregator, orgs[0]);
        vm.assertEq(members.compensation(orgs[0]), AGGREGATOR_BOND / 2);
        vm.prank(address(lineage));
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToSlash.selector, aggregator));
        members.slashAggregator(aggregator, orgs[0]);
    }

    function test_aCompensationIsTakenOutOnce() public {
        vm.prank(address(withdrawals));
        members.slashAggregator(aggregator, orgs[0]);
        vm.assertEq(rewards.pool(), POOL + AGGREGATOR_BOND / 2);
        vm.startPrank(orgs[0]);
        members.claimCompensation();
        vm.assertEq(orgs[0].balance, BOND + AGGREGATOR_BOND / 2);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToClaim.selector, orgs[0]));
        members.claimCompensation();
        vm.stopPrank();
    }

    function test_onlyTheOtherContractsMarkPenalizeAndSlash() public {
        bytes memory reason = abi.encodeWithSelector(IMembers.NotAllowed.selector, address(this));
        vm.expectRevert(reason);
        members.markWithdrawing(orgs[0]);
        vm.expectRevert(reason);
        members.markWithdrawn(orgs[0]);
        vm.expectRevert(reason);
        members.penalize(orgs[0]);
        vm.expectRevert(reason);
        members.slashAggregator(aggregator, orgs[0]);
        vm.expectRevert(reason);
        members.compensate{value: 1}(orgs[0]);
    }

    function test_onlyMembersAreMarked() public {
        vm.startPrank(address(withdrawals));
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        members.markWithdrawing(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Active));
        members.markWithdrawn(orgs[0]);
        vm.stopPrank();
    }

    function test_whoIsPaidCannotBePaidTwiceByCallingBack() public {
        Greedy greedy = new Greedy();
        vm.prank(address(withdrawals));
        members.slashAggregator(aggregator, address(greedy));
        bytes memory claim = abi.encodeCall(members.claimCompensation, ());
        greedy.act(address(members), 0, claim, claim);
        vm.assertTrue(greedy.refused());
        vm.assertEq(address(greedy).balance, AGGREGATOR_BOND / 2);
    }

    function test_aBondCannotBeReclaimedTwiceByCallingBack() public {
        Greedy greedy = new Greedy();
        _admit(address(greedy), "greedy", SALT);
        greedy.act{value: BOND}(address(members), BOND, abi.encodeCall(members.join, ()), "");
        greedy.act(address(members), 0, abi.encodeCall(members.resign, ()), "");
        vm.warp(clock() + EXIT);
        bytes memory reclaim = abi.encodeCall(members.reclaimBond, ());
        greedy.act(address(members), 0, reclaim, reclaim);
        vm.assertTrue(greedy.refused());
        vm.assertEq(address(greedy).balance, BOND);
    }

    function _admit(address organization, string memory name, bytes32 fingerprint) private {
        vm.prank(address(governance));
        members.admit(organization, name, fingerprint);
    }
}
