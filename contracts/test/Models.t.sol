// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Models} from "../src/Models.sol";
import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Curve} from "../src/libraries/Curve.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

contract ModelsTest is Fixture {
    OfferId private constant NONE = OfferId.wrap(0);

    function setUp() public {
        deployAll(Weights.Rule.Block, 4);
    }

    function judged() private returns (RoundId round) {
        round = revealed(orgs);
        judge(round);
    }

    function pointBy(RoundId round, uint256 organization) private returns (bytes memory points) {
        (, points) = contributionOf(round, orgs[organization]);
    }

    function remove(uint256 organization) private returns (WithdrawalId) {
        vm.prank(orgs[organization]);
        return withdrawals.request(IWithdrawals.Method.Removal);
    }

    function wrongPoint(bytes memory given, bytes memory wanted) private {
        vm.expectRevert(abi.encodeWithSelector(IModels.WrongPoint.selector, keccak256(given), keccak256(wanted)));
    }

    // Deployment

    function test_a_chain_without_the_precompile_is_refused() public {
        // There a call of 0x0c returns nothing, as a call of an address without code does.
        vm.mockCall(address(0x0c), new bytes(160), "");
        vm.expectRevert(abi.encodeWithSelector(Curve.NoPrecompile.selector));
        this.deployed();
        vm.clearMockedCalls();
        vm.assertEq(this.deployed().modelCount(), 0);
    }

    /// @dev An external call: with dynamic_test_linking forge ends a test at the first creation that reverts as expected.
    function deployed() external returns (Models) {
        return new Models(members, rounds, address(withdrawals), replays, rules, false);
    }

    // Sums of a round

    function test_a_sum_takes_the_points_in_order_each_once() public {
        RoundId round = judged();
        bytes memory none = new bytes(128);
        bytes memory first = pointBy(round, 0);
        bytes memory second = pointBy(round, 1);
        bytes memory third = pointBy(round, 2);
        // Skips the first, repeats it, sends something else, starts from something else.
        wrongPoint(second, first);
        models.sum(NONE, round, none, second);
        wrongPoint(first, second);
        models.sum(NONE, round, none, bytes.concat(first, first));
        bytes memory other = multiple(5);
        wrongPoint(other, first);
        models.sum(NONE, round, none, other);
        wrongPoint(second, none);
        models.sum(NONE, round, second, first);
        vm.expectRevert(abi.encodeWithSelector(Curve.WrongLength.selector, 127));
        models.sum(NONE, round, none, new bytes(127));
        learnSum(none, bytes.concat(first, second));
        models.sum(NONE, round, none, bytes.concat(first, second));
        (, uint16 done, PointHash carried) = models.summedOf(NONE, round);
        vm.assertEq(done, 2);
        bytes memory so = pointOf[PointHash.unwrap(carried)];
        // The next piece repeats one, skips one, has too many, or starts over.
        wrongPoint(second, third);
        models.sum(NONE, round, so, second);
        bytes memory fourth = pointBy(round, 3);
        wrongPoint(fourth, third);
        models.sum(NONE, round, so, fourth);
        wrongPoint(none, so);
        models.sum(NONE, round, none, third);
        bytes memory rest = bytes.concat(third, fourth);
        vm.expectRevert(abi.encodeWithSelector(IModels.TooManyPoints.selector, 3, 2));
        models.sum(NONE, round, so, bytes.concat(rest, first));
        models.sum(NONE, round, so, rest);
        vm.expectRevert(abi.encodeWithSelector(IModels.SumComplete.selector, round));
        models.sum(NONE, round, none, first);
    }

    function test_only_a_judged_round_is_summed() public {
        bytes memory none = new bytes(128);
        vm.expectRevert(abi.encodeWithSelector(IModels.WrongState.selector, 1));
        models.sum(NONE, RoundId.wrap(1), none, "");
        RoundId round = revealed(orgs);
        vm.expectRevert(abi.encodeWithSelector(IModels.WrongState.selector, round));
        models.sum(NONE, round, none, "");
        vm.expectRevert(abi.encodeWithSelector(IModels.WrongState.selector, round));
        models.sum(OfferId.wrap(3), round, none, "");
    }

    // Folds

    function test_a_fold_takes_the_points_of_its_terms_in_order() public {
        playRound();
        playRound();
        remove(1);
        ModelId source = models.head();
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(source, 0))];
        bytes memory first = pointBy(RoundId.wrap(1), 1);
        bytes memory second = pointBy(RoundId.wrap(2), 1);
        wrongPoint(second, first);
        models.fold(source, start, second);
        wrongPoint(first, second);
        models.fold(source, start, bytes.concat(first, first));
        wrongPoint(first, start);
        models.fold(source, first, first);
        vm.expectRevert(abi.encodeWithSelector(IModels.TooManyPoints.selector, 3, 2));
        models.fold(source, start, bytes.concat(first, second, second));
        foldPiece(source, 1);
        vm.assertEq(models.foldOf(source).row, 2);
        // A point that was folded already is not folded again.
        bytes memory so = pointOf[PointHash.unwrap(models.foldOf(source).carried)];
        wrongPoint(first, second);
        models.fold(source, so, first);
        models.fold(source, so, second);
        check();
    }

    function test_an_empty_piece_changes_nothing() public {
        playRound();
        remove(1);
        ModelId source = models.head();
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(source, 0))];
        models.fold(source, start, "");
        models.fold(source, start, "");
        foldAll(source);
        check();
    }

    function test_there_is_nothing_to_fold_without_an_amendment_or_a_summed_round() public {
        ModelId base = models.head();
        vm.expectRevert(abi.encodeWithSelector(IModels.NothingToFold.selector, base));
        models.fold(base, new bytes(128), "");
        RoundId round = judged();
        vm.expectRevert(abi.encodeWithSelector(IModels.NothingToFold.selector, base));
        models.fold(base, new bytes(128), "");
        sumUp(NONE, round, 3);
        foldAll(base);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotInUse.selector, base));
        models.foldOf(base);
        ModelId head = models.head();
        vm.expectRevert(abi.encodeWithSelector(IModels.NothingToFold.selector, head));
        models.foldOf(head);
    }

    function test_a_model_that_was_retired_during_its_fold_stays_out_of_use() public {
        playRound();
        ModelId old = models.head();
        vm.prank(aggregator);
        models.release(old);
        playRound();
        remove(1);
        models.fold(old, pointOf[PointHash.unwrap(models.commitmentOf(old, 0))], "");
        vm.prank(aggregator);
        models.retire(old);
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(old, 0))];
        bytes memory point = pointBy(RoundId.wrap(1), 1);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotInUse.selector, old));
        models.fold(old, start, point);
        refold();
        vm.assertEq(models.modelsInUse().length, 1);
    }

    function test_steps_without_points_are_passed_in_pieces() public {
        maxRounds = 400;
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Block, 2);
        playRound();
        for (uint256 i = 0; i < 300; ++i) {
            open();
            pass(PHASE + 1);
            rounds.closeCommits(rounds.currentRound());
        }
        playRound(some(1));
        remove(0);
        ModelId source = models.head();
        uint256 pieces = 1;
        while (foldPiece(source, 1)) ++pieces;
        vm.assertEq(pieces, 3);
        check();
    }

    // Models in use

    function test_only_the_aggregator_releases_and_retires() public {
        playRound();
        ModelId head = models.head();
        vm.expectRevert(abi.encodeWithSelector(IModels.NotAggregator.selector, address(this)));
        models.release(head);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotAggregator.selector, address(this)));
        models.retire(head);
    }

    function test_only_a_head_that_is_not_stale_is_released() public {
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotInUse.selector, 0));
        models.release(ModelId.wrap(0));
        vm.stopPrank();
        playRound();
        playRound();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotInUse.selector, 1));
        models.release(ModelId.wrap(1));
        remove(0);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.IsStale.selector, 2));
        models.release(ModelId.wrap(2));
        refold();
        vm.prank(aggregator);
        models.release(ModelId.wrap(3));
        vm.assertTrue(models.modelOf(ModelId.wrap(3)).released);
    }

    function test_a_model_with_unattested_rounds_is_not_released() public {
        attested = true;
        delete orgs;
        delete auditorKeys;
        deployAll(Weights.Rule.Share, 2);
        RoundId round = playRound();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotAttested.selector, round));
        models.release(ModelId.wrap(1));
    }

    function test_at_most_sixteen_models_are_in_use() public {
        for (uint256 i = 0; i < 15; ++i) {
            playRound(some(0));
            ModelId head = models.head();
            vm.prank(aggregator);
            models.release(head);
        }
        playRound(some(0));
        vm.assertEq(models.modelsInUse().length, 16);
        ModelId last = models.head();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.TooManyInUse.selector, 16));
        models.release(last);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.IsHead.selector, last));
        models.retire(last);
        vm.prank(aggregator);
        models.retire(ModelId.wrap(3));
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotInUse.selector, 3));
        models.retire(ModelId.wrap(3));
        vm.prank(aggregator);
        models.release(last);
    }

    function test_anyone_states_which_files_a_model_is() public {
        playRound();
        models.publish(ModelId.wrap(1), SALT, EVIDENCE);
        vm.expectRevert(abi.encodeWithSelector(IModels.UnknownModel.selector, 2));
        models.publish(ModelId.wrap(2), SALT, EVIDENCE);
    }

    // Calls of other contracts

    function test_only_the_other_contracts_amend() public {
        bytes memory refusal = abi.encodeWithSelector(IModels.NotWithdrawals.selector, address(this));
        bytes memory point = multiple(3);
        vm.expectRevert(refusal);
        models.exclude(MemberId.wrap(0));
        vm.expectRevert(refusal);
        models.amend(IModels.Kind.Replacement, MemberId.wrap(0), WithdrawalId.wrap(1), RoundId.wrap(1));
        vm.expectRevert(refusal);
        models.register(OfferId.wrap(1), RoundId.wrap(1), MemberId.wrap(0), new bytes32[](1), point, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotReplays.selector, address(this)));
        models.amendByReplay(OfferId.wrap(1), RoundId.wrap(1), RoundId.wrap(1), 0);
    }

    // Queries

    function test_an_unknown_model_is_not_clean() public {
        playRound();
        bytes memory refusal = abi.encodeWithSelector(IModels.UnknownModel.selector, 2);
        vm.expectRevert(refusal);
        models.isClean(ModelId.wrap(2), MemberId.wrap(0));
        vm.expectRevert(refusal);
        models.contentOf(ModelId.wrap(2), 0, 0, 9);
        vm.expectRevert(refusal);
        models.modelOf(ModelId.wrap(2));
    }

    function test_content_is_answered_in_pages_that_end_within_a_round() public {
        playRound();
        playRound(some(1, 2));
        playRound(some(0));
        ModelId model = ModelId.wrap(3);
        (IModels.Entry[] memory page, uint64 next) = models.contentOf(model, 0, 0, 3);
        // The row of counter-deltas counts, too.
        vm.assertEq(page.length, 2);
        vm.assertEq(next, 1 << 32 | 2);
        (page, next) = models.contentOf(model, 0, next, 4);
        vm.assertEq(page.length, 3);
        vm.assertEq(uint256(MemberId.unwrap(page[0].member)), 2);
        vm.assertEq(uint256(MemberId.unwrap(page[2].member)), 1);
        vm.assertEq(PointHash.unwrap(page[2].point), keccak256(pointBy(RoundId.wrap(2), 1)));
        vm.assertEq(next, 2 << 32 | 2);
        (page, next) = models.contentOf(model, 0, next, 100);
        vm.assertEq(page.length, 2);
        vm.assertEq(uint256(RoundId.unwrap(page[1].round)), 3);
        vm.assertEq(next, 0);
    }

    function test_the_content_is_the_same_in_pages_of_any_size() public {
        Weights.Rule[] memory both = new Weights.Rule[](2);
        (both[0], both[1]) = (Weights.Rule.Block, Weights.Rule.Latest);
        deployAgain(both, 5);
        playRound();
        playRound(some(1, 4));
        counterTrain(2);
        counterTrain(2);
        remove(3);
        counterTrain(0);
        refold();
        ModelId head = models.head();
        for (uint256 part = 0; part < 2; ++part) {
            (IModels.Entry[] memory whole, uint64 end) = models.contentOf(head, part, 0, 100);
            vm.assertEq(whole.length, part == 0 ? 9 : 4);
            vm.assertEq(end, 0);
            for (uint64 size = 1; size <= 12; ++size) {
                isWhole(head, part, size, whole);
            }
        }
    }

    function isWhole(ModelId model, uint256 part, uint64 size, IModels.Entry[] memory whole) private view {
        uint256 place = 0;
        uint64 next = 0;
        do {
            IModels.Entry[] memory page;
            (page, next) = models.contentOf(model, part, next, size);
            vm.assertLe(page.length, size);
            for (uint256 i = 0; i < page.length; ++i) {
                vm.assertEq(keccak256(abi.encode(page[i])), keccak256(abi.encode(whole[place++])));
            }
        } while (next != 0);
        vm.assertEq(place, whole.length);
    }

    function deployAgain(Weights.Rule[] memory rules_, uint256 organizations) private {
        delete orgs;
        delete auditorKeys;
        deployAll(rules_, false, organizations);
    }

    function counterTrain(uint256 organization) private {
        vm.prank(orgs[organization]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.CounterTraining);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[organization]);
        withdrawals.offer(id, RoundId.wrap(0), ids, points, MANIFEST);
        vm.prank(orgs[organization]);
        withdrawals.ready(id);
        refold();
        attest(id, models.head());
        withdrawals.close(id);
    }

    function test_models_that_hold_a_member_are_listed_in_pages() public {
        playRound(some(0));
        playRound(some(1));
        playRound(some(0));
        remove(1);
        refold();
        (ModelId[] memory ids, ModelId next) = models.modelsContaining(MemberId.wrap(1), ModelId.wrap(0), 2);
        vm.assertEq(ids.length, 1);
        vm.assertEq(ModelId.unwrap(ids[0]), 2);
        vm.assertEq(ModelId.unwrap(next), 3);
        (ids, next) = models.modelsContaining(MemberId.wrap(1), next, 9);
        vm.assertEq(ids.length, 1);
        vm.assertEq(ModelId.unwrap(ids[0]), 3);
        vm.assertEq(ModelId.unwrap(next), 0);
        vm.assertTrue(models.isClean(ModelId.wrap(4), MemberId.wrap(1)));
    }

    function test_amendments_that_do_not_concern_a_model_are_looked_at_once() public {
        deployAgain(rules, 40);
        playRound(some(0, 1));
        uint256 atFirst = gasOfStale();
        for (uint256 i = 2; i < 40; ++i) {
            WithdrawalId id = remove(i);
            if (i != 30) withdrawals.close(id);
        }
        // The first look at the last model that was in use when they were closed is the last.
        vm.assertLt(gasOfStale(), atFirst + 5_000);
        remove(1);
        vm.assertEq(models.foldOf(ModelId.wrap(1)).amendment, 39);
        vm.assertTrue(models.settle(38));
        vm.assertFalse(models.settle(39));
        refold();
        vm.assertTrue(models.settle(39));
        withdrawals.close(WithdrawalId.wrap(29));
        check();
    }

    function test_nothing_is_settled_of_amendments_that_are_not_made_yet() public {
        playRound();
        remove(0);
        vm.assertFalse(models.settle(2));
        vm.assertFalse(models.settle(1));
        refold();
        vm.assertTrue(models.settle(1));
        remove(1);
        vm.assertTrue(models.isStale(models.head()));
    }

    function gasOfStale() private view returns (uint256) {
        uint256 before = gasleft();
        vm.assertFalse(models.isStale(ModelId.wrap(1)));
        return before - gasleft();
    }
}
