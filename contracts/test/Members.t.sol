// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Members} from "../src/Members.sol";
import {MemberId, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract MembersTest is Fixture {
    address private constant NEWCOMER = address(0x5EED);
    address private constant SUCCESSOR = address(0xA67);

    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
        vm.deal(NEWCOMER, 10 ether);
        vm.deal(SUCCESSOR, 100 ether);
    }

    function governed() private {
        vm.prank(address(governance));
    }

    function admitNewcomer() private {
        governed();
        members.admit(NEWCOMER, "clinic");
    }

    function status(address organization, IMembers.Status wanted) private view {
        vm.assertEq(uint8(members.statusOf(organization)), uint8(wanted));
    }

    /// @dev An external call: with dynamic_test_linking forge ends a test at the first creation that reverts as expected.
    function deployed(address aggregator_, IMembers.Terms memory terms) external returns (Members) {
        return new Members(address(1), address(2), address(3), IRewards(address(4)), aggregator_, terms);
    }

    // Admission

    function test_only_the_founder_can_admit_before_the_first_organization_joins() public {
        Members young = this.deployed(aggregator, IMembers.Terms(BOND, 0, 0, 0, 0, 2));
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotGovernance.selector, NEWCOMER));
        young.admit(NEWCOMER, "clinic");
        young.admit(NEWCOMER, "clinic");
        vm.assertEq(uint8(young.statusOf(NEWCOMER)), uint8(IMembers.Status.Admitted));
    }

    function test_the_founder_has_no_power_once_an_organization_joined() public {
        bytes memory refusal = abi.encodeWithSelector(IMembers.NotGovernance.selector, address(this));
        vm.expectRevert(refusal);
        members.admit(NEWCOMER, "clinic");
        vm.expectRevert(refusal);
        members.revokeAdmission(NEWCOMER);
        vm.expectRevert(refusal);
        members.nameAuditor(NEWCOMER);
        vm.expectRevert(refusal);
        members.dismissAuditor(vm.addr(auditorKeys[0]));
        vm.expectRevert(refusal);
        members.setAggregator(SUCCESSOR);
    }

    function test_an_admission_names_an_organization_that_is_new() public {
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        members.admit(address(0), "clinic");
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        members.admit(NEWCOMER, "");
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.IsAggregator.selector, aggregator));
        members.admit(aggregator, "aggregator");
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.AlreadyAdmitted.selector, orgs[0]));
        members.admit(orgs[0], "again");
    }

    function test_an_admission_can_be_revoked_before_the_organization_joins() public {
        admitNewcomer();
        governed();
        members.revokeAdmission(NEWCOMER);
        status(NEWCOMER, IMembers.Status.None);
        vm.assertEq(bytes(members.nameOf(NEWCOMER)).length, 0);
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, NEWCOMER, IMembers.Status.None));
        members.join{value: BOND}(SALT, PROOF);
        admitNewcomer();
        status(NEWCOMER, IMembers.Status.Admitted);
    }

    function test_a_member_cannot_be_unadmitted() public {
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Active));
        members.revokeAdmission(orgs[0]);
    }

    // Joining

    function test_joining_takes_the_exact_bond_a_fingerprint_and_its_proof() public {
        admitNewcomer();
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, BOND - 1, BOND));
        members.join{value: BOND - 1}(SALT, PROOF);
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, BOND + 1, BOND));
        members.join{value: BOND + 1}(SALT, PROOF);
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        members.join{value: BOND}(0, PROOF);
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        members.join{value: BOND}(SALT, "");
        vm.prank(NEWCOMER);
        members.join{value: BOND}(SALT, PROOF);
        vm.assertEq(uint256(MemberId.unwrap(members.member(NEWCOMER).number)), 3);
        vm.assertEq(members.organizationAt(MemberId.wrap(3)), NEWCOMER);
        vm.assertEq(members.fingerprintOf(NEWCOMER), SALT);
        vm.assertEq(members.activeCount(), 4);
        vm.assertTrue(members.mayContribute(NEWCOMER));
    }

    function test_an_organization_that_became_the_aggregator_cannot_join() public {
        admitNewcomer();
        governed();
        members.setAggregator(NEWCOMER);
        vm.prank(NEWCOMER);
        vm.expectRevert(abi.encodeWithSelector(IMembers.IsAggregator.selector, NEWCOMER));
        members.join{value: BOND}(SALT, PROOF);
    }

    function test_no_more_organizations_join_than_were_agreed() public {
        Members young = this.deployed(aggregator, IMembers.Terms(0, 0, 0, 0, 0, 1));
        young.admit(NEWCOMER, "clinic");
        young.admit(SUCCESSOR, "late");
        vm.prank(NEWCOMER);
        young.join(SALT, PROOF);
        vm.prank(SUCCESSOR);
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooManyMembers.selector, 1));
        young.join(SALT, PROOF);
    }

    function test_terms_must_make_sense() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongTerms.selector));
        this.deployed(aggregator, IMembers.Terms(0, 0, 0, 0, 0, 0));
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongTerms.selector));
        this.deployed(aggregator, IMembers.Terms(0, 0, 0, 0, 0, 1_025));
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongTerms.selector));
        this.deployed(aggregator, IMembers.Terms(0, 0, 0, 0, 10_001, 1));
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        this.deployed(address(0), IMembers.Terms(0, 0, 0, 0, 0, 1));
    }

    function test_members_are_listed_in_pages() public view {
        vm.assertEq(members.organizations(0, 2).length, 2);
        vm.assertEq(members.organizations(2, 5)[0], orgs[2]);
        vm.assertEq(members.organizations(2, 5).length, 1);
        vm.assertEq(members.organizations(9, 5).length, 0);
        vm.assertEq(members.memberCount(), 3);
        vm.assertEq(members.activeMembers()[0], 7);
        vm.assertEq(members.eligibleMembers()[0], 7);
    }

    // Bonds

    function suspended(address organization) private returns (RoundId round) {
        round = open();
        commitAs(round, organization);
        pass(PHASE + 1);
        rounds.closeCommits(round);
        pass(PHASE + 1);
        rounds.closeReveals(round);
    }

    function test_a_member_that_does_not_reveal_pays_once_and_returns_by_topping_up() public {
        suspended(orgs[0]);
        vm.assertFalse(members.mayContribute(orgs[0]));
        vm.expectRevert(abi.encodeWithSelector(IMembers.MayNotContribute.selector, orgs[0]));
        members.contributor(orgs[0]);
        members.penalize(orgs[0]);
        vm.assertEq(uint256(members.member(orgs[0]).bond), BOND - PENALTY);
        vm.assertEq(rewards.pool(), POOL + PENALTY);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NoPenaltyDue.selector, orgs[0]));
        members.penalize(orgs[0]);
        vm.assertFalse(members.mayContribute(orgs[0]));
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, PENALTY + 1, PENALTY));
        members.topUp{value: PENALTY + 1}();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, 0, PENALTY));
        members.topUp();
        vm.prank(orgs[0]);
        members.topUp{value: PENALTY - 1}();
        vm.assertFalse(members.mayContribute(orgs[0]));
        vm.prank(orgs[0]);
        members.topUp{value: 1}();
        vm.assertTrue(members.mayContribute(orgs[0]));
    }

    function test_topping_up_pays_a_penalty_that_is_due() public {
        suspended(orgs[0]);
        vm.prank(orgs[0]);
        members.topUp{value: PENALTY}();
        vm.assertEq(uint256(members.member(orgs[0]).bond), BOND);
        vm.assertEq(rewards.pool(), POOL + PENALTY);
        vm.assertTrue(members.mayContribute(orgs[0]));
    }

    function test_leaving_does_not_dodge_a_penalty_that_is_due() public {
        suspended(orgs[0]);
        vm.prank(orgs[0]);
        members.resign();
        pass(EXIT);
        uint256 before = orgs[0].balance;
        vm.prank(orgs[0]);
        members.reclaimBond();
        vm.assertEq(orgs[0].balance - before, BOND - PENALTY);
        vm.assertEq(rewards.pool(), POOL + PENALTY);
    }

    function test_no_penalty_is_due_of_strangers() public {
        suspended(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NoPenaltyDue.selector, anyone));
        members.penalize(anyone);
        admitNewcomer();
        vm.expectRevert(abi.encodeWithSelector(IMembers.NoPenaltyDue.selector, NEWCOMER));
        members.penalize(NEWCOMER);
    }

    function test_only_active_members_top_up_and_resign() public {
        bytes memory refusal = abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None);
        vm.deal(anyone, 1 ether);
        vm.prank(anyone);
        vm.expectRevert(refusal);
        members.topUp{value: 1}();
        vm.prank(anyone);
        vm.expectRevert(refusal);
        members.resign();
    }

    function test_a_bond_comes_back_once_after_the_exit_delay() public {
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Active));
        members.reclaimBond();
        vm.prank(orgs[0]);
        members.resign();
        uint40 exitAt = members.member(orgs[0]).exitAt;
        pass(EXIT - 1);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooEarly.selector, exitAt));
        members.reclaimBond();
        pass(1);
        vm.prank(orgs[0]);
        members.reclaimBond();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToClaim.selector, orgs[0]));
        members.reclaimBond();
    }

    function test_a_member_that_is_out_never_comes_back() public {
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.request(IWithdrawals.Method.Removal);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Withdrawing));
        members.reclaimBond();
        withdrawals.close(id);
        status(orgs[0], IMembers.Status.Withdrawn);
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.AlreadyAdmitted.selector, orgs[0]));
        members.admit(orgs[0], "again");
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Withdrawn));
        members.join{value: BOND}(SALT, PROOF);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Withdrawn));
        members.topUp();
        vm.assertFalse(members.mayContribute(orgs[0]));
        pass(EXIT);
        vm.prank(orgs[0]);
        members.reclaimBond();
    }

    // The aggregator

    function test_an_aggregator_is_no_member() public {
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.IsMember.selector, orgs[0]));
        members.setAggregator(orgs[0]);
        vm.prank(orgs[0]);
        members.resign();
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.IsMember.selector, orgs[0]));
        members.setAggregator(orgs[0]);
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        members.setAggregator(address(0));
    }

    function test_an_aggregator_resigns_and_takes_its_bond_after_the_exit_delay() public {
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToClaim.selector, aggregator));
        members.reclaimAggregatorBond();
        vm.prank(aggregator);
        members.resignAggregator();
        vm.assertEq(members.aggregator(), address(0));
        vm.assertFalse(members.aggregatorReady());
        uint40 exitAt = members.aggregatorExitAt(aggregator);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.TooEarly.selector, exitAt));
        members.reclaimAggregatorBond();
        pass(EXIT);
        uint256 before = aggregator.balance;
        vm.prank(aggregator);
        members.reclaimAggregatorBond();
        vm.assertEq(aggregator.balance - before, AGGREGATOR_BOND);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToClaim.selector, aggregator));
        members.reclaimAggregatorBond();
    }

    function test_only_the_aggregator_resigns_and_posts() public {
        vm.deal(anyone, 1 ether);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotAllowed.selector, anyone));
        members.resignAggregator();
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotAllowed.selector, anyone));
        members.postAggregatorBond{value: 1}();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongBond.selector, 0, AGGREGATOR_BOND));
        members.postAggregatorBond();
    }

    function test_a_voted_in_successor_posts_its_own_bond() public {
        governed();
        members.setAggregator(SUCCESSOR);
        vm.assertFalse(members.aggregatorReady());
        vm.prank(SUCCESSOR);
        members.postAggregatorBond{value: AGGREGATOR_BOND - 1}();
        vm.assertFalse(members.aggregatorReady());
        vm.prank(SUCCESSOR);
        members.postAggregatorBond{value: 1}();
        vm.assertTrue(members.aggregatorReady());
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
        pass(EXIT);
        vm.prank(aggregator);
        members.reclaimAggregatorBond();
    }

    // Certificates and auditors

    function test_members_and_the_aggregator_register_certificates() public {
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotAllowed.selector, anyone));
        members.setFingerprint(SALT, PROOF);
        vm.prank(aggregator);
        members.setFingerprint(SALT, PROOF);
        vm.assertEq(members.fingerprintOf(aggregator), SALT);
        vm.prank(orgs[0]);
        members.setFingerprint(SALT, PROOF);
        vm.assertEq(members.fingerprintOf(orgs[0]), SALT);
    }

    function test_auditors_are_named_and_dismissed() public {
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.EmptyValue.selector));
        members.nameAuditor(address(0));
        governed();
        members.nameAuditor(NEWCOMER);
        vm.assertTrue(members.isAuditor(NEWCOMER));
        vm.assertEq(members.auditors().length, 4);
        governed();
        members.dismissAuditor(NEWCOMER);
        vm.assertFalse(members.isAuditor(NEWCOMER));
        governed();
        vm.expectRevert(abi.encodeWithSelector(IMembers.UnknownAuditor.selector, NEWCOMER));
        members.dismissAuditor(NEWCOMER);
    }

    // Calls of other contracts

    function test_only_the_other_contracts_change_what_is_theirs() public {
        bytes memory refusal = abi.encodeWithSelector(IMembers.NotAllowed.selector, address(this));
        uint256[4] memory set;
        vm.expectRevert(refusal);
        members.startWithdrawal(orgs[0], WithdrawalId.wrap(1), true);
        vm.expectRevert(refusal);
        members.markWithdrawing(orgs[0]);
        vm.expectRevert(refusal);
        members.endWithdrawal(orgs[0]);
        vm.expectRevert(refusal);
        members.suspend(set);
        vm.expectRevert(refusal);
        members.penalizeAggregator(aggregator);
    }

    function test_the_time_since_the_consortium_is_empty_is_known() public {
        for (uint256 i = 0; i < 3; ++i) {
            vm.assertEq(uint256(members.emptySince()), 0);
            vm.prank(orgs[i]);
            members.resign();
        }
        vm.assertEq(uint256(members.emptySince()), clock());
    }

    function test_an_admitted_organization_can_revive_an_empty_consortium() public {
        admitNewcomer();
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
        vm.prank(NEWCOMER);
        members.join{value: BOND}(SALT, PROOF);
        vm.assertEq(uint256(members.emptySince()), 0);
    }
}
