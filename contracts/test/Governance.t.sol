// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governance} from "../src/Governance.sol";
import {Members} from "../src/Members.sol";
import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract GovernanceTest is Fixture {
    address private constant NEWCOMER = address(0x5EED);

    function setUp() public {
        deployAll(Weights.Rule.Block, 4);
    }

    function proposed() private returns (uint256 id) {
        bytes memory data = abi.encodeCall(IMembers.admit, (NEWCOMER, "clinic"));
        vm.prank(orgs[0]);
        id = governance.propose(address(members), data);
    }

    function voteAs(uint256 i, uint256 id) private {
        vm.prank(orgs[i]);
        governance.vote(id);
    }

    function test_a_majority_of_active_members_decides() public {
        uint256 id = proposed();
        voteAs(1, id);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotEnoughVotes.selector, id, 2, 4));
        governance.execute(id);
        voteAs(2, id);
        governance.execute(id);
        vm.assertEq(uint8(members.statusOf(NEWCOMER)), uint8(IMembers.Status.Admitted));
        vm.assertTrue(governance.proposal(id).executed);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.AlreadyExecuted.selector, id));
        governance.execute(id);
        vm.prank(orgs[3]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.AlreadyExecuted.selector, id));
        governance.vote(id);
    }

    function test_only_active_members_propose_and_vote() public {
        uint256 id = proposed();
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotActive.selector, anyone));
        governance.vote(id);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotActive.selector, anyone));
        governance.propose(address(members), "");
    }

    function test_a_member_votes_once() public {
        uint256 id = proposed();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.AlreadyVoted.selector, id, orgs[0]));
        governance.vote(id);
        vm.assertTrue(governance.hasVoted(id, orgs[0]));
        vm.assertFalse(governance.hasVoted(id, orgs[1]));
        vm.assertFalse(governance.hasVoted(id, anyone));
    }

    function test_the_vote_of_a_member_that_left_does_not_count() public {
        uint256 id = proposed();
        voteAs(1, id);
        voteAs(2, id);
        vm.prank(orgs[0]);
        members.resign();
        vm.assertEq(governance.votesFor(id), 2);
        governance.execute(id);
    }

    function test_a_proposal_expires() public {
        uint256 id = proposed();
        uint40 deadline = governance.proposal(id).deadline;
        pass(1 days + 1);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.Expired.selector, id, deadline));
        governance.vote(id);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.Expired.selector, id, deadline));
        governance.execute(id);
    }

    function test_only_two_contracts_are_governed_and_only_known_proposals_count() public {
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.TargetNotGoverned.selector, address(rounds)));
        governance.propose(address(rounds), "");
        vm.expectRevert(abi.encodeWithSelector(IGovernance.UnknownProposal.selector, 7));
        governance.execute(7);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.UnknownProposal.selector, 7));
        governance.vote(7);
    }

    function test_a_refusal_of_the_governed_contract_is_passed_on() public {
        vm.prank(orgs[0]);
        uint256 id = governance.propose(address(members), abi.encodeCall(IMembers.admit, (orgs[1], "again")));
        voteAs(1, id);
        voteAs(2, id);
        vm.expectRevert(abi.encodeWithSelector(IMembers.AlreadyAdmitted.selector, orgs[1]));
        governance.execute(id);
        vm.assertFalse(governance.proposal(id).executed);
    }

    function test_an_expulsion_is_a_vote() public {
        vm.prank(orgs[0]);
        uint256 id = governance.propose(address(withdrawals), abi.encodeCall(IWithdrawals.expel, (orgs[3])));
        voteAs(1, id);
        voteAs(2, id);
        governance.execute(id);
        vm.assertEq(uint8(members.statusOf(orgs[3])), uint8(IMembers.Status.Withdrawing));
    }

    function test_a_threshold_of_everything_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(IGovernance.WrongThreshold.selector, 10_000));
        this.deployed(10_000);
        vm.assertEq(this.deployed(9_999).threshold(), 9_999);
    }

    /// @dev An external call: with dynamic_test_linking forge ends a test at the first creation that reverts as expected.
    function deployed(uint16 threshold) external returns (Governance) {
        return new Governance(members, address(withdrawals), threshold, 1 days);
    }
}
