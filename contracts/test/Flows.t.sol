// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

/// @dev A removal at every moment. After each, every commitment is checked against the content.
contract FlowsTest is Fixture {
    OfferId private constant NONE = OfferId.wrap(0);

    function setUp() public {
        deployAll(Weights.Rule.Block, 4);
    }

    function again(Weights.Rule rule, uint256 count) private {
        delete orgs;
        delete auditorKeys;
        deployAll(rule, count);
    }

    function remove(uint256 i) private returns (WithdrawalId) {
        vm.prank(orgs[i]);
        return withdrawals.request(IWithdrawals.Method.Removal);
    }

    function gone(uint256 i) private {
        refold();
        check();
        ModelId[] memory used = models.modelsInUse();
        for (uint256 j = 0; j < used.length; ++j) {
            vm.assertFalse(holds(used[j], orgs[i]));
        }
    }

    /// @dev Go on with a round from wherever it stands, without penalties for the one that left.
    function carryOn(RoundId round, uint256 leaver) private {
        if (rounds.roundOf(round).state == IRounds.State.Committed) {
            for (uint256 i = 0; i < 4; ++i) {
                if (i != leaver) revealAs(round, orgs[i]);
            }
            rounds.closeReveals(round);
        }
        if (rounds.roundOf(round).state == IRounds.State.Revealed) judge(round);
        sumUp(NONE, round, 2);
        refold();
        foldAll(models.head());
        gone(leaver);
        vm.assertEq(uint256(members.member(orgs[leaver]).bond), BOND);
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(IRounds.State.Final));
        (uint256 score, uint256 total) = rounds.scoreOf(round, orgs[leaver]);
        vm.assertEq(score + total, 0);
    }

    function test_a_request_while_members_commit() public {
        playRound();
        RoundId round = open();
        for (uint256 i = 0; i < 4; ++i) {
            commitAs(round, orgs[i]);
        }
        remove(1);
        rounds.closeCommits(round);
        carryOn(round, 1);
    }

    function test_a_request_while_members_reveal() public {
        playRound();
        RoundId round = open();
        for (uint256 i = 0; i < 4; ++i) {
            commitAs(round, orgs[i]);
        }
        rounds.closeCommits(round);
        remove(1);
        carryOn(round, 1);
    }

    function test_a_request_while_the_aggregator_judges() public {
        playRound();
        RoundId round = revealed(orgs);
        remove(1);
        carryOn(round, 1);
    }

    function test_a_request_between_two_pieces_of_a_sum() public {
        playRound();
        RoundId round = revealed(orgs);
        judge(round);
        bytes memory points = nextSummands(NONE, round, 0, 0, 2);
        learnSum(new bytes(128), points);
        models.sum(NONE, round, new bytes(128), points);
        remove(1);
        carryOn(round, 1);
    }

    function test_a_request_once_the_round_is_summed() public {
        playRound();
        RoundId round = revealed(orgs);
        judge(round);
        sumUp(NONE, round, 9);
        remove(1);
        carryOn(round, 1);
    }

    function test_a_request_between_two_pieces_of_a_rounds_fold() public {
        playRound();
        RoundId round = revealed(orgs);
        judge(round);
        sumUp(NONE, round, 9);
        ModelId source = models.head();
        foldPiece(source, 0);
        remove(1);
        // What was folded already is subtracted after.
        foldAll(source);
        vm.assertTrue(holds(models.head(), orgs[1]));
        vm.assertTrue(models.isStale(models.head()));
        gone(1);
    }

    function test_a_request_between_two_pieces_of_another_removals_fold() public {
        playRound();
        playRound();
        remove(0);
        ModelId source = models.head();
        foldPiece(source, 1);
        remove(1);
        vm.assertEq(models.foldOf(source).amendment, 1);
        gone(0);
        gone(1);
    }

    function test_a_request_with_two_other_withdrawals_open() public {
        playRound();
        remove(0);
        vm.prank(orgs[1]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
        vm.prank(orgs[1]);
        withdrawals.ready(id);
        WithdrawalId last = remove(2);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotFolded.selector, last));
        withdrawals.close(last);
        gone(0);
        gone(2);
        vm.assertTrue(holds(models.head(), orgs[1]));
        for (uint64 n = 1; n <= 3; ++n) {
            withdrawals.close(WithdrawalId.wrap(n));
        }
    }

    function test_a_request_with_three_models_in_use() public {
        for (uint256 i = 0; i < 2; ++i) {
            playRound();
            ModelId head = models.head();
            vm.prank(aggregator);
            models.release(head);
        }
        playRound();
        vm.assertEq(models.modelsInUse().length, 3);
        WithdrawalId id = remove(1);
        foldAll(models.head());
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotFolded.selector, id));
        withdrawals.close(id);
        gone(1);
        vm.assertEq(models.modelsInUse().length, 3);
        withdrawals.close(id);
    }

    function test_a_member_that_one_of_three_models_holds() public {
        playRound(some(0));
        ModelId first = models.head();
        vm.prank(aggregator);
        models.release(first);
        playRound(some(1));
        remove(1);
        vm.assertFalse(models.isStale(first));
        gone(1);
        vm.assertEq(ModelId.unwrap(models.modelsInUse()[0]), ModelId.unwrap(first));
    }

    function test_an_expulsion() public {
        playRound();
        vm.prank(address(governance));
        WithdrawalId id = withdrawals.expel(orgs[1]);
        gone(1);
        withdrawals.close(id);
        vm.assertTrue(withdrawals.withdrawalOf(id).expelled);
    }

    function test_a_removal_after_a_replacement() public {
        again(Weights.Rule.Share, 3);
        playRound();
        playRound();
        replace(1, 1);
        remove(1);
        gone(1);
    }

    function replace(uint256 i, uint64 round) private returns (WithdrawalId id) {
        vm.prank(orgs[i]);
        id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[i]);
        withdrawals.offer(id, RoundId.wrap(round), ids, points, MANIFEST);
        vm.prank(orgs[i]);
        withdrawals.ready(id);
        refold();
        check();
        withdrawals.close(id);
    }

    function test_two_replacements_of_one_contribution() public {
        for (uint256 rule = 0; rule < 3; ++rule) {
            again(Weights.Rule(rule), 3);
            playRound();
            playRound(some(0, 2));
            replace(0, 1);
            replace(0, 1);
            replace(0, 2);
            remove(0);
            gone(0);
        }
    }

    function test_a_removal_after_counter_trainings() public {
        for (uint256 rule = 0; rule < 3; ++rule) {
            again(Weights.Rule(rule), 3);
            playRound();
            for (uint256 i = 0; i < 2; ++i) {
                counter(1, bytes32(i + 1));
            }
            counter(0, 0);
            remove(1);
            gone(1);
            remove(0);
            gone(0);
        }
    }

    function counter(uint256 i, bytes32 subject) private {
        vm.prank(orgs[i]);
        WithdrawalId id = subject == 0
            ? withdrawals.request(IWithdrawals.Method.CounterTraining)
            : withdrawals.requestForSubject(subject, IWithdrawals.Method.CounterTraining);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[i]);
        withdrawals.offer(id, RoundId.wrap(0), ids, points, MANIFEST);
        vm.prank(orgs[i]);
        withdrawals.ready(id);
        refold();
        check();
        attest(id, models.head());
        withdrawals.close(id);
    }

    function test_the_parent_changed_in_the_block_before() public {
        playRound();
        RoundId round = revealed(orgs);
        judge(round);
        sumUp(NONE, round, 9);
        remove(0);
        ModelId stale = models.head();
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(stale, 0))];
        bytes memory points = pointOf[PointHash.unwrap(models.sumOf(NONE, round, 0))];
        // A fold of the round that was prepared before is refused, and the next one is of the removal.
        vm.expectPartialRevert(IModels.WrongPoint.selector);
        models.fold(stale, start, points);
        foldAll(stale);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotInUse.selector, stale));
        models.fold(stale, start, points);
        foldAll(models.head());
        gone(0);
    }

    function test_a_removal_of_everyone() public {
        for (uint256 rule = 0; rule < 3; ++rule) {
            again(Weights.Rule(rule), 3);
            playRound();
            RoundId round = revealed(orgs);
            judge(round);
            sumUp(NONE, round, 9);
            for (uint256 i = 0; i < 3; ++i) {
                remove(i);
            }
            refold();
            check();
            vm.assertEq(
                PointHash.unwrap(models.commitmentOf(models.head(), 0)), keccak256(new bytes(128)), "something is left"
            );
            if (models.chained()) rounds.abandon(round);
            else foldAll(models.head());
            check();
        }
    }

    // Chained rounds

    function test_a_chained_round_whose_parent_became_stale_is_abandoned_in_each_phase() public {
        again(Weights.Rule.Share, 4);
        playRound();
        RoundId round = open();
        commitAs(round, orgs[0]);
        WithdrawalId id = replacementRequested(1);
        orphaned(round, id);
        round = open();
        commitAs(round, orgs[0]);
        pass(PHASE + 1);
        rounds.closeCommits(round);
        orphaned(round, replacementRequested(1));
        round = revealed(orgs);
        orphaned(round, replacementRequested(1));
        round = revealed(orgs);
        judge(round);
        orphaned(round, replacementRequested(1));
        vm.assertEq(uint256(members.member(orgs[0]).bond), BOND);
    }

    function replacementRequested(uint256 i) private returns (WithdrawalId id) {
        vm.prank(orgs[i]);
        id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[i]);
        withdrawals.offer(id, RoundId.wrap(1), ids, points, MANIFEST);
        vm.prank(orgs[i]);
        withdrawals.ready(id);
    }

    function orphaned(RoundId round, WithdrawalId id) private {
        rounds.abandon(round);
        refold();
        check();
        withdrawals.close(id);
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(IRounds.State.Abandoned));
    }

    function test_a_round_abandoned_during_its_fold_leaves_the_head_free() public {
        again(Weights.Rule.Share, 4);
        playRound();
        RoundId round = revealed(orgs);
        judge(round);
        sumUp(NONE, round, 9);
        // A stranger opens the fold of the round with nothing, and then a removal comes.
        foldPiece(models.head(), 0);
        WithdrawalId id = remove(1);
        rounds.abandon(round);
        gone(1);
        withdrawals.close(id);
        playRound(some(0, 2));
    }

    // Parts

    function test_a_split_contribution_has_two_parts_each_with_its_sum() public {
        Weights.Rule[] memory split = new Weights.Rule[](2);
        (split[0], split[1]) = (Weights.Rule.Block, Weights.Rule.Share);
        delete orgs;
        delete auditorKeys;
        deployAll(split, false, 4);
        playRound();
        playRound(some(1, 2));
        remove(1);
        ModelId source = models.head();
        uint256 pieces = 1;
        while (foldPiece(source, 1)) ++pieces;
        vm.assertTrue(pieces > 2);
        gone(1);
        replace(2, 2);
        playRound(some(0, 3));
        check();
    }

    function test_folds_of_two_models_in_parts_end_in_any_order() public {
        Weights.Rule[] memory split = new Weights.Rule[](2);
        (split[0], split[1]) = (Weights.Rule.Block, Weights.Rule.Share);
        delete orgs;
        delete auditorKeys;
        deployAll(split, false, 4);
        playRound();
        ModelId first = models.head();
        vm.prank(aggregator);
        models.release(first);
        playRound();
        ModelId second = models.head();
        remove(1);
        // The first part of the first model, then all of the second, then the rest of the first.
        while (models.foldOf(first).part == 0) foldPiece(first, 1);
        foldAll(second);
        vm.assertEq(ModelId.unwrap(models.modelOf(models.head()).source), ModelId.unwrap(second));
        foldAll(first);
        ModelId last = ModelId.wrap(models.modelCount());
        vm.assertEq(ModelId.unwrap(models.modelOf(last).source), ModelId.unwrap(first));
        gone(1);
    }

    function test_members_with_high_numbers_stay_in_a_model_whose_last_round_had_none_of_them() public {
        again(Weights.Rule.Block, 260);
        playRound(some(1, 258));
        playRound(some(1));
        vm.assertTrue(holds(models.head(), orgs[258]));
        WithdrawalId id = remove(258);
        vm.assertTrue(models.isStale(models.head()));
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotFolded.selector, id));
        withdrawals.close(id);
        gone(258);
    }
}
