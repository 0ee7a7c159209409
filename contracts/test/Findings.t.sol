// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "../src/Types.sol";
import {IAnchors} from "../src/interfaces/IAnchors.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRewards} from "../src/interfaces/IRewards.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Attacks of a security review, each of which fails now.
contract FindingsTest is Fixture {
    OfferId private constant NONE = OfferId.wrap(0);

    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
    }

    function again(Weights.Rule rule) private {
        delete orgs;
        delete auditorKeys;
        deployAll(rule, 3);
    }

    function request(uint256 i, IWithdrawals.Method method) private returns (WithdrawalId) {
        vm.prank(orgs[i]);
        return withdrawals.request(method);
    }

    function replacement(uint256 i, uint64 round) private returns (WithdrawalId id) {
        vm.prank(orgs[i]);
        id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.startPrank(orgs[i]);
        withdrawals.offer(id, RoundId.wrap(round), ids, points, MANIFEST);
        withdrawals.ready(id);
        vm.stopPrank();
    }

    // C4, C4b: a member's point that opens to no short part changes only what is the member's own.
    function test_C4_every_contribution_stays_its_members_own() public {
        playRound();
        playRound(some(2));
        request(1, IWithdrawals.Method.Removal);
        refold();
        check();
        (IModels.Entry[] memory content,) = models.contentOf(models.head(), 0, 0, 100);
        for (uint256 i = 0; i < content.length; ++i) {
            vm.assertTrue(MemberId.unwrap(content[i].member) != 1);
        }
        // And with the member that lied, all that it registered goes.
        request(2, IWithdrawals.Method.Removal);
        refold();
        check();
        (content,) = models.contentOf(models.head(), 0, 0, 100);
        vm.assertEq(content.length, 1);
    }

    // C4b: where a point without an opening cannot be seen on chain, its model earns and is released only once auditors
    // attested it, and removing its member repairs the model.
    function test_C4b_a_model_with_a_point_without_an_opening_is_worth_nothing_and_can_be_repaired() public {
        attested = true;
        again(Weights.Rule.Share);
        RoundId[] memory one = new RoundId[](1);
        one[0] = playRound();
        ModelId head = models.head();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(IModels.NotAttested.selector, one[0]));
        models.release(head);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IRewards.NotAttested.selector, one[0]));
        rewards.claim(one);
        vm.prank(address(governance));
        withdrawals.expel(orgs[1]);
        refold();
        check();
        vm.assertFalse(holds(models.head(), orgs[1]));
    }

    // C1: an offer that opens to nothing delays no one, and pays no one.
    function test_C1_an_offer_that_opens_to_nothing_pays_no_one() public {
        playRound();
        uint256 before = orgs[0].balance;
        WithdrawalId id = replacement(0, 1);
        pass(PREPARATION + ATTESTATION);
        refold();
        check();
        withdrawals.close(id);
        vm.assertEq(orgs[0].balance, before);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
        open();
    }

    // C1b: an aggregator answers for the rounds that it opened, and for no others.
    function test_C1b_a_successor_does_not_pay_for_its_predecessor() public {
        RoundId round = open();
        for (uint256 i = 0; i < 2; ++i) {
            vm.prank(orgs[i]);
            rounds.reportUnavailable(round);
        }
        address next = address(0xBEE5);
        vm.prank(address(governance));
        members.setAggregator(next);
        vm.deal(next, AGGREGATOR_BOND);
        vm.prank(next);
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
        pass(PHASE + 1);
        rounds.closeCommits(round);
        vm.assertEq(members.aggregatorBondOf(next), AGGREGATOR_BOND);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND / 2);
    }

    // C2: only the organization of a withdrawal offers for it.
    function test_C2_no_one_else_offers_for_a_withdrawal() public {
        playRound();
        playRound();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replay);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOrganization.selector, orgs[1]));
        withdrawals.offer(id, RoundId.wrap(2), ids, points, MANIFEST);
    }

    // C3: two models in use, one without the round: every other withdrawal and every round goes on.
    function test_C3_a_replacement_stops_no_one() public {
        playRound();
        vm.prank(aggregator);
        models.release(ModelId.wrap(1));
        playRound();
        replacement(0, 2);
        WithdrawalId victim = request(1, IWithdrawals.Method.Removal);
        foldAll(ModelId.wrap(1));
        refold();
        check();
        withdrawals.close(victim);
        open();
        pass(EXIT);
        vm.prank(orgs[1]);
        members.reclaimBond();
    }

    // C5: a fingerprint that another member registered first blocks no one.
    function test_C5_a_registered_fingerprint_blocks_no_one() public {
        address clinic = address(0x5EED);
        vm.prank(address(governance));
        members.admit(clinic, "clinic");
        vm.prank(orgs[2]);
        members.setFingerprint(EVIDENCE, PROOF);
        vm.deal(clinic, BOND);
        vm.prank(clinic);
        members.join{value: BOND}(EVIDENCE, PROOF);
        vm.assertEq(members.fingerprintOf(clinic), EVIDENCE);
    }

    // C6: a fold that takes long keeps its progress.
    function test_C6_a_long_fold_keeps_its_progress() public {
        again(Weights.Rule.Share);
        for (uint256 i = 0; i < 3; ++i) {
            playRound();
        }
        request(0, IWithdrawals.Method.Removal);
        ModelId head = models.head();
        while (foldPiece(head, 1)) pass(365 days);
        check();
    }

    // C7: there are no claims, so none is free and none pays. A wrong sum is refused.
    function test_C7_a_wrong_sum_is_refused() public {
        playRound();
        request(0, IWithdrawals.Method.Removal);
        ModelId head = models.head();
        bytes memory start = pointOf[PointHash.unwrap(models.commitmentOf(head, 0))];
        vm.expectPartialRevert(IModels.WrongPoint.selector);
        models.fold(head, start, start);
    }

    // C8: who was counter-trained can be removed.
    function test_C8_a_removal_after_a_counter_training() public {
        playRound();
        WithdrawalId id = request(0, IWithdrawals.Method.CounterTraining);
        (bytes32[] memory ids, bytes memory points) = fresh();
        vm.startPrank(orgs[0]);
        withdrawals.offer(id, RoundId.wrap(0), ids, points, MANIFEST);
        withdrawals.ready(id);
        vm.stopPrank();
        refold();
        attest(id, models.head());
        withdrawals.close(id);
        request(0, IWithdrawals.Method.Removal);
        refold();
        vm.assertFalse(holds(models.head(), orgs[0]));
    }

    // C9: in a replay no one offers for a round that is not being trained again.
    function test_C9_no_one_offers_for_another_round_of_a_replay() public {
        again(Weights.Rule.Share);
        for (uint256 i = 0; i < 3; ++i) {
            playRound();
        }
        vm.prank(orgs[0]);
        withdrawals.request{value: 2 * PRICE}(IWithdrawals.Method.Replay);
        refold();
        replays.start();
        (bytes32[] memory ids, bytes memory points) = fresh();
        for (uint64 n = 1; n <= 3; n += 2) {
            vm.prank(orgs[1]);
            vm.expectRevert(abi.encodeWithSelector(IReplays.WrongRound.selector, RoundId.wrap(n), RoundId.wrap(2)));
            replays.offer(RoundId.wrap(n), ids, points, MANIFEST);
        }
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IReplays.NotExpected.selector, RoundId.wrap(2), orgs[0]));
        replays.offer(RoundId.wrap(2), ids, points, MANIFEST);
    }

    // C10: an admission can be revoked, and a status tells who is out.
    function test_C10_an_admission_can_be_revoked() public {
        vm.startPrank(address(governance));
        members.admit(address(0x5EED), "clinic");
        members.revokeAdmission(address(0x5EED));
        withdrawals.expel(orgs[0]);
        vm.stopPrank();
        vm.assertEq(uint8(members.statusOf(address(0x5EED))), uint8(IMembers.Status.None));
        vm.assertFalse(members.mayContribute(orgs[0]));
    }

    // C11: neither number of a stated budget may fall.
    function test_C11_a_stated_delta_does_not_fall() public {
        vm.startPrank(orgs[0]);
        anchors.stateSpent(5, 1_000_000);
        vm.expectPartialRevert(IAnchors.BudgetShrunk.selector);
        anchors.stateSpent(5, 1);
        vm.stopPrank();
    }

    // C12: a member that waits for a replay can be removed instead, by its own call.
    function test_C12_a_requester_can_fall_back_to_its_removal() public {
        again(Weights.Rule.Share);
        playRound();
        playRound();
        vm.prank(orgs[0]);
        WithdrawalId id = withdrawals.request{value: PRICE}(IWithdrawals.Method.Replay);
        vm.prank(orgs[0]);
        withdrawals.convert(id);
        vm.assertEq(replays.refundOf(orgs[0]), PRICE);
        refold();
        withdrawals.close(id);
    }

    // C13: bonds of everyone and the pool come out once all are gone.
    function test_C13_no_money_is_stuck_once_everyone_left() public {
        playRound();
        vm.prank(aggregator);
        members.resignAggregator();
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.resign();
        }
        pass(EXIT);
        vm.prank(aggregator);
        members.reclaimAggregatorBond();
        for (uint256 i = 0; i < 3; ++i) {
            vm.prank(orgs[i]);
            members.reclaimBond();
        }
        rewards.sweep();
        vm.assertEq(address(members).balance + address(rewards).balance, 0);
    }

    receive() external payable {}

    // C17: a fold that stands still pays no one, and no one can demand it.
    function test_C17_a_fold_that_stands_still_pays_no_one() public {
        playRound();
        uint256 before = aggregator.balance + anyone.balance + orgs[0].balance;
        WithdrawalId id = request(0, IWithdrawals.Method.Removal);
        foldPiece(models.head(), 0);
        pass(365 days);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Effective));
        withdrawals.escalate(id);
        refold();
        withdrawals.close(id);
        vm.assertEq(aggregator.balance + anyone.balance + orgs[0].balance, before);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
    }

    // C16: there is no compensation for anyone who is expelled.
    function test_C16_the_expelled_is_paid_nothing() public {
        playRound();
        uint256 before = orgs[0].balance;
        vm.prank(address(governance));
        WithdrawalId id = withdrawals.expel(orgs[0]);
        pass(365 days);
        refold();
        withdrawals.close(id);
        vm.assertEq(orgs[0].balance, before);
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
    }
}
