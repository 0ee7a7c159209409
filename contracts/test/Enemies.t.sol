// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

/// @dev An organization that is a contract. It refuses ether, or calls back when it gets some.
contract Wallet {
    bool public refuses;
    address private _target;
    bytes private _data;
    uint256 public callbacks;
    uint256 public successes;

    function refuse(bool refuses_) external {
        refuses = refuses_;
    }

    function callBack(address target, bytes calldata data) external {
        (_target, _data) = (target, data);
    }

    receive() external payable {
        require(!refuses, "no ether");
        if (_data.length == 0) return;
        ++callbacks;
        (bool done,) = _target.call(_data);
        if (done) ++successes;
    }
}

/// @dev What an enemy would try at the edges: odd wallets, odd moments, odd orders.
contract EnemiesTest is Fixture {
    Wallet private wallet;

    receive() external payable {}

    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
        join();
    }

    /// @dev Let a contract join as the last member.
    function join() private {
        wallet = new Wallet();
        vm.prank(address(governance));
        members.admit(address(wallet), "wallet");
        vm.deal(address(wallet), 10 ether);
        vm.prank(address(wallet));
        members.join{value: BOND}(SALT, PROOF);
        orgs.push(address(wallet));
    }

    function again(Weights.Rule rule) private {
        delete orgs;
        delete auditorKeys;
        deployAll(rule, 3);
        join();
    }

    function list(RoundId round) private pure returns (RoundId[] memory only) {
        only = new RoundId[](1);
        only[0] = round;
    }

    function claimAs(address organization, RoundId round) private {
        vm.prank(organization);
        rewards.claim(list(round));
    }

    function everyoneResigns() private {
        for (uint256 i = 0; i < orgs.length; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
    }

    // Wallets

    function test_a_wallet_that_refuses_ether_stops_no_one_and_loses_nothing() public {
        RoundId round = playRound();
        wallet.refuse(true);
        vm.prank(address(wallet));
        vm.expectRevert();
        rewards.claim(list(round));
        everyoneResigns();
        pass(EXIT - 1);
        claimAs(orgs[0], round);
        pass(1);
        vm.prank(address(wallet));
        vm.expectRevert();
        members.reclaimBond();
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.reclaimBond();
        }
        wallet.refuse(false);
        claimAs(address(wallet), round);
        vm.prank(address(wallet));
        members.reclaimBond();
        rewards.sweep();
        vm.assertEq(address(members).balance, AGGREGATOR_BOND);
        vm.assertEq(address(wallet).balance, 10 ether + REWARD / 4);
    }

    function test_a_refused_refund_of_a_replay_stops_no_one() public {
        again(Weights.Rule.Share);
        playRound();
        playRound();
        wallet.refuse(true);
        vm.prank(address(wallet));
        WithdrawalId id = withdrawals.request{value: 5 * PRICE}(IWithdrawals.Method.Replay);
        refold();
        replays.start();
        vm.prank(address(wallet));
        withdrawals.convert(id);
        refold();
        withdrawals.close(id);
        playRound(some(0, 1));
        vm.prank(address(wallet));
        vm.expectRevert();
        replays.refund();
        wallet.refuse(false);
        vm.prank(address(wallet));
        replays.refund();
        vm.assertEq(address(replays).balance, 0);
    }

    function test_a_wallet_that_claims_again_from_within_is_paid_once() public {
        RoundId round = playRound();
        uint256 before = address(wallet).balance;
        wallet.callBack(address(rewards), abi.encodeCall(IRewards.claim, (list(round))));
        claimAs(address(wallet), round);
        vm.assertEq(address(wallet).balance - before, REWARD / 4);
        everyoneResigns();
        pass(EXIT);
        before = address(wallet).balance;
        wallet.callBack(address(members), abi.encodeCall(IMembers.reclaimBond, ()));
        vm.prank(address(wallet));
        members.reclaimBond();
        vm.assertEq(address(wallet).balance - before, BOND);
        vm.assertEq(wallet.callbacks(), 2);
        vm.assertEq(wallet.successes(), 0);
    }

    function test_a_wallet_that_takes_a_replays_pay_again_from_within_is_paid_once() public {
        again(Weights.Rule.Share);
        playRound();
        playRound();
        vm.prank(orgs[0]);
        withdrawals.request{value: PRICE}(IWithdrawals.Method.Replay);
        refold();
        replays.start();
        RoundId round = RoundId.wrap(2);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(address(wallet));
        replays.offer(round, ids, points, MANIFEST);
        pass(REPLAY + 1);
        replays.advance();
        uint256 before = address(wallet).balance;
        wallet.callBack(address(replays), abi.encodeCall(IReplays.claim, (replays.current(), list(round))));
        OfferId replay = replays.current();
        vm.prank(address(wallet));
        replays.claim(replay, list(round));
        vm.assertEq(address(wallet).balance - before, PRICE);
        vm.assertEq(wallet.successes(), 0);
    }

    // Moments

    function test_an_aggregator_that_resigns_in_any_phase_stops_no_round() public {
        for (uint256 phase = 0; phase < 4; ++phase) {
            RoundId round = open();
            if (phase == 0) replaceAggregator();
            for (uint256 i = 0; i < orgs.length; ++i) {
                commitAs(round, orgs[i]);
            }
            rounds.closeCommits(round);
            if (phase == 1) replaceAggregator();
            for (uint256 i = 0; i < orgs.length; ++i) {
                revealAs(round, orgs[i]);
            }
            rounds.closeReveals(round);
            if (phase == 2) replaceAggregator();
            judge(round);
            if (phase == 3) replaceAggregator();
            sumUp(OfferId.wrap(0), round, 9);
            foldAll(models.head());
            vm.assertEq(uint8(rounds.roundOf(round).state), uint8(IRounds.State.Final));
            check();
        }
    }

    function replaceAggregator() private {
        vm.prank(aggregator);
        members.resignAggregator();
        address former = aggregator;
        aggregator = address(uint160(aggregator) + 1);
        vm.prank(address(governance));
        members.setAggregator(aggregator);
        vm.deal(aggregator, AGGREGATOR_BOND);
        vm.prank(aggregator);
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
        vm.prank(former);
        vm.expectPartialRevert(IRounds.NotAggregator.selector);
        rounds.open();
    }

    function test_an_expelled_member_keeps_what_final_rounds_earned_it_and_nothing_later() public {
        RoundId first = playRound();
        RoundId second = revealed(orgs);
        judge(second);
        vm.prank(address(governance));
        withdrawals.expel(orgs[1]);
        refold();
        sumUp(OfferId.wrap(0), second, 9);
        foldAll(models.head());
        vm.assertEq(rewards.claimable(orgs[1], list(first)), REWARD / 4);
        vm.assertEq(rewards.claimable(orgs[1], list(second)), 0);
        claimAs(orgs[1], first);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotScored.selector, second, orgs[1]));
        rewards.claim(list(second));
        // The others have all of it.
        claimAs(orgs[0], second);
        claimAs(orgs[2], second);
        claimAs(orgs[3], second);
        claimAs(orgs[0], first);
        claimAs(orgs[2], first);
        claimAs(orgs[3], first);
        vm.assertLe(address(rewards).balance, rewards.pool() + 3);
    }

    function test_nothing_is_stuck_when_the_last_member_leaves_in_the_middle_of_its_own_withdrawal() public {
        RoundId round = playRound();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.CounterTraining);
        everyoneResigns();
        vm.prank(aggregator);
        members.resignAggregator();
        for (uint256 i = 0; i < 4; ++i) {
            claimAs(orgs[i], round);
        }
        pass(PREPARATION + 1);
        withdrawals.escalate(id);
        refold();
        withdrawals.close(id);
        vm.assertFalse(holds(models.head(), orgs[0]));
        pass(EXIT);
        for (uint256 i = 0; i < 4; ++i) {
            vm.prank(orgs[i]);
            members.reclaimBond();
        }
        vm.prank(aggregator);
        members.reclaimAggregatorBond();
        rewards.sweep();
        vm.assertEq(address(members).balance + address(rewards).balance + address(replays).balance, 0);
    }

    // Orders

    function test_a_requester_that_left_a_replay_pays_for_the_present_round_and_no_later_one() public {
        again(Weights.Rule.Share);
        playRound();
        playRound(some(1, 2));
        playRound();
        vm.prank(orgs[0]);
        WithdrawalId first = withdrawals.request{value: 2 * PRICE}(IWithdrawals.Method.Replay);
        vm.prank(orgs[1]);
        withdrawals.request{value: 2 * PRICE}(IWithdrawals.Method.Replay);
        refold();
        replays.start();
        vm.prank(orgs[0]);
        withdrawals.convert(first);
        vm.assertEq(replays.refundOf(orgs[0]), PRICE);
        // No one trains the present round, so there is nothing to pay.
        pass(REPLAY + 1);
        replays.advance();
        vm.assertEq(replays.refundOf(orgs[0]), 2 * PRICE);
        RoundId last = RoundId.wrap(3);
        vm.assertEq(uint256(RoundId.unwrap(replays.replayOf(replays.current()).round)), 3);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(address(wallet));
        replays.offer(last, ids, points, MANIFEST);
        OfferId replay = replays.current();
        replays.advance();
        uint256 before = address(wallet).balance;
        vm.prank(address(wallet));
        replays.claim(replay, list(last));
        vm.assertEq(address(wallet).balance - before, PRICE);
        vm.assertEq(replays.refundOf(orgs[1]), PRICE);
        vm.assertEq(address(replays).balance, 3 * PRICE);
    }

    function test_a_point_that_was_only_offered_can_still_be_revealed_in_a_round() public {
        playRound();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        RoundId next = RoundId.wrap(2);
        // A copy of what another member is about to reveal blocks no one: it is not registered for a round.
        (bytes32[] memory ids, bytes memory points) = contributionOf(next, orgs[1]);
        vm.prank(orgs[0]);
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
        vm.prank(orgs[0]);
        withdrawals.ready(id);
        refold();
        playRound();
        vm.assertEq(PointHash.unwrap(contentOf(2)[1].point), keccak256(points));
    }
}
