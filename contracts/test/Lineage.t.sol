// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Digests} from "../src/libraries/Digests.sol";
import {Vm} from "./Cheats.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Steps that both ways to prove share.
abstract contract LineageFixture is Fixture {
    /// @dev Claims a round whose sum or model is off by one residue.
    function claimWrong(bool inModel) internal returns (uint64 round, bytes32 right) {
        round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        right = inModel ? adapter.digestRoot : sum.digestRoot;
        Sparse memory wrong = known[right];
        wrong.low = wrong.low % 2 == 0 ? wrong.low + 1 : wrong.low - 1;
        if (inModel) adapter.digestRoot = learn(wrong);
        else sum.digestRoot = learn(wrong);
        claimAs(round, list, sum, adapter);
    }

    function claimAs(
        uint64 round,
        ILineage.Contribution[] memory list,
        ILineage.Delta memory sum,
        ILineage.Delta memory adapter
    ) internal {
        IRounds.Rejection[] memory rejected = rejectable(round);
        vm.prank(aggregator);
        rounds.aggregate(round, list, rejected, sum, adapter);
        claimedFor = 0;
    }

    /// @dev Two models in use: one of the first round, released, and the head of both.
    function releaseOne() internal {
        runRound();
        vm.prank(aggregator);
        lineage.release(1);
        runRound();
    }

    function challengeAt(uint256 index) internal {
        (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(index);
        vm.prank(anyone);
        lineage.challenge(index, words, siblings);
    }
}

contract LineageTest is LineageFixture {
    function setUp() public {
        deployAll(false, 0, 3);
    }

    function test_aModelIsProvenByItsDigests() public {
        runRound();
        runRound();
        vm.assertEq(lineage.head(), 2);
        vm.assertEq(lineage.model(2).parent, 1);
        assertModelAddsUp(1);
        assertModelAddsUp(2);
        vm.assertEq(rootOf(target(2, 0)), lineage.model(2).digestRoot);
        (ILineage.Part[] memory parts, uint64 next) = lineage.contentOf(2, 0, 3);
        vm.assertEq(parts.length, 3);
        vm.assertEq(next, 2);
        (parts, next) = lineage.contentOf(2, 2, 100);
        vm.assertEq(parts.length, 3);
        vm.assertEq(next, 0);
    }

    function test_aWrongAggregateIsRefused() public {
        (, bytes32 right) = claimWrong(false);
        bytes32 claimed = lineage.claim().aggregateRoot;
        _proofRefused(abi.encodeWithSelector(ILineage.SumMismatch.selector, right, claimed));
    }

    function test_aWrongModelIsRefused() public {
        (, bytes32 right) = claimWrong(true);
        bytes32 claimed = lineage.claim().digestRoot;
        _proofRefused(abi.encodeWithSelector(ILineage.SumMismatch.selector, right, claimed));
    }

    function test_aDigestOfAnotherDeltaIsRefused() public {
        aggregate(toRevealed());
        bytes[] memory digests = termBytes();
        (digests[0], digests[1]) = (digests[1], digests[0]);
        bytes32 required = lineage.termsAt(0)[0].digestRoot;
        bytes32 found = lineage.termsAt(0)[1].digestRoot;
        bytes memory source = sourceBytes();
        vm.expectRevert(abi.encodeWithSelector(ILineage.WrongDigest.selector, found, required));
        lineage.prove("", digests, source);
    }

    function test_aDigestOfAnotherSourceIsRefused() public {
        runRound();
        aggregate(toRevealed());
        bytes[] memory digests = termBytes();
        bytes memory other = digests[0];
        bytes32 found = lineage.termsAt(0)[0].digestRoot;
        bytes32 required = lineage.model(1).digestRoot;
        vm.expectRevert(abi.encodeWithSelector(ILineage.WrongDigest.selector, found, required));
        lineage.prove("", digests, other);
    }

    function test_aDigestThatIsNotCanonicalIsRefused() public {
        uint64 round = open();
        Sparse memory wrong = Sparse(P1, 0);
        ILineage.Delta memory delta = ILineage.Delta(SALT, learn(wrong));
        bytes32 hash = commitment(round, orgs[0], delta);
        vm.prank(orgs[0]);
        rounds.commit(round, hash);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[0]);
        rounds.reveal(round, delta.artifactId, delta.digestRoot, MANIFEST, SALT);
        rounds.closeReveals(round);
        aggregate(round);
        _proofRefused(abi.encodeWithSelector(Digests.NotCanonical.selector));
    }

    function test_moreDigestsThanTermsAreRefused() public {
        aggregate(toRevealed());
        bytes[] memory digests = new bytes[](4);
        bytes[] memory right = termBytes();
        for (uint256 i = 0; i < 4; ++i) {
            digests[i] = right[i % 3];
        }
        bytes memory source = sourceBytes();
        vm.expectRevert(abi.encodeWithSelector(ILineage.TooManyDigests.selector, 4, 3));
        lineage.prove("", digests, source);
    }

    function testFuzz_aProofInSeveralTransactionsMakesTheSameModel(uint8 first, uint8 second) public {
        runRound();
        aggregate(toRevealed());
        bytes32 claimed = lineage.claim().digestRoot;
        bytes[] memory digests = termBytes();
        bytes memory source = sourceBytes();
        uint256 start = 0;
        int256[16] memory sum;
        bytes memory carried;
        for (uint256 part = 0; part < 2; ++part) {
            uint256 count = (part == 0 ? first : second) % (digests.length - start + 1);
            bytes[] memory some = _slice(digests, start, count);
            for (uint256 i = start; i < start + count; ++i) {
                add(sum, lineage.termsAt(0)[i].digestRoot, 10_000);
            }
            lineage.prove(carried, some, "");
            carried = bytesOf(learn(reduced(sum)));
            start += count;
        }
        lineage.prove(carried, _slice(digests, start, digests.length - start), source);
        vm.assertEq(lineage.model(lineage.head()).digestRoot, claimed);
        assertModelAddsUp(lineage.head());
    }

    function test_aWrongCarriedSumIsRefused() public {
        aggregate(toRevealed());
        bytes[] memory digests = termBytes();
        bytes memory wrong = digests[2];
        vm.expectRevert(abi.encodeWithSelector(ILineage.WrongCarry.selector, keccak256(wrong), bytes32(0)));
        lineage.prove(wrong, digests, "");
        lineage.prove("", _slice(digests, 0, 1), "");
        bytes32 carried = lineage.claim().carried;
        bytes[] memory rest = _slice(digests, 1, 2);
        bytes memory source = sourceBytes();
        vm.expectRevert(abi.encodeWithSelector(ILineage.WrongCarry.selector, keccak256(wrong), carried));
        lineage.prove(wrong, rest, source);
        vm.expectRevert(abi.encodeWithSelector(ILineage.WrongCarry.selector, keccak256(""), carried));
        lineage.prove("", rest, source);
    }

    function test_aSourceBeforeAllTermsEndsNothing() public {
        aggregate(toRevealed());
        bytes[] memory digests = termBytes();
        lineage.prove("", _slice(digests, 0, 2), sourceBytes());
        vm.assertTrue(lineage.claim().open);
        vm.assertEq(lineage.claim().place, 2);
    }

    function test_onlyOneClaimIsOpen() public {
        runRound();
        requestAs(orgs[2], ILineage.Kind.Removal);
        aggregate(toRevealed());
        ILineage.Delta memory adapter = successor(1, 1);
        bytes[] memory none = new bytes[](0);
        vm.prank(aggregator);
        vm.expectRevert(ILineage.ClaimPending.selector);
        withdrawals.carryOut(1, 1, adapter, 0, none);
        finish();
        uint64 round = toRevealed();
        claimSuccessor(1, 2);
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory next) = sumOf(list);
        vm.prank(aggregator);
        vm.expectRevert(ILineage.ClaimPending.selector);
        rounds.aggregate(round, list, new IRounds.Rejection[](0), sum, next);
    }

    function test_aClaimNamesASumAndAModel() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        IRounds.Rejection[] memory none = new IRounds.Rejection[](0);
        vm.startPrank(aggregator);
        vm.expectRevert(ILineage.EmptyValue.selector);
        rounds.aggregate(round, list, none, ILineage.Delta(SALT, 0), ILineage.Delta(SALT, SALT));
        vm.expectRevert(ILineage.EmptyValue.selector);
        rounds.aggregate(round, list, none, ILineage.Delta(SALT, SALT), ILineage.Delta(0, SALT));
        vm.stopPrank();
    }

    function test_aCheckedConsortiumHasNoWindow() public {
        aggregate(toRevealed());
        vm.expectRevert(ILineage.MustProve.selector);
        lineage.settle();
        vm.expectRevert(ILineage.NotOptimistic.selector);
        lineage.demandProof{value: DEPOSIT}();
        vm.expectRevert(ILineage.NotOptimistic.selector);
        lineage.challenge(0, new bytes32[](0), new bytes32[9][](0));
    }

    function test_withoutAClaimThereIsNothingToDo() public {
        vm.expectRevert(ILineage.NoClaim.selector);
        lineage.settle();
        vm.expectRevert(ILineage.NoClaim.selector);
        lineage.dropUnproven();
        vm.expectRevert(ILineage.NoClaim.selector);
        lineage.stepCount();
        vm.expectRevert(ILineage.NoClaim.selector);
        lineage.termsAt(0);
    }

    function test_onlyTheOtherContractsRegisterAndClaim() public {
        ILineage.Delta memory delta = ILineage.Delta(SALT, SALT);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotRounds.selector, address(this)));
        lineage.registerDelta(orgs[0], SALT, SALT);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotRounds.selector, address(this)));
        lineage.claimRound(1, new ILineage.Contribution[](0), delta, delta, 0);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotWithdrawals.selector, address(this)));
        lineage.offer(1, ILineage.Kind.Replay, 1, orgs[0], delta);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotWithdrawals.selector, address(this)));
        lineage.claimAmendment(1, ILineage.Kind.Removal, orgs[0], true, 1, delta);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotAggregator.selector, address(this)));
        lineage.release(1);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotAggregator.selector, address(this)));
        lineage.retire(1);
    }

    function test_aReleasedModelStaysInUseUntilItIsRetired() public {
        releaseOne();
        vm.assertEq(lineage.modelsInUse().length, 2);
        vm.assertTrue(lineage.model(1).inUse);
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.IsHead.selector, 2));
        lineage.retire(2);
        lineage.retire(1);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotInUse.selector, 1));
        lineage.retire(1);
        vm.stopPrank();
        vm.assertFalse(lineage.model(1).inUse);
    }

    function test_onlyTheHeadIsReleased() public {
        vm.startPrank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotInUse.selector, 0));
        lineage.release(0);
        vm.stopPrank();
        releaseOne();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotInUse.selector, 1));
        lineage.release(1);
    }

    function test_noMoreModelsAreInUseThanCanBeReplaced() public {
        for (uint64 i = 1; i <= 16; ++i) {
            runRound();
            if (i == 16) continue;
            vm.prank(aggregator);
            lineage.release(i);
        }
        vm.assertEq(lineage.modelsInUse().length, 16);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.TooManyInUse.selector, 16));
        lineage.release(16);
        requestAs(orgs[0], ILineage.Kind.Removal);
        uint64[] memory inUse = lineage.modelsInUse();
        for (uint256 i = 0; i < 16; ++i) {
            carryOut(1, inUse[i]);
        }
        withdrawals.close(1);
        for (uint256 i = 0; i < 16; ++i) {
            vm.assertTrue(lineage.isClean(lineage.modelsInUse()[i], orgs[0]));
        }
    }

    function test_aModelWhoseSuccessorIsClaimedCannotBeRetired() public {
        releaseOne();
        requestAs(orgs[0], ILineage.Kind.Removal);
        claimSuccessor(1, 1);
        vm.prank(aggregator);
        vm.expectRevert(ILineage.ClaimPending.selector);
        lineage.retire(1);
        finish();
        assertModelAddsUp(3);
    }

    function test_unknownModelsAreRefused() public {
        vm.expectRevert(abi.encodeWithSelector(ILineage.UnknownModel.selector, 1));
        lineage.model(1);
        vm.expectRevert(abi.encodeWithSelector(ILineage.UnknownModel.selector, 1));
        lineage.isClean(1, orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.UnknownModel.selector, 1));
        lineage.contentOf(1, 0, 1);
    }

    function test_modelsWithAnOrganizationAreFoundPageByPage() public {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[1], orgs[2]);
        runRound(two);
        runRound();
        remove(orgs[0]);
        runRound();
        (uint64[] memory ids, uint64 next) = lineage.modelsContaining(orgs[0], 0, 3);
        vm.assertEq(ids.length, 1);
        vm.assertEq(ids[0], 2);
        vm.assertEq(next, 4);
        (ids, next) = lineage.modelsContaining(orgs[0], next, 3);
        vm.assertEq(ids.length, 0);
        vm.assertEq(next, 0);
        (ids,) = lineage.modelsContaining(orgs[1], 0, 100);
        vm.assertEq(ids.length, 4);
    }

    function test_aCopiedOfferCannotBlockAReveal() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], ILineage.Kind.CounterTraining);
        uint64 round = open();
        commitAs(round, orgs[1]);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        ILineage.Delta memory stolen = deltaOf(round, orgs[1]);
        vm.prank(orgs[0]);
        withdrawals.offer(id, 0, stolen, MANIFEST);
        revealAs(round, orgs[1]);
        vm.assertEq(members.member(orgs[1]).bond, BOND);
    }

    function test_anOfferedDeltaCannotBeRevealedInALaterRound() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], ILineage.Kind.Replacement);
        ILineage.Delta memory old = offerAs(orgs[0], id, 1);
        uint64 round = open();
        bytes32 hash = commitment(round, orgs[1], old);
        vm.prank(orgs[1]);
        rounds.commit(round, hash);
        vm.warp(clock() + PHASE + 1);
        rounds.closeCommits(round);
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.ArtifactSeenBefore.selector, old.artifactId));
        rounds.reveal(round, old.artifactId, old.digestRoot, MANIFEST, SALT);
    }

    function _proofRefused(bytes memory reason) private {
        bytes[] memory digests = termBytes();
        bytes memory source = sourceBytes();
        vm.expectRevert(reason);
        lineage.prove("", digests, source);
    }

    function _slice(bytes[] memory all, uint256 start, uint256 count) private pure returns (bytes[] memory some) {
        some = new bytes[](count);
        for (uint256 i = 0; i < count; ++i) {
            some[i] = all[start + i];
        }
    }
}

