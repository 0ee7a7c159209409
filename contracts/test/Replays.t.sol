// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract ReplaysTest is Fixture {
    function setUp() public {
        deployAll(Weights.Rule.Share, 4);
        for (uint256 i = 0; i < 3; ++i) {
            playRound();
        }
    }

    function replayAs(uint256 i, uint256 price) private returns (WithdrawalId) {
        vm.prank(orgs[i]);
        return withdrawals.request{value: price}(IWithdrawals.Method.Replay);
    }

    function offerAs(uint256 i) private {
        RoundId round = replays.replayOf(replays.current()).round;
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[i]);
        replays.offer(round, ids, points, MANIFEST);
    }

    function started() private returns (WithdrawalId id) {
        id = replayAs(0, 2 * PRICE);
        refold();
        replays.start();
    }

    function trainAll() private {
        while (replays.isPending()) {
            RoundId round = replays.replayOf(replays.current()).round;
            uint256 set = replays.expected()[0];
            for (uint256 i = 0; i < 4; ++i) {
                if (set & (1 << i) != 0) offerAs(i);
            }
            replays.advance();
            sumUp(replays.current(), round, 9);
        }
    }

    function paid(uint256 i, OfferId replay, uint64 round) private returns (uint256) {
        RoundId[] memory list = new RoundId[](1);
        list[0] = RoundId.wrap(round);
        uint256 before = orgs[i].balance;
        vm.prank(orgs[i]);
        replays.claim(replay, list);
        return orgs[i].balance - before;
    }

    function test_a_replay_costs_a_price_for_each_later_round_and_more_comes_back() public {
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.WrongPrice.selector, PRICE, 2 * PRICE));
        withdrawals.request{value: PRICE}(IWithdrawals.Method.Replay);
        uint256 before = orgs[0].balance;
        WithdrawalId id = replayAs(0, 5 * PRICE);
        refold();
        replays.start();
        trainAll();
        refold();
        check();
        withdrawals.replayed(id);
        OfferId replay = replays.current();
        // Three share a price that three does not divide: the rest comes back.
        uint256 share = PRICE / 3;
        for (uint256 i = 1; i < 4; ++i) {
            vm.assertEq(paid(i, replay, 2) + paid(i, replay, 3), 2 * share);
        }
        vm.prank(orgs[0]);
        replays.refund();
        vm.assertEq(before - orgs[0].balance, 6 * share);
        vm.assertEq(address(replays).balance, 0);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingToClaim.selector, orgs[0]));
        replays.refund();
    }

    function test_pay_is_claimed_once_by_those_who_trained() public {
        started();
        trainAll();
        OfferId replay = replays.current();
        RoundId[] memory list = new RoundId[](2);
        (list[0], list[1]) = (RoundId.wrap(2), RoundId.wrap(2));
        vm.startPrank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingToClaim.selector, orgs[1]));
        replays.claim(replay, list);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingToClaim.selector, orgs[1]));
        replays.claim(replay, new RoundId[](0));
        vm.stopPrank();
        paid(1, replay, 2);
        list = new RoundId[](1);
        list[0] = RoundId.wrap(2);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingToClaim.selector, orgs[0]));
        replays.claim(replay, list);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingToClaim.selector, anyone));
        replays.claim(replay, list);
    }

    /// @dev An address without a number must not pass for the member with the number 0.
    function test_a_stranger_neither_trains_nor_is_paid_in_the_first_members_place() public {
        replayAs(3, 2 * PRICE);
        refold();
        replays.start();
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NotExpected.selector, 2, anyone));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
        trainAll();
        OfferId replay = replays.current();
        RoundId[] memory list = new RoundId[](1);
        list[0] = RoundId.wrap(2);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingToClaim.selector, anyone));
        replays.claim(replay, list);
        vm.assertGt(paid(0, replay, 2), 0);
    }

    function test_a_replay_starts_once_the_head_is_folded_and_no_round_is_in_flight() public {
        vm.expectRevert(abi.encodeWithSelector(IReplays.NothingQueued.selector));
        replays.start();
        RoundId round = open();
        replayAs(0, 3 * PRICE);
        vm.expectRevert(abi.encodeWithSelector(IReplays.RoundInFlight.selector, round));
        replays.start();
        rounds.abandon(round);
        vm.expectRevert(abi.encodeWithSelector(IReplays.StaleHead.selector));
        replays.start();
        refold();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.ReplayUnderWay.selector));
        rounds.open();
        replays.start();
        OfferId current = replays.current();
        vm.expectRevert(abi.encodeWithSelector(IReplays.ReplayRunning.selector, current));
        replays.start();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IRounds.ReplayUnderWay.selector));
        rounds.open();
    }

    function test_expected_members_offer_once_in_time_for_the_round_at_hand() public {
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.expectRevert(abi.encodeWithSelector(IReplays.NoReplay.selector));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NoReplay.selector));
        replays.advance();
        started();
        uint40 deadline = replays.replayOf(replays.current()).deadline;
        vm.startPrank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.WrongRound.selector, 3, 2));
        replays.offer(RoundId.wrap(3), ids, points, MANIFEST);
        vm.stopPrank();
        offerAs(1);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.OfferedBefore.selector, 2, orgs[1]));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NotExpected.selector, 2, orgs[0]));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
        vm.prank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NotExpected.selector, 2, anyone));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IReplays.DeadlineAhead.selector, 2, deadline));
        replays.advance();
        pass(REPLAY + 1);
        vm.prank(orgs[2]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.DeadlinePassed.selector, 2, deadline));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
        replays.advance();
        // Those who were late are dropped from here on.
        vm.assertEq(replays.expected()[0], 2);
    }

    function test_a_member_that_is_late_is_dropped_from_that_round_on() public {
        started();
        RoundId round = RoundId.wrap(2);
        offerAs(1);
        offerAs(2);
        pass(REPLAY + 1);
        replays.advance();
        sumUp(replays.current(), round, 9);
        trainAll();
        refold();
        check();
        vm.assertEq(contentOf(1).length, 3);
        vm.assertEq(contentOf(2).length + contentOf(3).length, 4);
        vm.assertEq(uint256(members.member(orgs[3]).bond), BOND);
        playRound(some(1, 3));
    }

    function test_a_removal_during_a_replay_is_out_of_it() public {
        started();
        offerAs(1);
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.request(IWithdrawals.Method.Removal);
        offerAs(2);
        offerAs(3);
        replays.advance();
        sumUp(replays.current(), RoundId.wrap(2), 9);
        trainAll();
        refold();
        check();
        vm.assertFalse(holds(models.head(), orgs[1]));
        withdrawals.close(id);
    }

    function test_what_is_replaced_during_a_replay_does_not_come_back_with_it() public {
        started();
        for (uint256 i = 1; i < 4; ++i) {
            offerAs(i);
        }
        replays.advance();
        sumUp(replays.current(), RoundId.wrap(2), 9);
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(id, RoundId.wrap(2), ids, points, MANIFEST);
        vm.prank(orgs[1]);
        withdrawals.ready(id);
        refold();
        check();
        withdrawals.close(id);
        trainAll();
        refold();
        check();
        vm.assertEq(PointHash.unwrap(contentOf(2)[0].point), keccak256(points));
    }

    function test_requests_that_arrive_meanwhile_join_the_next_replay() public {
        WithdrawalId first = started();
        WithdrawalId second = replayAs(1, 2 * PRICE);
        vm.assertEq(replays.queued().length, 1);
        vm.assertEq(OfferId.unwrap(replays.joined(second)), 0);
        trainAllOf(first);
        withdrawals.replayed(first);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotReplayed.selector, second));
        withdrawals.replayed(second);
        refold();
        replays.start();
        vm.assertEq(OfferId.unwrap(replays.joined(second)), OfferId.unwrap(replays.current()));
        trainAll();
        withdrawals.replayed(second);
        refold();
        check();
    }

    function trainAllOf(WithdrawalId) private {
        OfferId replay = replays.current();
        while (replays.replayOf(replay).amendment == 0) {
            RoundId round = replays.replayOf(replay).round;
            uint256 set = replays.expected()[0];
            for (uint256 i = 0; i < 4; ++i) {
                if (set & (1 << i) != 0) offerAs(i);
            }
            replays.advance();
            sumUp(replay, round, 9);
        }
    }

    function test_a_subjects_replay_replaces_and_trains_later_rounds_again() public {
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replay);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(id, RoundId.wrap(2), ids, points, MANIFEST);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.WrongPrice.selector, 0, PRICE));
        withdrawals.ready(id);
        vm.prank(orgs[1]);
        withdrawals.ready{value: PRICE}(id);
        refold();
        replays.start();
        trainAll();
        withdrawals.replayed(id);
        refold();
        check();
        attest(id, models.head());
        withdrawals.close(id);
        vm.assertEq(uint8(members.statusOf(orgs[1])), uint8(IMembers.Status.Active));
    }

    function test_a_replay_of_the_last_round_ends_at_once() public {
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replay);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(id, RoundId.wrap(3), ids, points, MANIFEST);
        vm.prank(orgs[1]);
        withdrawals.ready(id);
        refold();
        replays.start();
        vm.assertFalse(replays.isPending());
        withdrawals.replayed(id);
        attest(id, models.head());
        withdrawals.close(id);
        check();
        playRound();
    }

    function test_whoever_no_longer_needs_a_replay_gets_back_all_but_the_present_rounds_price() public {
        WithdrawalId id = started();
        offerAs(1);
        uint256 before = orgs[0].balance;
        vm.prank(orgs[0]);
        withdrawals.convert(id);
        // It was the last: the replay ends, and the one that trained is paid.
        vm.assertFalse(replays.isPending());
        vm.prank(orgs[0]);
        replays.refund();
        vm.assertEq(orgs[0].balance - before, PRICE);
        vm.assertEq(paid(1, replays.current(), 2), PRICE);
        vm.assertEq(address(replays).balance, 0);
        withdrawals.close(id);
        playRound(some(1, 2));
        check();
    }

    function test_a_replay_goes_on_for_the_others_when_one_no_longer_needs_it() public {
        WithdrawalId first = replayAs(0, 2 * PRICE);
        WithdrawalId second = replayAs(1, 2 * PRICE);
        refold();
        replays.start();
        vm.prank(orgs[0]);
        withdrawals.convert(first);
        vm.assertTrue(replays.isPending());
        trainAll();
        withdrawals.replayed(second);
        vm.prank(orgs[0]);
        replays.refund();
        vm.assertEq(paid(2, replays.current(), 2), PRICE);
        vm.assertEq(paid(2, replays.current(), 3), PRICE / 2);
        vm.assertEq(paid(3, replays.current(), 2), PRICE);
        vm.assertEq(paid(3, replays.current(), 3), PRICE / 2);
        vm.assertEq(address(replays).balance, 0);
        refold();
        check();
    }

    function test_a_request_that_waits_can_be_taken_back_whole() public {
        WithdrawalId id = replayAs(0, 2 * PRICE);
        replayAs(1, 2 * PRICE);
        vm.prank(orgs[0]);
        withdrawals.convert(id);
        vm.assertEq(replays.queued().length, 1);
        vm.assertEq(replays.refundOf(orgs[0]), 2 * PRICE);
        refold();
        replays.start();
        trainAll();
        check();
    }

    function test_rounds_that_wait_for_no_one_are_passed() public {
        RoundId empty = open();
        pass(PHASE + 1);
        rounds.closeCommits(empty);
        playRound(some(0));
        playRound();
        WithdrawalId id = replayAs(0, 5 * PRICE);
        refold();
        replays.start();
        trainAll();
        withdrawals.replayed(id);
        refold();
        check();
    }

    function test_only_the_withdrawals_contract_queues_and_drops() public {
        vm.expectRevert(abi.encodeWithSelector(IReplays.NotWithdrawals.selector, address(this)));
        replays.queue(WithdrawalId.wrap(1), address(this), RoundId.wrap(1));
        vm.expectRevert(abi.encodeWithSelector(IReplays.NotWithdrawals.selector, address(this)));
        replays.drop(WithdrawalId.wrap(1));
    }

    function test_the_queue_has_an_end() public {
        for (uint64 i = 1; i <= 64; ++i) {
            vm.prank(address(withdrawals));
            replays.queue(WithdrawalId.wrap(i), address(this), RoundId.wrap(9));
        }
        vm.prank(address(withdrawals));
        vm.expectRevert(abi.encodeWithSelector(IReplays.TooManyQueued.selector, 64));
        replays.queue(WithdrawalId.wrap(65), address(this), RoundId.wrap(9));
    }

    function test_a_round_of_a_replay_is_summed_only_once_it_is_closed() public {
        started();
        offerAs(1);
        OfferId current = replays.current();
        vm.expectRevert(abi.encodeWithSelector(IModels.WrongState.selector, 2));
        models.sum(current, RoundId.wrap(2), new bytes(128), "");
        offerAs(2);
        offerAs(3);
        replays.advance();
        replays.isClosed(current, RoundId.wrap(2));
    }

    function test_a_fold_waits_for_the_sums_of_a_replay() public {
        started();
        for (uint256 round = 2; round <= 3; ++round) {
            for (uint256 i = 1; i < 4; ++i) {
                offerAs(i);
            }
            replays.advance();
        }
        ModelId head = models.head();
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(head, 0))];
        vm.expectRevert(abi.encodeWithSelector(IModels.SumMissing.selector, 2, 0));
        models.fold(head, start, "");
        sumUp(replays.current(), RoundId.wrap(2), 2);
        sumUp(replays.current(), RoundId.wrap(3), 2);
        refold();
        check();
    }
}
