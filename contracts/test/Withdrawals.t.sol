// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Curve} from "../src/libraries/Curve.sol";
import {Quorum} from "../src/libraries/Quorum.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract WithdrawalsTest is Fixture {
    IWithdrawals.Method private constant REMOVAL = IWithdrawals.Method.Removal;
    IWithdrawals.Method private constant REPLACEMENT = IWithdrawals.Method.Replacement;
    IWithdrawals.Method private constant AGAIN = IWithdrawals.Method.Replay;
    IWithdrawals.Method private constant COUNTER = IWithdrawals.Method.CounterTraining;

    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
        playRound();
    }

    function chain() private {
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Share, 3);
        playRound();
    }

    function requestAs(uint256 i, IWithdrawals.Method method) private returns (WithdrawalId) {
        vm.prank(orgs[i]);
        return withdrawals.request(method);
    }

    function subjectAs(uint256 i, IWithdrawals.Method method) private returns (WithdrawalId) {
        vm.prank(orgs[i]);
        return withdrawals.requestForSubject(SALT, method);
    }

    function offerAs(uint256 i, WithdrawalId id, uint64 round) private returns (bytes memory points) {
        bytes32[] memory ids;
        (ids, points) = fresh();
        vm.prank(orgs[i]);
        withdrawals.offer(id, RoundId.wrap(round), ids, points, MANIFEST);
    }

    function readyAs(uint256 i, WithdrawalId id) private {
        vm.prank(orgs[i]);
        withdrawals.ready(id);
    }

    function state(WithdrawalId id, IWithdrawals.State wanted) private view {
        vm.assertEq(uint8(withdrawals.withdrawalOf(id).state), uint8(wanted));
    }

    function status(uint256 i, IMembers.Status wanted) private view {
        vm.assertEq(uint8(members.statusOf(orgs[i])), uint8(wanted));
    }

    // Requests

    function test_a_removal_takes_effect_with_the_request() public {
        WithdrawalId id = requestAs(0, REMOVAL);
        state(id, IWithdrawals.State.Effective);
        status(0, IMembers.Status.Withdrawing);
        vm.assertEq(uint256(models.excludedBy(MemberId.wrap(0))), 1);
        vm.assertEq(models.excludedMembers()[0], 1);
        vm.assertTrue(models.isStale(models.head()));
        vm.assertFalse(members.mayContribute(orgs[0]));
        vm.assertEq(WithdrawalId.unwrap(withdrawals.openOf(orgs[0])), WithdrawalId.unwrap(id));
        refold();
        withdrawals.close(id);
        state(id, IWithdrawals.State.Closed);
        status(0, IMembers.Status.Withdrawn);
        vm.assertEq(WithdrawalId.unwrap(withdrawals.openOf(orgs[0])), 0);
        vm.assertEq(ModelId.unwrap(withdrawals.withdrawalOf(id).closedModel), 2);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Closed));
        withdrawals.close(id);
    }

    function test_a_removal_is_requested_once() public {
        WithdrawalId id = requestAs(0, REMOVAL);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.AlreadyOpen.selector, id));
        withdrawals.request(REMOVAL);
        refold();
        withdrawals.close(id);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongStatus.selector, orgs[0]));
        withdrawals.request(REMOVAL);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongStatus.selector, orgs[0]));
        withdrawals.request(COUNTER);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Withdrawn));
        withdrawals.requestForSubject(SALT, REPLACEMENT);
    }

    function test_strangers_request_nothing() public {
        bytes memory refusal = abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None);
        vm.startPrank(anyone);
        vm.expectRevert(refusal);
        withdrawals.request(REMOVAL);
        vm.expectRevert(refusal);
        withdrawals.requestForSubject(SALT, REPLACEMENT);
        vm.stopPrank();
        vm.prank(address(governance));
        vm.expectRevert(refusal);
        withdrawals.expel(anyone);
    }

    function test_methods_fit_what_is_withdrawn() public {
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REPLACEMENT));
        withdrawals.request(REPLACEMENT);
        // In blocks no one learned from the others: a removal leaves nothing to train again.
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, AGAIN));
        withdrawals.request(AGAIN);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REMOVAL));
        withdrawals.requestForSubject(SALT, REMOVAL);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.EmptyValue.selector));
        withdrawals.requestForSubject(0, REPLACEMENT);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NothingToPay.selector, 5));
        withdrawals.request{value: 5}(REMOVAL);
        vm.stopPrank();
    }

    function test_a_replay_needs_a_contribution() public {
        chain();
        address late = address(0x5EED);
        vm.prank(address(governance));
        members.admit(late, "late");
        vm.deal(late, 9 ether);
        vm.startPrank(late);
        members.join{value: BOND}(SALT, PROOF);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, AGAIN));
        withdrawals.request{value: PRICE}(AGAIN);
        vm.stopPrank();
    }

    /// @dev A member that contributed nothing yet.
    function newcomer() private returns (uint256) {
        orgs.push(address(0x5EED));
        vm.prank(address(governance));
        members.admit(address(0x5EED), "late");
        vm.deal(address(0x5EED), 9 ether);
        vm.prank(address(0x5EED));
        members.join{value: BOND}(SALT, PROOF);
        return orgs.length - 1;
    }

    function test_a_counter_delta_needs_a_contribution_that_is_still_in() public {
        uint256 last = newcomer();
        WithdrawalId id = subjectAs(last, COUNTER);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[last]);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotContributed.selector, 0, last));
        withdrawals.offer(id, RoundId.wrap(0), ids, points, MANIFEST);
    }

    function test_a_member_that_never_contributed_can_leave_at_once() public {
        playRound(some(0));
        WithdrawalId id = requestAs(newcomer(), REMOVAL);
        vm.assertFalse(models.isStale(models.head()));
        withdrawals.close(id);
    }

    function test_only_governance_expels() public {
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotGovernance.selector, address(this)));
        withdrawals.expel(orgs[0]);
    }

    function test_an_expulsion_turns_an_open_withdrawal_into_a_removal() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        vm.prank(address(governance));
        vm.assertEq(WithdrawalId.unwrap(withdrawals.expel(orgs[0])), WithdrawalId.unwrap(id));
        vm.assertTrue(withdrawals.withdrawalOf(id).expelled);
        vm.assertEq(withdrawals.withdrawalOf(id).subject, 0);
        status(0, IMembers.Status.Withdrawing);
        refold();
        withdrawals.close(id);
        vm.assertFalse(holds(models.head(), orgs[0]));
    }

    function test_a_former_member_can_still_be_removed() public {
        vm.prank(orgs[0]);
        members.resign();
        WithdrawalId id = requestAs(0, REMOVAL);
        refold();
        withdrawals.close(id);
        vm.assertFalse(holds(models.head(), orgs[0]));
    }

    // Preparation

    function test_an_offer_is_of_a_round_that_the_organization_contributed_to() public {
        playRound(some(1, 2));
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotContributed.selector, 2, 0));
        withdrawals.offer(id, RoundId.wrap(2), ids, points, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotContributed.selector, 3, 0));
        withdrawals.offer(id, RoundId.wrap(3), ids, points, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REPLACEMENT));
        withdrawals.offer(id, RoundId.wrap(0), ids, points, MANIFEST);
        vm.stopPrank();
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOrganization.selector, orgs[1]));
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
    }

    function test_a_bad_offer_is_refused() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        (bytes32[] memory ids, bytes memory points) = fresh();
        RoundId one = RoundId.wrap(1);
        bytes memory outside = outsideSubgroup();
        (, bytes memory seen) = contributionOf(one, orgs[1]);
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.EmptyValue.selector));
        withdrawals.offer(id, one, new bytes32[](1), points, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongPartCount.selector, 2, 1));
        withdrawals.offer(id, one, new bytes32[](2), points, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongPartCount.selector, 1, 1));
        withdrawals.offer(id, one, ids, bytes.concat(points, points), MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(Curve.NotOnCurve.selector, outside));
        withdrawals.offer(id, one, ids, outside, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(Curve.Infinity.selector));
        withdrawals.offer(id, one, ids, new bytes(128), MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IRounds.PointSeenBefore.selector, keccak256(seen)));
        withdrawals.offer(id, one, ids, seen, MANIFEST);
        vm.stopPrank();
    }

    function test_an_offer_can_be_made_again_until_it_is_ready() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        offerAs(0, id, 1);
        bytes memory last = offerAs(0, id, 1);
        readyAs(0, id);
        refold();
        check();
        vm.assertEq(PointHash.unwrap(contentOf(1)[0].point), keccak256(last));
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Effective));
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
        withdrawals.close(id);
        status(0, IMembers.Status.Active);
    }

    function test_a_copied_offer_blocks_no_one() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        WithdrawalId copier = subjectAs(1, REPLACEMENT);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(copier, RoundId.wrap(1), ids, points, MANIFEST);
        vm.prank(orgs[0]);
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
        readyAs(0, id);
    }

    function test_only_something_offered_can_be_ready() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NothingOffered.selector, id));
        withdrawals.ready(id);
        vm.stopPrank();
        offerAs(0, id, 1);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOrganization.selector, address(this)));
        withdrawals.ready(id);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NothingToPay.selector, 1));
        withdrawals.ready{value: 1}(id);
        readyAs(0, id);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Effective));
        withdrawals.ready(id);
        WithdrawalId counters = requestAs(1, COUNTER);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NothingOffered.selector, counters));
        withdrawals.ready(counters);
    }

    function test_in_blocks_a_subjects_replay_offers_every_later_round() public {
        playRound();
        playRound(some(1, 2));
        playRound();
        WithdrawalId id = subjectAs(0, AGAIN);
        offerAs(0, id, 1);
        offerAs(0, id, 2);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.OfferMissing.selector, id, 4));
        withdrawals.ready(id);
        offerAs(0, id, 4);
        readyAs(0, id);
        state(id, IWithdrawals.State.Attesting);
        refold();
        check();
        attest(id, models.head());
        withdrawals.close(id);
    }

    // What is late

    function test_a_late_preparation_becomes_a_removal_by_anyones_call() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        uint40 deadline = withdrawals.withdrawalOf(id).deadline;
        pass(PREPARATION);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOverdue.selector, id, deadline));
        withdrawals.escalate(id);
        pass(1);
        vm.prank(anyone);
        withdrawals.escalate(id);
        state(id, IWithdrawals.State.Effective);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Effective));
        withdrawals.escalate(id);
        refold();
        vm.assertFalse(holds(models.head(), orgs[0]));
        withdrawals.close(id);
    }

    function test_a_late_attestation_becomes_a_removal() public {
        WithdrawalId id = requestAs(0, COUNTER);
        offerAs(0, id, 0);
        readyAs(0, id);
        refold();
        pass(ATTESTATION + 1);
        withdrawals.escalate(id);
        refold();
        check();
        vm.assertFalse(holds(models.head(), orgs[0]));
        withdrawals.close(id);
    }

    function test_an_organization_can_turn_its_withdrawal_into_its_removal_at_any_time() public {
        WithdrawalId id = subjectAs(0, REPLACEMENT);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOrganization.selector, address(this)));
        withdrawals.convert(id);
        vm.prank(orgs[0]);
        withdrawals.convert(id);
        refold();
        withdrawals.close(id);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Closed));
        withdrawals.convert(id);
        vm.prank(address(0));
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, 99, IWithdrawals.State.None));
        withdrawals.convert(WithdrawalId.wrap(99));
    }

    // Attestation

    function test_auditors_attest_a_model_that_has_the_amendment() public {
        WithdrawalId id = requestAs(0, COUNTER);
        offerAs(0, id, 0);
        readyAs(0, id);
        bytes[] memory none = new bytes[](0);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.EmptyValue.selector));
        withdrawals.attest(id, ModelId.wrap(1), 0, none);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotAmended.selector, id, 1));
        withdrawals.attest(id, ModelId.wrap(1), EVIDENCE, none);
        vm.expectRevert(abi.encodeWithSelector(IModels.UnknownModel.selector, 9));
        withdrawals.attest(id, ModelId.wrap(9), EVIDENCE, none);
        refold();
        vm.expectRevert(abi.encodeWithSelector(Quorum.QuorumMissing.selector, 0, 2));
        withdrawals.attest(id, ModelId.wrap(2), EVIDENCE, none);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Attesting));
        withdrawals.close(id);
        attest(id, ModelId.wrap(2));
        vm.assertEq(withdrawals.withdrawalOf(id).evidence, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Effective));
        withdrawals.attest(id, ModelId.wrap(2), EVIDENCE, none);
        withdrawals.close(id);
        status(0, IMembers.Status.Withdrawn);
    }

    // Replays

    function test_a_replay_is_paid_for_and_nothing_else_is() public {
        chain();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.request(AGAIN);
        state(id, IWithdrawals.State.Replaying);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotReplayed.selector, id));
        withdrawals.replayed(id);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Replaying));
        withdrawals.escalate(id);
        refold();
        replays.start();
        withdrawals.replayed(id);
        state(id, IWithdrawals.State.Attesting);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Attesting));
        withdrawals.replayed(id);
        pass(ATTESTATION + 1);
        withdrawals.escalate(id);
        withdrawals.close(id);
    }

    function test_terms_are_told() public view {
        IWithdrawals.Terms memory terms = withdrawals.terms();
        vm.assertEq(uint256(terms.preparationSeconds), PREPARATION);
        vm.assertEq(uint256(terms.attestationSeconds), ATTESTATION);
        vm.assertEq(uint256(terms.auditorQuorum), quorum);
    }
}