contract OptimisticLineageTest is LineageFixture {
    function setUp() public {
        deployAll(false, CHALLENGE, 3);
    }

    function test_aClaimSettlesOnceItsWindowHasPassed() public {
        uint64 round = toRevealed();
        aggregate(round);
        uint64 deadline = lineage.claim().deadline;
        vm.assertEq(deadline, clock() + CHALLENGE);
        vm.warp(deadline);
        vm.expectRevert(abi.encodeWithSelector(ILineage.WindowOpen.selector, deadline));
        lineage.settle();
        vm.warp(deadline + 1);
        vm.prank(anyone);
        lineage.settle();
        assertRound(round, IRounds.State.Final);
        assertModelAddsUp(1);
    }

    function test_aClaimMayBeProvenAtOnce() public {
        aggregate(toRevealed());
        proveInOne();
        vm.assertEq(lineage.head(), 1);
    }

    function test_aWrongAggregateIsChallengedInOneWord() public {
        _challenged(false);
    }

    function test_aWrongModelIsChallengedInOneWord() public {
        _challenged(true);
    }

    function test_aResidueThatIsNotCanonicalIsChallenged() public {
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory adapter) = sumOf(list);
        Sparse memory wrong = known[adapter.digestRoot];
        wrong.high |= 0xffffffff;
        adapter.digestRoot = learn(wrong);
        claimAs(round, list, sum, adapter);
        challengeAt(HIGH_WORD);
        assertRound(round, IRounds.State.Abandoned);
    }

    function test_aRightClaimWithstandsAChallenge() public {
        aggregate(toRevealed());
        uint256[3] memory places = [uint256(0), LOW_WORD, HIGH_WORD];
        for (uint256 i = 0; i < 3; ++i) {
            (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(places[i]);
            vm.expectRevert(ILineage.NoFraud.selector);
            lineage.challenge(places[i], words, siblings);
        }
    }

    function test_aWrongClaimIsRightInItsOtherWords() public {
        claimWrong(true);
        (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(HIGH_WORD);
        vm.expectRevert(ILineage.NoFraud.selector);
        lineage.challenge(HIGH_WORD, words, siblings);
    }

    function test_noClaimIsContestedAfterItsWindow() public {
        claimWrong(true);
        uint64 deadline = lineage.claim().deadline;
        (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(LOW_WORD);
        vm.warp(deadline + 1);
        vm.expectRevert(abi.encodeWithSelector(ILineage.WindowClosed.selector, deadline));
        lineage.challenge(LOW_WORD, words, siblings);
        vm.expectRevert(abi.encodeWithSelector(ILineage.WindowClosed.selector, deadline));
        lineage.demandProof{value: DEPOSIT}();
    }

    function test_anAnsweredDemandPaysTheAggregator() public {
        aggregate(toRevealed());
        vm.expectRevert(abi.encodeWithSelector(ILineage.WrongDeposit.selector, DEPOSIT - 1, DEPOSIT));
        lineage.demandProof{value: DEPOSIT - 1}();
        _demand();
        vm.warp(lineage.claim().deadline + 1);
        vm.expectRevert(ILineage.MustProve.selector);
        lineage.settle();
        proveInOne();
        vm.assertEq(members.compensation(aggregator), DEPOSIT);
        vm.assertEq(address(lineage).balance, 0);
        vm.assertEq(lineage.head(), 1);
    }

    function test_anUnansweredDemandDropsTheClaimAndSlashes() public {
        uint64 round = toRevealed();
        aggregate(round);
        _demand();
        uint64 deadline = lineage.claim().deadline;
        vm.expectRevert(abi.encodeWithSelector(ILineage.WindowClosed.selector, deadline));
        lineage.demandProof{value: DEPOSIT}();
        vm.expectRevert(abi.encodeWithSelector(ILineage.WindowOpen.selector, deadline));
        lineage.dropUnproven();
        vm.warp(deadline + 1);
        lineage.dropUnproven();
        assertRound(round, IRounds.State.Abandoned);
        vm.assertEq(members.compensation(anyone), AGGREGATOR_BOND / 2 + DEPOSIT);
        vm.assertEq(members.aggregatorBondOf(aggregator), 0);
        vm.assertEq(address(lineage).balance, 0);
        vm.prank(anyone);
        members.claimCompensation();
        vm.assertEq(anyone.balance, AGGREGATOR_BOND / 2 + DEPOSIT);
    }

    function test_aFormerAggregatorIsSlashedForItsOwnClaim() public {
        claimWrong(true);
        vm.prank(address(governance));
        members.setAggregator(address(0xA67), SALT);
        challengeAt(LOW_WORD);
        vm.assertEq(members.aggregatorBondOf(aggregator), 0);
        vm.assertEq(members.compensation(anyone), AGGREGATOR_BOND / 2);
    }

    function test_aChallengeSucceedsWhereNothingIsLeftToSlash() public {
        (uint64 round,) = claimWrong(true);
        vm.prank(address(withdrawals));
        members.slashAggregator(aggregator, orgs[0]);
        challengeAt(LOW_WORD);
        assertRound(round, IRounds.State.Abandoned);
        vm.assertEq(members.compensation(anyone), 0);
    }

    function test_aWrongRemovalIsChallengedAndClaimedAnew() public {
        runRound();
        requestAs(orgs[0], ILineage.Kind.Removal);
        ILineage.Delta memory lie = ILineage.Delta(SALT, lineage.model(1).digestRoot);
        claimSuccessor(1, 1, lie);
        vm.assertEq(lineage.amendmentCount(), 1);
        challengeAt(LOW_WORD);
        vm.assertEq(lineage.amendmentCount(), 0);
        vm.assertEq(lineage.amendmentOf(1), 0);
        vm.assertEq(lineage.excludedBy(orgs[0]), 0);
        vm.assertFalse(lineage.isClean(1, orgs[0]));
        vm.assertEq(members.compensation(anyone), AGGREGATOR_BOND / 2);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotCarriedOut.selector, 1));
        withdrawals.close(1);
        carryOut(1, 1);
        withdrawals.close(1);
        assertModelAddsUp(2);
    }

    function test_aWrongSecondModelDoesNotUndoTheFirst() public {
        releaseOne();
        requestAs(orgs[0], ILineage.Kind.Removal);
        carryOut(1, 2);
        claimSuccessor(1, 1, ILineage.Delta(SALT, lineage.model(1).digestRoot));
        challengeAt(LOW_WORD);
        vm.assertEq(lineage.amendmentCount(), 1);
        vm.assertTrue(lineage.isClean(3, orgs[0]));
        carryOut(1, 1);
        withdrawals.close(1);
        assertModelAddsUp(3);
        assertModelAddsUp(4);
    }

    function test_aRemovalWhoseProofIsDemandedIsDroppedOrProven() public {
        runRound();
        requestAs(orgs[0], ILineage.Kind.Removal);
        claimSuccessor(1, 1);
        _demand();
        vm.warp(lineage.claim().deadline + 1);
        lineage.dropUnproven();
        vm.assertEq(lineage.amendmentOf(1), 0);
        claimSuccessor(1, 1);
        _demand();
        finish();
        withdrawals.close(1);
        assertState(1, IWithdrawals.State.Closed);
        vm.assertEq(members.compensation(aggregator), DEPOSIT);
    }

    function test_noWithdrawalClosesWhileAClaimIsPending() public {
        runRound();
        uint64 id = requestAs(orgs[0], ILineage.Kind.Removal);
        carryOut(id, 1);
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[1], orgs[2]);
        aggregate(toRevealed(two));
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotCarriedOut.selector, id));
        withdrawals.close(id);
        finish();
        withdrawals.close(id);
    }

    function test_aDeltaThatWasClaimedBeforeItsWithdrawalIsRemovedAfter() public {
        aggregate(toRevealed());
        uint64 id = requestAs(orgs[0], ILineage.Kind.Removal);
        finish();
        vm.assertFalse(lineage.isClean(1, orgs[0]));
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotCarriedOut.selector, id));
        withdrawals.close(id);
        carryOut(id, 1);
        withdrawals.close(id);
        vm.assertTrue(lineage.isClean(2, orgs[0]));
    }

    function test_aPendingClaimIsNotExchangedForAnother() public {
        runRound();
        requestAs(orgs[0], ILineage.Kind.Removal);
        claimSuccessor(1, 1);
        ILineage.Delta memory other = successor(1, 1);
        vm.prank(aggregator);
        vm.expectRevert(ILineage.ClaimPending.selector);
        withdrawals.carryOut(1, 1, other, 0, new bytes[](0));
    }

    function _challenged(bool inModel) private {
        (uint64 round,) = claimWrong(inModel);
        challengeAt(LOW_WORD);
        assertRound(round, IRounds.State.Abandoned);
        vm.assertFalse(lineage.claim().open);
        vm.assertEq(lineage.head(), 0);
        vm.assertEq(members.compensation(anyone), AGGREGATOR_BOND / 2);
        vm.assertEq(rewards.pool(), POOL + AGGREGATOR_BOND / 2);
        vm.assertFalse(members.aggregatorReady());
    }

    function _demand() private {
        vm.deal(anyone, DEPOSIT);
        vm.prank(anyone);
        lineage.demandProof{value: DEPOSIT}();
    }
}

