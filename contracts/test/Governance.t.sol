// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governance} from "../src/Governance.sol";
import {IGovernance} from "../src/interfaces/IGovernance.sol";
import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Fixture} from "./Fixture.sol";

contract GovernanceTest is Fixture {
    function setUp() public {
        deployAll(false, 0, 4);
    }

    function test_moreThanHalfOfTheMembersAdmitAnother() public {
        address newcomer = address(0x2001);
        uint256 id = _propose(_admission(newcomer));
        _vote(orgs[1], id);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotEnoughVotes.selector, id, 2, 4));
        governance.execute(id);
        _vote(orgs[2], id);
        vm.prank(anyone);
        governance.execute(id);
        vm.assertEq(uint8(members.statusOf(newcomer)), uint8(IMembers.Status.Admitted));
        vm.assertTrue(governance.proposal(id).executed);
    }

    function test_theFounderHasNoPowerOnceAnOrganizationJoined() public {
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotGovernance.selector, address(this)));
        members.admit(address(0x2001), "new", SALT);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotGovernance.selector, address(this)));
        members.nameAuditor(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotGovernance.selector, address(this)));
        members.dismissAuditor(vm.addr(11));
        vm.expectRevert(abi.encodeWithSelector(IMembers.NotGovernance.selector, address(this)));
        members.setAggregator(anyone, SALT);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotGovernance.selector, address(this)));
        withdrawals.expel(orgs[0]);
    }

    function test_onlyActiveMembersProposeAndVote() public {
        bytes memory call_ = _admission(anyone);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotActive.selector, anyone));
        governance.propose(address(members), call_);
        uint256 id = _propose(call_);
        vm.prank(orgs[1]);
        members.resign();
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotActive.selector, orgs[1]));
        governance.vote(id);
    }

    function test_nobodyVotesTwice() public {
        uint256 id = _propose(_admission(anyone));
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.AlreadyVoted.selector, id, orgs[0]));
        governance.vote(id);
    }

    function test_votesOfThoseWhoLeftDoNotCount() public {
        uint256 id = _propose(_admission(anyone));
        _vote(orgs[1], id);
        _vote(orgs[2], id);
        vm.prank(orgs[1]);
        members.resign();
        vm.prank(orgs[2]);
        members.resign();
        vm.assertEq(governance.votesFor(id), 1);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotEnoughVotes.selector, id, 1, 2));
        governance.execute(id);
    }

    function test_anExpiredProposalIsDead() public {
        uint256 id = _propose(_admission(anyone));
        _vote(orgs[1], id);
        _vote(orgs[2], id);
        uint64 deadline = governance.proposal(id).deadline;
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.Expired.selector, id, deadline));
        governance.execute(id);
        vm.prank(orgs[3]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.Expired.selector, id, deadline));
        governance.vote(id);
    }

    function test_aProposalIsExecutedOnce() public {
        uint256 id = _propose(_admission(anyone));
        _vote(orgs[1], id);
        _vote(orgs[2], id);
        governance.execute(id);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.AlreadyExecuted.selector, id));
        governance.execute(id);
    }

    function test_anUnknownProposalIsRefused() public {
        vm.expectRevert(abi.encodeWithSelector(IGovernance.UnknownProposal.selector, 1));
        governance.execute(1);
    }

    function test_onlyMembersAndWithdrawalsAreGoverned() public {
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IGovernance.TargetNotGoverned.selector, address(rewards)));
        governance.propose(address(rewards), "");
    }

    function test_aThresholdOfAllCanNeverBeExceeded() public {
        vm.expectRevert(abi.encodeWithSelector(IGovernance.WrongThreshold.selector, 10_000));
        new Governance(members, address(withdrawals), 10_000, 1);
    }

    function test_aRefusedCallIsNotSpent() public {
        uint256 id = _propose(abi.encodeCall(members.dismissAuditor, (anyone)));
        _vote(orgs[1], id);
        _vote(orgs[2], id);
        vm.expectRevert(abi.encodeWithSelector(IMembers.UnknownAuditor.selector, anyone));
        governance.execute(id);
        vm.assertFalse(governance.proposal(id).executed);
    }

    function test_membersReplaceTheAggregator() public {
        _pass(address(members), abi.encodeCall(members.setAggregator, (anyone, SALT)));
        vm.assertEq(members.aggregator(), anyone);
        vm.assertEq(members.aggregatorExitAt(aggregator), clock() + EXIT);
    }

    function test_membersExpelAnother() public {
        runRound();
        _pass(address(withdrawals), abi.encodeCall(withdrawals.expel, (orgs[3])));
        vm.assertEq(uint8(members.statusOf(orgs[3])), uint8(IMembers.Status.Withdrawing));
        vm.assertTrue(withdrawals.withdrawal(1).expelled);
        carryOut(1, 1);
        withdrawals.close(1);
        vm.assertTrue(lineage.isClean(lineage.head(), orgs[3]));
        vm.assertEq(uint8(members.statusOf(orgs[3])), uint8(IMembers.Status.Withdrawn));
    }

    function test_aRemovalsDeadlineCannotBePutOffByVote() public {
        runRound();
        requestAs(orgs[0], ILineage.Kind.Removal);
        bytes memory call_ = abi.encodeCall(withdrawals.fallBack, (1));
        vm.prank(orgs[1]);
        uint256 id = governance.propose(address(withdrawals), call_);
        _vote(orgs[2], id);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, ILineage.Kind.Removal));
        governance.execute(id);
    }

    function test_noVotePassesWhenNobodyIsActive() public {
        uint256 id = _propose(_admission(anyone));
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
        vm.expectRevert(abi.encodeWithSelector(IGovernance.NotEnoughVotes.selector, id, 0, 0));
        governance.execute(id);
    }

    function _admission(address newcomer) private view returns (bytes memory) {
        return abi.encodeCall(members.admit, (newcomer, "new", SALT));
    }

    function _propose(bytes memory data) private returns (uint256) {
        vm.prank(orgs[0]);
        return governance.propose(address(members), data);
    }

    function _vote(address organization, uint256 id) private {
        vm.prank(organization);
        governance.vote(id);
    }

    function _pass(address to, bytes memory data) private {
        vm.prank(orgs[0]);
        uint256 id = governance.propose(to, data);
        _vote(orgs[1], id);
        _vote(orgs[2], id);
        governance.execute(id);
    }
}
