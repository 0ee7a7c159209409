// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ModelId, OfferId, RoundId, WithdrawalId} from "../src/Types.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract SmokeTest is Fixture {
    function test_a_removal_in_blocks() public {
        deployAll(Weights.Rule.Block, 4);
        playRound();
        playRound(some(1, 2));
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.request(IWithdrawals.Method.Removal);
        vm.assertTrue(models.isStale(models.head()));
        refold();
        check();
        vm.assertFalse(holds(models.head(), orgs[1]));
        withdrawals.close(id);
        playRound(some(0, 3));
        vm.assertEq(ModelId.unwrap(models.head()), 4);
    }

    function test_a_round_in_flight_goes_on_without_the_leaver() public {
        deployAll(Weights.Rule.Block, 4);
        playRound();
        RoundId round = revealed(orgs);
        judge(round);
        sumUp(OfferId.wrap(0), round, 2);
        vm.prank(orgs[1]);
        withdrawals.request(IWithdrawals.Method.Removal);
        refold();
        foldAll(models.head());
        check();
        vm.assertFalse(holds(models.head(), orgs[1]));
    }

    function test_a_removal_in_a_shared_layout_changes_the_weights() public {
        deployAll(Weights.Rule.Share, 3);
        playRound();
        playRound(some(1, 2));
        playRound(some(0, 2));
        vm.prank(orgs[1]);
        withdrawals.request(IWithdrawals.Method.Removal);
        while (foldPiece(models.head(), 1)) {}
        check();
        vm.prank(orgs[2]);
        withdrawals.request(IWithdrawals.Method.Removal);
        refold();
        check();
    }

    function test_a_replacement_and_a_counter_training() public {
        deployAll(Weights.Rule.Share, 3);
        playRound();
        playRound();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.requestForSubject(bytes32(uint256(1)), IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[0]);
        withdrawals.offer(id, RoundId.wrap(2), ids, points, MANIFEST);
        vm.prank(orgs[0]);
        withdrawals.ready(id);
        refold();
        check();
        withdrawals.close(id);
        vm.prank(orgs[1]);
        WithdrawalId counter = withdrawals.request(IWithdrawals.Method.CounterTraining);
        (ids, points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(counter, RoundId.wrap(0), ids, points, MANIFEST);
        vm.prank(orgs[1]);
        withdrawals.ready(counter);
        refold();
        check();
        attest(counter, models.head());
        withdrawals.close(counter);
        vm.prank(orgs[1]);
        WithdrawalId gone = withdrawals.request(IWithdrawals.Method.Removal);
        refold();
        check();
        withdrawals.close(gone);
    }

    function test_a_replay_trains_later_rounds_again() public {
        deployAll(Weights.Rule.Share, 4);
        playRound();
        playRound(some(0, 1));
        playRound(some(0, 2));
        playRound();
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.request{value: 3 * PRICE}(IWithdrawals.Method.Replay);
        refold();
        check();
        replays.start();
        for (uint64 n = 2; n <= 4; ++n) {
            RoundId round = RoundId.wrap(n);
            for (uint256 i = 0; i < 4; ++i) {
                if (replays.expected()[0] & (1 << i) == 0) continue;
                // The last organization is late in the last round.
                if (n == 4 && i == 3) continue;
                (bytes32[] memory ids, bytes memory points) = fresh();
                vm.prank(orgs[i]);
                replays.offer(round, ids, points, MANIFEST);
            }
            if (n == 4) pass(REPLAY + 1);
            replays.advance();
            sumUp(replays.current(), round, 1);
        }
        withdrawals.replayed(id);
        refold();
        check();
        attest(id, models.head());
        withdrawals.close(id);
        RoundId[] memory paid = new RoundId[](1);
        paid[0] = RoundId.wrap(3);
        OfferId replay = replays.current();
        vm.prank(orgs[2]);
        replays.claim(replay, paid);
        playRound(some(0, 3));
    }

    function test_parts_of_each_kind_add_up_side_by_side() public {
        Weights.Rule[] memory three = new Weights.Rule[](3);
        (three[0], three[1], three[2]) = (Weights.Rule.Share, Weights.Rule.Block, Weights.Rule.Latest);
        deployAll(three, false, 3);
        playRound();
        playRound(some(1, 2));
        playRound(some(0));
        vm.prank(orgs[1]);
        withdrawals.request(IWithdrawals.Method.Removal);
        refold();
        check();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.requestForSubject(bytes32(uint256(1)), IWithdrawals.Method.Replacement);
        for (uint64 n = 1; n <= 3; n += 2) {
            (bytes32[] memory ids, bytes memory points) = fresh();
            vm.prank(orgs[0]);
            withdrawals.offer(id, RoundId.wrap(n), ids, points, MANIFEST);
        }
        vm.prank(orgs[0]);
        withdrawals.ready(id);
        refold();
        check();
        playRound(some(0, 2));
    }
}
