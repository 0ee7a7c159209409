// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, RoundId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Quorum} from "../src/libraries/Quorum.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {RoundFixture} from "./RoundFixture.sol";

contract JudgementsTest is RoundFixture {
    // Judgement

    function test_only_the_aggregator_judges_and_in_time() public {
        RoundId round = revealed(orgs);
        uint256[4] memory set = rounds.answersOf(round).revealed;
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotAggregator.selector, address(this)));
        rounds.judge(round, set, scores(3), "");
        uint40 deadline = rounds.roundOf(round).deadline;
        pass(PHASE + 1);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlinePassed.selector, round, deadline));
        rounds.judge(round, set, scores(3), "");
    }

    function test_a_judgement_accounts_for_every_reveal() public {
        RoundId round = committed(2);
        revealAs(round, orgs[0]);
        revealAs(round, orgs[1]);
        rounds.closeReveals(round);
        uint256[4] memory set;
        set[0] = 5;
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotRevealed.selector, round));
        rounds.judge(round, set, scores(2), "");
        set[0] = 1;
        vm.expectRevert(abi.encodeWithSelector(IRounds.UnaccountedFor.selector, round, 4, 2));
        rounds.judge(round, set, scores(2), hex"01");
        vm.expectRevert(abi.encodeWithSelector(IRounds.UnaccountedFor.selector, round, 0, 1));
        rounds.judge(round, set, scores(1), "");
        vm.expectRevert(abi.encodeWithSelector(IRounds.ScoreTooHigh.selector, 10_001));
        rounds.judge(round, set, abi.encodePacked(uint16(10_001)), hex"01");
        rounds.judge(round, set, abi.encodePacked(uint16(10_000)), hex"01");
        vm.stopPrank();
        state(round, IRounds.State.Judged);
        vm.assertTrue(rounds.isAccepted(round, MemberId.wrap(0)));
        vm.assertFalse(rounds.isAccepted(round, MemberId.wrap(1)));
    }

    function test_a_round_that_accepts_no_one_is_abandoned() public {
        RoundId round = revealed(some(0));
        uint256[4] memory none;
        vm.prank(aggregator);
        rounds.judge(round, none, "", hex"01");
        state(round, IRounds.State.Abandoned);
    }

    function test_a_round_that_is_not_judged_in_time_is_abandoned() public {
        RoundId round = revealed(orgs);
        uint40 deadline = rounds.roundOf(round).deadline;
        vm.expectRevert(abi.encodeWithSelector(IRounds.DeadlineAhead.selector, round, deadline));
        rounds.abandon(round);
        pass(PHASE + 1);
        rounds.abandon(round);
        state(round, IRounds.State.Abandoned);
        wrongState(round, IRounds.State.Abandoned);
        rounds.abandon(round);
    }

    function test_only_a_late_judgement_or_a_stale_parent_ends_a_round() public {
        wrongState(RoundId.wrap(1), IRounds.State.None);
        rounds.abandon(RoundId.wrap(1));
        RoundId round = open();
        pass(10 * PHASE);
        wrongState(round, IRounds.State.Open);
        rounds.abandon(round);
        commitLate();
    }

    function test_a_round_that_is_over_is_not_abandoned_though_its_parent_is_the_head_no_more() public {
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Share, 3);
        RoundId round = playRound();
        wrongState(round, IRounds.State.Final);
        rounds.abandon(round);
        RoundId second = open();
        pass(PHASE + 1);
        rounds.closeCommits(second);
        vm.prank(orgs[0]);
        withdrawals.request(IWithdrawals.Method.Removal);
        wrongState(second, IRounds.State.Abandoned);
        rounds.abandon(second);
        wrongState(RoundId.wrap(3), IRounds.State.None);
        rounds.abandon(RoundId.wrap(3));
    }

    function commitLate() private {
        rounds.closeCommits(rounds.currentRound());
        RoundId round = revealed(orgs);
        judge(round);
        pass(10 * PHASE);
        wrongState(round, IRounds.State.Judged);
        rounds.abandon(round);
    }

    function test_phases_come_in_order() public {
        RoundId round = open();
        (bytes32[] memory ids, bytes memory points) = contributionOf(round, orgs[0]);
        uint256[4] memory set;
        wrongState(round, IRounds.State.Open);
        rounds.reveal(round, ids, points, MANIFEST, SALT);
        wrongState(round, IRounds.State.Open);
        rounds.closeReveals(round);
        vm.prank(aggregator);
        wrongState(round, IRounds.State.Open);
        rounds.judge(round, set, "", "");
        commitAs(round, orgs[0]);
        pass(PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[1]);
        wrongState(round, IRounds.State.Committed);
        rounds.sitOut(round);
    }

    function test_only_the_models_contract_makes_a_round_final() public {
        RoundId round = revealed(orgs);
        judge(round);
        uint256[4] memory set;
        vm.expectRevert(abi.encodeWithSelector(IRounds.NotModels.selector, address(this)));
        rounds.finish(round, ModelId.wrap(1), set);
        vm.prank(address(models));
        rounds.finish(round, ModelId.wrap(1), set);
        vm.prank(address(models));
        wrongState(round, IRounds.State.Final);
        rounds.finish(round, ModelId.wrap(1), set);
    }

    // Scores

    function test_scores_are_of_accepted_members_of_final_rounds() public {
        RoundId round = revealed(orgs);
        (uint256 score, uint256 total) = rounds.scoreOf(round, orgs[0]);
        vm.assertEq(score + total, 0);
        uint256[4] memory set;
        set[0] = 6;
        vm.prank(aggregator);
        rounds.judge(round, set, abi.encodePacked(uint16(1_000), uint16(3_000)), hex"05");
        (score, total) = rounds.scoreOf(round, orgs[1]);
        vm.assertEq(score + total, 0);
        sumUp(OfferId.wrap(0), round, 9);
        foldAll(models.head());
        (score, total) = rounds.scoreOf(round, orgs[2]);
        vm.assertEq(score, 3_000);
        vm.assertEq(total, 4_000);
        (score, total) = rounds.scoreOf(round, orgs[0]);
        vm.assertEq(score + total, 0);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        rounds.scoreOf(round, anyone);
    }

    // Attestation

    function deployAttested() private {
        attested = true;
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Share, 2);
    }

    function test_an_attestation_is_of_the_contributions_that_its_signers_saw() public {
        deployAttested();
        uint256 before = vm.snapshotState();
        RoundId round = playRound();
        bytes[] memory signatures = signed(round, EVIDENCE, 2);
        vm.expectPartialRevert(Quorum.NotAuditor.selector);
        rounds.attest(round, keccak256("other evidence"), signatures);
        // On a fork the same round has other contributions.
        vm.revertToState(before);
        orgs.pop();
        vm.assertTrue(playRound(orgs) == round);
        vm.expectPartialRevert(Quorum.NotAuditor.selector);
        rounds.attest(round, EVIDENCE, signatures);
    }

    function test_a_quorum_of_auditors_attests_final_rounds_in_order() public {
        deployAttested();
        RoundId first = playRound();
        RoundId gap = open();
        pass(PHASE + 1);
        rounds.closeCommits(gap);
        RoundId second = playRound();
        vm.assertFalse(rounds.isPayable(first));
        vm.assertFalse(rounds.isAttested(first));
        vm.expectRevert(abi.encodeWithSelector(IRounds.EarlierRoundFirst.selector, first));
        rounds.attest(second, EVIDENCE, new bytes[](0));
        vm.expectRevert(abi.encodeWithSelector(Quorum.QuorumMissing.selector, 1, 2));
        rounds.attest(first, EVIDENCE, new bytes[](1));
        bytes[] memory signatures = signed(first, EVIDENCE, 2);
        (signatures[0], signatures[1]) = (signatures[1], signatures[0]);
        vm.expectRevert(abi.encodeWithSelector(Quorum.SignersNotAscending.selector, vm.addr(auditorKeys[0])));
        rounds.attest(first, EVIDENCE, signatures);
        signatures[0] = signatures[1];
        vm.expectRevert(abi.encodeWithSelector(Quorum.SignersNotAscending.selector, vm.addr(auditorKeys[0])));
        rounds.attest(first, EVIDENCE, signatures);
        vm.prank(address(governance));
        members.dismissAuditor(vm.addr(auditorKeys[1]));
        signatures = signed(first, EVIDENCE, 2);
        vm.expectRevert(abi.encodeWithSelector(Quorum.NotAuditor.selector, vm.addr(auditorKeys[1])));
        rounds.attest(first, EVIDENCE, signatures);
        vm.prank(address(governance));
        members.nameAuditor(vm.addr(auditorKeys[1]));
        rounds.attest(first, EVIDENCE, signatures);
        vm.expectRevert(abi.encodeWithSelector(IRounds.AttestedBefore.selector, first));
        rounds.attest(first, EVIDENCE, signatures);
        vm.assertTrue(rounds.isPayable(first));
        vm.assertTrue(rounds.isAttested(first));
        vm.assertFalse(rounds.isAttested(second));
        wrongState(gap, IRounds.State.Abandoned);
        rounds.attest(gap, EVIDENCE, signatures);
        rounds.attest(second, EVIDENCE, signed(second, EVIDENCE, 2));
        vm.assertTrue(rounds.isAttested(second));
    }
}