/// @dev Claims that are too large for a challenge in one transaction.
contract LargeClaimTest is LineageFixture {
    function test_moreTermsThanCanBeChallengedMustBeProven() public {
        deployAll(true, CHALLENGE, 21);
        for (uint256 i = 0; i < 10; ++i) {
            runRound();
        }
        uint64 head = lineage.head();
        requestAs(orgs[0], ILineage.Kind.Removal);
        claimSuccessor(1, head);
        vm.assertTrue(lineage.claim().mustProve);
        vm.assertGt(termBytes().length, lineage.MOST_CHALLENGEABLE());
        vm.expectRevert(ILineage.MustProve.selector);
        lineage.settle();
        vm.warp(lineage.claim().deadline + 1);
        lineage.dropUnproven();
        vm.assertEq(members.aggregatorBondOf(aggregator), AGGREGATOR_BOND);
        vm.assertEq(lineage.amendmentOf(1), 0);
        claimSuccessor(1, head);
        proveInOne();
        applied[1] = true;
        withdrawals.close(1);
        assertModelAddsUp(lineage.head());
    }

    /// forge-config: default.isolate = true
    function test_theChallengeThatReadsMostFitsIntoATransaction() public {
        deployAll(false, CHALLENGE, 22);
        _challengeAfterRounds(9);
    }

    /// forge-config: default.isolate = true
    function test_theChallengeOfMostTermsFitsIntoATransaction() public {
        deployAll(true, CHALLENGE, 22);
        _challengeAfterRounds(9);
    }

    function _challengeAfterRounds(uint256 count) private {
        for (uint256 i = 0; i < count; ++i) {
            runRound();
        }
        requestAs(orgs[0], ILineage.Kind.Removal);
        uint64 head = lineage.head();
        claimSuccessor(1, head, ILineage.Delta(SALT, lineage.model(head).digestRoot));
        _assertFits();
        vm.assertFalse(lineage.claim().mustProve);
        (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(LOW_WORD);
        vm.prank(anyone);
        lineage.challenge(LOW_WORD, words, siblings);
        _assertFits();
    }

    /// @dev EIP-7825: no transaction may use more than 2^24 gas.
    function _assertFits() private view {
        Vm.Gas memory gas = vm.lastCallGas();
        vm.assertLt(gas.gasTotalUsed + uint64(gas.gasRefunded), 2 ** 24);
    }

    function test_moreContributionsThanCanBeReadMustBeProven() public {
        deployAll(false, CHALLENGE, 30);
        for (uint256 i = 0; i < 7; ++i) {
            runRound();
        }
        requestAs(orgs[0], ILineage.Kind.Removal);
        claimSuccessor(1, lineage.head());
        vm.assertTrue(lineage.claim().mustProve);
        vm.assertEq(termBytes().length, 7);
        finish();
        withdrawals.close(1);
    }
}
