// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {LineageFixture} from "./Lineage.t.sol";

contract WithdrawalsTest is LineageFixture {
    ILineage.Kind private constant REMOVAL = ILineage.Kind.Removal;
    ILineage.Kind private constant REPLACEMENT = ILineage.Kind.Replacement;
    ILineage.Kind private constant REPLAY = ILineage.Kind.Replay;
    ILineage.Kind private constant COUNTER = ILineage.Kind.CounterTraining;

    function setUp() public {
        deployAll(false, 0, 3);
    }

    // Removal

    function test_aRemovalLeavesBlocksOfOthersAlone() public {
        runRound();
        runRound();
        remove(orgs[0]);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 0, 100);
        vm.assertEq(parts.length, 4);
        for (uint256 i = 0; i < 4; ++i) {
            vm.assertEq(parts[i].weight, 10_000);
            vm.assertTrue(parts[i].organization != orgs[0]);
        }
        assertModelAddsUp(3);
        assertState(1, IWithdrawals.State.Closed);
        vm.assertEq(withdrawals.withdrawal(1).closedModel, 3);
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Withdrawn));
        vm.assertEq(withdrawals.open().length, 0);
    }

    function test_aRemovalReweighsThoseWhoRemainOfASharedAdapter() public {
        _deploy(true, 4);
        runRound();
        runRound();
        remove(orgs[1]);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 0, 100);
        vm.assertEq(parts.length, 6);
        vm.assertEq(parts[0].weight, 3_334);
        vm.assertEq(parts[1].weight, 3_333);
        vm.assertEq(parts[3].weight, 3_334);
        assertModelAddsUp(3);
        vm.assertEq(rootOf(target(2, 0)), lineage.model(3).digestRoot);
        remove(orgs[0]);
        assertModelAddsUp(4);
        runRound();
        assertModelAddsUp(5);
    }

    function test_theLastContributorCanBeRemovedToo() public {
        _deploy(true, 1);
        runRound();
        remove(orgs[0]);
        vm.assertEq(lineage.model(2).digestRoot, rootOf(Sparse(0, 0)));
    }

    function test_whatWasRemovedIsInNoLaterModel() public {
        runRound();
        remove(orgs[0]);
        runRound();
        for (uint64 id = 2; id <= 3; ++id) {
            vm.assertTrue(lineage.isClean(id, orgs[0]));
        }
        vm.prank(aggregator);
        rounds.openRound();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IRounds.MayNotContribute.selector, orgs[0]));
        rounds.commit(3, SALT);
    }

    function test_aWrongRemovalIsRefused() public {
        runRound();
        requestAs(orgs[0], REMOVAL);
        claimSuccessor(1, 1, ILineage.Delta(SALT, lineage.model(1).digestRoot));
        bytes32 right = rootOf(target(1, 1));
        bytes[] memory digests = termBytes();
        bytes memory source = sourceBytes();
        bytes32 claimed = lineage.claim().digestRoot;
        vm.expectRevert(abi.encodeWithSelector(ILineage.SumMismatch.selector, right, claimed));
        lineage.prove("", digests, source);
        // The aggregator may claim anew at once.
        carryOut(1, 1);
        withdrawals.close(1);
    }

    function test_aRemovalSplitOverTransactionsMakesTheSameModel() public {
        _deploy(true, 3);
        runRound();
        runRound();
        requestAs(orgs[0], REMOVAL);
        claimSuccessor(1, 2);
        bytes[] memory digests = termBytes();
        int256[16] memory sum;
        bytes memory carried;
        uint256 place = 0;
        for (uint256 step = 0; step < lineage.stepCount(); ++step) {
            ILineage.Term[] memory terms = lineage.termsAt(step);
            for (uint256 i = 0; i < terms.length; ++i) {
                bytes[] memory one = new bytes[](1);
                one[0] = digests[place++];
                lineage.prove(carried, one, "");
                add(sum, terms[i].digestRoot, terms[i].coefficient);
                carried = bytesOf(learn(reduced(sum)));
            }
        }
        lineage.prove(carried, new bytes[](0), sourceBytes());
        assertModelAddsUp(3);
    }

    function test_anUnprovenRemovalIsDroppedWithoutATrace() public {
        runRound();
        requestAs(orgs[0], REMOVAL);
        claimSuccessor(1, 1);
        vm.warp(lineage.claim().deadline + 1);
        lineage.dropUnproven();
        vm.assertEq(lineage.amendmentCount(), 0);
        vm.assertEq(lineage.excludedBy(orgs[0]), 0);
        runRound();
        carryOut(1, lineage.head());
        withdrawals.close(1);
    }

    function test_whoContributedNothingIsRemovedAtOnce() public {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[1], orgs[2]);
        runRound(two);
        requestAs(orgs[0], REMOVAL);
        ILineage.Delta memory adapter = freshDelta();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotAffected.selector, 1, 1));
        withdrawals.carryOut(1, 1, adapter, 0, new bytes[](0));
        withdrawals.close(1);
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Withdrawn));
    }

    function test_whatWasRemovedIsNotRemovedAgain() public {
        runRound();
        uint64 subject = requestForSubjectAs(orgs[0], REPLACEMENT);
        remove(orgs[0]);
        vm.warp(clock() + PREPARATION + 1);
        withdrawals.escalate(subject);
        ILineage.Delta memory same = ILineage.Delta(SALT, lineage.model(2).digestRoot);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotAffected.selector, 2, subject));
        withdrawals.carryOut(subject, 2, same, 0, new bytes[](0));
        withdrawals.close(subject);
        vm.assertTrue(lineage.isClean(2, orgs[0]));
        vm.assertEq(lineage.excludedBy(orgs[0]), 1);
    }

    // Several models in use, several withdrawals

    function test_aWithdrawalClosesOnlyOnceEveryModelInUseIsReplaced() public {
        releaseOne();
        requestAs(orgs[0], REMOVAL);
        carryOut(1, 1);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotCarriedOut.selector, 1));
        withdrawals.close(1);
        ILineage.Delta memory adapter = successor(1, 2);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotInUse.selector, 1));
        withdrawals.carryOut(1, 1, adapter, 0, new bytes[](0));
        runRound();
        carryOut(1, lineage.head());
        withdrawals.close(1);
        uint64[] memory inUse = lineage.modelsInUse();
        vm.assertEq(inUse.length, 2);
        for (uint256 i = 0; i < 2; ++i) {
            vm.assertTrue(lineage.isClean(inUse[i], orgs[0]));
            assertModelAddsUp(inUse[i]);
        }
        vm.assertTrue(lineage.model(inUse[0]).released);
    }

    function test_aRetiredModelNeedsNoReplacement() public {
        releaseOne();
        requestAs(orgs[0], REMOVAL);
        carryOut(1, 2);
        vm.prank(aggregator);
        lineage.retire(1);
        withdrawals.close(1);
    }

    function test_aModelIsReplacedOnceForAWithdrawal() public {
        releaseOne();
        requestAs(orgs[0], REMOVAL);
        carryOut(1, 2);
        ILineage.Delta memory adapter = freshDelta();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotAffected.selector, 3, 1));
        withdrawals.carryOut(1, 3, adapter, 0, new bytes[](0));
    }

    function test_oneWithdrawalIsCarriedOutBeforeTheNextBegins() public {
        releaseOne();
        requestAs(orgs[0], REMOVAL);
        requestAs(orgs[1], REMOVAL);
        carryOut(1, 2);
        ILineage.Delta memory adapter = freshDelta();
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.AnotherWithdrawalFirst.selector, 1));
        withdrawals.carryOut(2, 3, adapter, 0, new bytes[](0));
        carryOut(1, 1);
        carryOut(2, lineage.modelsInUse()[0]);
        carryOut(2, lineage.modelsInUse()[1]);
        withdrawals.close(2);
        withdrawals.close(1);
        vm.assertEq(withdrawals.open().length, 0);
        assertModelAddsUp(lineage.head());
    }

    function test_anOlderWithdrawalCannotCarryOutANewerOne() public {
        releaseOne();
        uint64 first = requestForSubjectAs(orgs[0], REPLACEMENT);
        offerAs(orgs[0], first, 1);
        readyAs(orgs[0], first);
        uint64 second = requestAs(orgs[1], REMOVAL);
        carryOut(first, 2);
        carryOut(first, 1);
        carryOut(second, lineage.head());
        // In the name of the first, the sum over its rounds would show no change: the second's deltas would stay.
        uint64 left = lineage.modelsInUse()[0];
        ILineage.Delta memory lie = ILineage.Delta(SALT, lineage.model(left).digestRoot);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotAffected.selector, left, first));
        withdrawals.carryOut(first, left, lie, 0, new bytes[](0));
        carryOut(second, left);
        withdrawals.close(first);
        withdrawals.close(second);
    }

    function test_withdrawalsOfAllKindsGoTogetherInEitherOrder() public {
        for (uint256 order = 0; order < 2; ++order) {
            _deploy(order == 0, 3);
            runRound();
            runRound();
            uint64 removal = requestAs(orgs[0], REMOVAL);
            uint64 replacement = requestForSubjectAs(orgs[1], REPLACEMENT);
            offerAs(orgs[1], replacement, 2);
            readyAs(orgs[1], replacement);
            uint64 counter = requestForSubjectAs(orgs[2], COUNTER);
            offerAs(orgs[2], counter, 0);
            readyAs(orgs[2], counter);
            uint64[3] memory ids = order == 0 ? [removal, replacement, counter] : [counter, replacement, removal];
            for (uint256 i = 0; i < 3; ++i) {
                carryOut(ids[i], lineage.head());
                assertModelAddsUp(lineage.head());
            }
            for (uint256 i = 0; i < 3; ++i) {
                withdrawals.close(ids[2 - i]);
            }
            vm.assertTrue(lineage.isClean(lineage.head(), orgs[0]));
            (ILineage.Part[] memory parts,) = lineage.contentOf(lineage.head(), 0, 100);
            vm.assertEq(parts.length, 5);
            runRound();
            assertModelAddsUp(lineage.head());
        }
    }

    function test_anotherRoundWhileWithdrawingIsNoHindrance() public {
        uint64 round = toRevealed();
        uint64 id = requestAs(orgs[0], REMOVAL);
        withdrawals.close(id);
        aggregate(round);
        finish();
        vm.assertTrue(lineage.isClean(1, orgs[0]));
    }

    // Replacement

    function test_oneRoundOfADataSubjectIsReplaced() public {
        runRound();
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        assertState(id, IWithdrawals.State.Preparing);
        ILineage.Delta memory new_ = offerAs(orgs[0], id, 2);
        readyAs(orgs[0], id);
        assertState(id, IWithdrawals.State.Requested);
        carryOut(id, 2);
        withdrawals.close(id);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 2, 100);
        vm.assertEq(parts[0].digestRoot, new_.digestRoot);
        assertModelAddsUp(3);
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Active));
    }

    function test_severalRoundsAreReplacedInAnyOrderOfOffers() public {
        _deploy(true, 3);
        for (uint256 i = 0; i < 3; ++i) {
            runRound();
        }
        uint64 id = requestForSubjectAs(orgs[1], REPLACEMENT);
        offerAs(orgs[1], id, 3);
        offerAs(orgs[1], id, 1);
        readyAs(orgs[1], id);
        carryOut(id, 3);
        withdrawals.close(id);
        assertModelAddsUp(4);
        vm.assertEq(lineage.amendment(1).from, 1);
    }

    function test_onlyOnesOwnDeltasOfFinalRoundsAreReplaced() public {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[1], orgs[2]);
        runRound(two);
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        ILineage.Delta memory delta = freshDelta();
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotContributed.selector, 1, orgs[0]));
        withdrawals.offer(id, 1, delta, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotContributed.selector, 3, orgs[0]));
        withdrawals.offer(id, 3, delta, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotContributed.selector, 0, orgs[0]));
        withdrawals.offer(id, 0, delta, MANIFEST);
        vm.stopPrank();
        vm.prank(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOrganization.selector, orgs[1]));
        withdrawals.offer(id, 2, delta, MANIFEST);
    }

    function test_aRoundThatIsOnlyClaimedIsNotReplaced() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        aggregate(toRevealed());
        ILineage.Delta memory delta = freshDelta();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotContributed.selector, 2, orgs[0]));
        withdrawals.offer(id, 2, delta, MANIFEST);
    }

    function test_aReplacementMayNotBeAnOldDelta() public {
        ILineage.Delta memory old = deltaOf(runRound(), orgs[0]);
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.ArtifactSeenBefore.selector, old.artifactId));
        withdrawals.offer(id, 1, old, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(ILineage.DigestSeenBefore.selector, old.digestRoot));
        withdrawals.offer(id, 1, ILineage.Delta(SALT, old.digestRoot), MANIFEST);
        bytes32 zero = rootOf(Sparse(0, 0));
        vm.expectRevert(ILineage.ZeroDelta.selector);
        withdrawals.offer(id, 1, ILineage.Delta(SALT, zero), MANIFEST);
        vm.expectRevert(ILineage.EmptyValue.selector);
        withdrawals.offer(id, 1, ILineage.Delta(0, SALT), MANIFEST);
        vm.stopPrank();
        ILineage.Delta memory new_ = offerAs(orgs[0], id, 1);
        uint64 other = requestForSubjectAs(orgs[0], REPLACEMENT);
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.ArtifactSeenBefore.selector, new_.artifactId));
        withdrawals.offer(other, 1, new_, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(ILineage.DigestSeenBefore.selector, new_.digestRoot));
        withdrawals.offer(other, 1, ILineage.Delta(SALT, new_.digestRoot), MANIFEST);
        vm.stopPrank();
    }

    function test_nobodyBlocksAnOfferByOfferingItsCopy() public {
        runRound();
        uint64 mine = requestForSubjectAs(orgs[0], REPLACEMENT);
        uint64 theirs = requestForSubjectAs(orgs[1], COUNTER);
        ILineage.Delta memory delta = freshDelta();
        vm.prank(orgs[1]);
        withdrawals.offer(theirs, 0, delta, MANIFEST);
        vm.prank(orgs[0]);
        withdrawals.offer(mine, 1, delta, MANIFEST);
    }

    function test_aRoundIsOfferedOnceInAWithdrawal() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        offerAs(orgs[0], id, 1);
        ILineage.Delta memory delta = freshDelta();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.OfferedBefore.selector, 1, orgs[0]));
        withdrawals.offer(id, 1, delta, MANIFEST);
    }

    function test_ofTwoReplacementsTheLastOfferedHoldsInEitherOrder() public {
        for (uint256 order = 0; order < 2; ++order) {
            _deploy(false, 3);
            runRound();
            uint64 first = requestForSubjectAs(orgs[0], REPLACEMENT);
            uint64 second = requestForSubjectAs(orgs[0], REPLACEMENT);
            offerAs(orgs[0], first, 1);
            ILineage.Delta memory last = offerAs(orgs[0], second, 1);
            readyAs(orgs[0], first);
            readyAs(orgs[0], second);
            carryOut(order == 0 ? first : second, lineage.head());
            assertModelAddsUp(lineage.head());
            carryOut(order == 0 ? second : first, lineage.head());
            assertModelAddsUp(lineage.head());
            (ILineage.Part[] memory parts,) = lineage.contentOf(lineage.head(), 1, 1);
            vm.assertEq(parts[0].digestRoot, last.digestRoot);
            withdrawals.close(first);
            withdrawals.close(second);
        }
    }

    function test_anOfferIsRenewedAfterAnotherAndCountsOnce() public {
        runRound();
        uint64 first = requestForSubjectAs(orgs[0], REPLACEMENT);
        uint64 second = requestForSubjectAs(orgs[0], REPLACEMENT);
        offerAs(orgs[0], first, 1);
        offerAs(orgs[0], second, 1);
        ILineage.Delta memory last = offerAs(orgs[0], first, 1);
        readyAs(orgs[0], first);
        readyAs(orgs[0], second);
        claimSuccessor(first, 1);
        vm.assertEq(lineage.stepCount(), 1);
        finish();
        carryOut(second, 2);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 1, 1);
        vm.assertEq(parts[0].digestRoot, last.digestRoot);
        assertModelAddsUp(2);
        assertModelAddsUp(3);
    }

    function test_aReplacementOfALaterRoundLeavesAnEarlierModelAlone() public {
        releaseOne();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        offerAs(orgs[0], id, 2);
        readyAs(orgs[0], id);
        carryOut(id, 2);
        withdrawals.close(id);
        vm.assertTrue(lineage.model(1).inUse);
    }

    // Replay

    function test_aReplayReplacesEveryLaterDelta() public {
        _deploy(true, 3);
        runRound();
        runRound();
        uint64 id = requestAs(orgs[0], REPLAY);
        assertState(id, IWithdrawals.State.Requested);
        offerAs(orgs[1], id, 2);
        claimSuccessor(id, 2);
        vm.expectRevert(abi.encodeWithSelector(ILineage.ReplayIncomplete.selector, 2, orgs[2]));
        lineage.termsAt(1);
        ILineage.Delta memory late = freshDelta();
        vm.prank(orgs[2]);
        vm.expectRevert(ILineage.ClaimPending.selector);
        withdrawals.offer(id, 2, late, MANIFEST);
        vm.warp(lineage.claim().deadline + 1);
        lineage.dropUnproven();
        offerAs(orgs[2], id, 2);
        carryOut(id, 2);
        withdrawals.close(id);
        assertModelAddsUp(3);
        vm.assertTrue(lineage.isClean(3, orgs[0]));
        vm.assertEq(withdrawals.withdrawal(id).evidence, EVIDENCE);
    }

    function test_aReplayInBlocksLeavesOthersDeltasAlone() public {
        _deploy(false, 3);
        runRound();
        runRound();
        uint64 id = requestAs(orgs[0], REPLAY);
        carryOut(id, 2);
        withdrawals.close(id);
        assertModelAddsUp(3);
        vm.assertTrue(lineage.isClean(3, orgs[0]));
        (ILineage.Part[] memory before,) = lineage.contentOf(2, 1, 10);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 1, 10);
        vm.assertEq(parts.length, 4);
        vm.assertEq(parts[3].digestRoot, before[5].digestRoot);
    }

    function test_aReplayOfADataSubjectKeepsItsOrganization() public {
        for (uint256 i = 0; i < 3; ++i) {
            runRound();
        }
        uint64 id = requestForSubjectAs(orgs[0], REPLAY);
        assertState(id, IWithdrawals.State.Preparing);
        offerAs(orgs[0], id, 2);
        readyAs(orgs[0], id);
        for (uint256 i = 0; i < 3; ++i) {
            offerAs(orgs[i], id, 3);
        }
        carryOut(id, 3);
        withdrawals.close(id);
        assertModelAddsUp(4);
        vm.assertFalse(lineage.isClean(4, orgs[0]));
    }

    function test_nothingBeforeAReplayIsReplacedByIt() public {
        runRound();
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLAY);
        offerAs(orgs[0], id, 2);
        // Of a round before, and of another's in the replay's first round: neither counts.
        ILineage.Delta memory early = offerAs(orgs[1], id, 1);
        ILineage.Delta memory beside = offerAs(orgs[1], id, 2);
        readyAs(orgs[0], id);
        carryOut(id, 2);
        assertModelAddsUp(3);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 0, 100);
        for (uint256 i = 0; i < parts.length; ++i) {
            vm.assertTrue(parts[i].digestRoot != early.digestRoot && parts[i].digestRoot != beside.digestRoot);
        }
        withdrawals.close(id);
        remove(orgs[1]);
        assertModelAddsUp(lineage.head());
    }

    function test_aReplayBeginsWithTheHeadAndRoundsWaitForItsEnd() public {
        releaseOne();
        uint64 id = requestAs(orgs[0], REPLAY);
        offerAs(orgs[1], id, 2);
        offerAs(orgs[2], id, 2);
        ILineage.Delta memory adapter = successor(id, 1);
        bytes[] memory signatures = attestations(id, 1, adapter, quorum);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.HeadFirst.selector, 2));
        withdrawals.carryOut(id, 1, adapter, EVIDENCE, signatures);
        carryOut(id, 2);
        // A delta of a new round could not be replaced any more, and the replay never be finished.
        uint64 round = toRevealed();
        ILineage.Contribution[] memory list = acceptable(round);
        (ILineage.Delta memory sum, ILineage.Delta memory next) = sumOf(list);
        vm.prank(aggregator);
        vm.expectRevert(abi.encodeWithSelector(ILineage.AnotherWithdrawalFirst.selector, id));
        rounds.aggregate(round, list, new IRounds.Rejection[](0), sum, next);
        carryOut(id, 1);
        withdrawals.close(id);
        aggregate(round);
        finish();
        assertModelAddsUp(lineage.head());
    }

    function test_aReplayIsAttestedByEnoughAuditors() public {
        runRound();
        uint64 id = requestAs(orgs[0], REPLAY);
        ILineage.Delta memory adapter = successor(id, 1);
        bytes32 hash = withdrawals.attestationHash(id, 1, adapter, EVIDENCE);
        bytes[] memory one = attestations(id, 1, adapter, 1);
        _carryRefused(id, adapter, one, abi.encodeWithSelector(IWithdrawals.QuorumMissing.selector, 1, 2));
        bytes[] memory two = attestations(id, 1, adapter, 2);
        (two[0], two[1]) = (two[1], two[0]);
        address lower = vm.addr(auditorKeys[0]);
        _carryRefused(id, adapter, two, abi.encodeWithSelector(IWithdrawals.SignersNotAscending.selector, lower));
        two[0] = two[1];
        _carryRefused(id, adapter, two, abi.encodeWithSelector(IWithdrawals.SignersNotAscending.selector, lower));
        bytes[] memory stranger = new bytes[](2);
        stranger[0] = signed(99, hash);
        stranger[1] = two[0];
        _carryRefused(id, adapter, stranger, abi.encodeWithSelector(IWithdrawals.NotAuditor.selector, vm.addr(99)));
        two = attestations(id, 1, adapter, 2);
        vm.prank(address(governance));
        members.dismissAuditor(vm.addr(auditorKeys[1]));
        _carryRefused(
            id, adapter, two, abi.encodeWithSelector(IWithdrawals.NotAuditor.selector, vm.addr(auditorKeys[1]))
        );
        vm.prank(aggregator);
        vm.expectRevert(IWithdrawals.EmptyValue.selector);
        withdrawals.carryOut(id, 1, adapter, 0, two);
    }

    function testFuzz_anAttestationHoldsForOneModelAndEvidenceOnly(uint8 what) public {
        runRound();
        uint64 id = requestAs(orgs[0], REPLAY);
        ILineage.Delta memory adapter = successor(id, 1);
        bytes[] memory signatures = attestations(id, 1, adapter, 2);
        bytes32 evidence = EVIDENCE;
        if (what % 3 == 0) adapter.artifactId = SALT;
        else if (what % 3 == 1) adapter.digestRoot = SALT;
        else evidence = SALT;
        vm.prank(aggregator);
        vm.expectRevert();
        withdrawals.carryOut(id, 1, adapter, evidence, signatures);
    }

    // Counter-training

    function test_aCounterDeltaIsAddedWithTheQuorumOfAuditors() public {
        runRound();
        uint64 id = requestAs(orgs[0], COUNTER);
        assertState(id, IWithdrawals.State.Preparing);
        ILineage.Delta memory counter = offerAs(orgs[0], id, 0);
        readyAs(orgs[0], id);
        carryOut(id, 1);
        withdrawals.close(id);
        (ILineage.Part[] memory parts,) = lineage.contentOf(2, 0, 100);
        vm.assertEq(parts.length, 4);
        vm.assertEq(parts[0].digestRoot, counter.digestRoot);
        vm.assertEq(parts[0].round, 0);
        assertModelAddsUp(2);
        vm.assertFalse(lineage.isClean(2, orgs[0]));
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Withdrawn));
        runRound();
        assertModelAddsUp(3);
    }

    function test_aCounterDeltaGoesWithItsOrganization() public {
        _deploy(true, 3);
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], COUNTER);
        offerAs(orgs[0], id, 0);
        readyAs(orgs[0], id);
        carryOut(id, 1);
        withdrawals.close(id);
        remove(orgs[0]);
        (ILineage.Part[] memory parts,) = lineage.contentOf(3, 0, 100);
        vm.assertEq(parts.length, 2);
        assertModelAddsUp(3);
    }

    function test_aCounterDeltaEntersNoModelWithoutItsOrganization() public {
        address[] memory two = new address[](2);
        (two[0], two[1]) = (orgs[0], orgs[1]);
        runRound(two);
        vm.prank(aggregator);
        lineage.release(1);
        runRound();
        uint64 counter = requestForSubjectAs(orgs[2], COUNTER);
        offerAs(orgs[2], counter, 0);
        readyAs(orgs[2], counter);
        carryOut(counter, 2);
        withdrawals.close(counter);
        uint64 replacement = requestForSubjectAs(orgs[0], REPLACEMENT);
        offerAs(orgs[0], replacement, 1);
        readyAs(orgs[0], replacement);
        carryOut(replacement, 1);
        carryOut(replacement, lineage.head());
        withdrawals.close(replacement);
        uint64[] memory inUse = lineage.modelsInUse();
        assertModelAddsUp(inUse[0]);
        assertModelAddsUp(inUse[1]);
        vm.assertTrue(lineage.isClean(inUse[0], orgs[2]));
    }

    function test_aWithdrawalHasOneCounterDelta() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], COUNTER);
        offerAs(orgs[0], id, 0);
        ILineage.Delta memory delta = freshDelta();
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.OfferedBefore.selector, 0, orgs[0]));
        withdrawals.offer(id, 0, delta, MANIFEST);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotContributed.selector, 1, orgs[0]));
        withdrawals.offer(id, 1, delta, MANIFEST);
        vm.stopPrank();
    }

    function test_whoContributedNothingCountersNothing() public {
        uint64 id = requestForSubjectAs(orgs[0], COUNTER);
        ILineage.Delta memory delta = freshDelta();
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(ILineage.NotContributed.selector, 0, orgs[0]));
        withdrawals.offer(id, 0, delta, MANIFEST);
    }

    // Requests

    function test_methodsFitWhatIsWithdrawn() public {
        vm.startPrank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REPLACEMENT));
        withdrawals.request(REPLACEMENT);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, ILineage.Kind.Round));
        withdrawals.request(ILineage.Kind.Round);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REMOVAL));
        withdrawals.requestForSubject(SALT, REMOVAL);
        vm.expectRevert(IWithdrawals.EmptyValue.selector);
        withdrawals.requestForSubject(0, REPLAY);
        uint64 id = withdrawals.request(REMOVAL);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REMOVAL));
        withdrawals.offer(id, 1, ILineage.Delta(SALT, SALT), MANIFEST);
        vm.stopPrank();
    }

    function test_onlyMembersRequestAndOnlyOnceForAll() public {
        vm.startPrank(anyone);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        withdrawals.request(REMOVAL);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongStatus.selector, anyone));
        withdrawals.requestForSubject(SALT, REPLAY);
        vm.stopPrank();
        requestAs(orgs[0], REMOVAL);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, orgs[0], IMembers.Status.Withdrawing));
        withdrawals.request(REMOVAL);
    }

    function test_whoLeftMayStillWithdraw() public {
        runRound();
        vm.prank(orgs[0]);
        members.resign();
        uint64 subject = requestForSubjectAs(orgs[0], REPLACEMENT);
        assertState(subject, IWithdrawals.State.Preparing);
        remove(orgs[0]);
        vm.warp(clock() + PREPARATION + 1);
        withdrawals.escalate(subject);
        withdrawals.close(subject);
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Withdrawn));
    }

    function test_fewSubjectsAtATimeAreWithdrawnBeforeTheWholeAlways() public {
        for (uint256 i = 0; i < 8; ++i) {
            requestForSubjectAs(orgs[0], REPLACEMENT);
        }
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.TooManyOpen.selector, orgs[0]));
        withdrawals.requestForSubject(SALT, REPLACEMENT);
        requestAs(orgs[0], REMOVAL);
    }

    function test_nothingIsReadyBeforeItIsOffered() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        vm.prank(orgs[0]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NothingOffered.selector, id));
        withdrawals.ready(id);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOrganization.selector, address(this)));
        withdrawals.ready(id);
        offerAs(orgs[0], id, 1);
        readyAs(orgs[0], id);
        bytes memory reason = abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Requested);
        vm.startPrank(orgs[0]);
        vm.expectRevert(reason);
        withdrawals.ready(id);
        vm.expectRevert(reason);
        withdrawals.offer(id, 1, ILineage.Delta(SALT, SALT), MANIFEST);
        vm.stopPrank();
        vm.expectRevert(reason);
        withdrawals.escalate(id);
    }

    function test_aWithdrawalThatIsNotPreparedInTimeBecomesARemoval() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        offerAs(orgs[0], id, 1);
        uint64 deadline = withdrawals.withdrawal(id).deadline;
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOverdue.selector, id, deadline));
        withdrawals.escalate(id);
        vm.warp(deadline + 1);
        vm.assertTrue(withdrawals.anyOverdue());
        vm.prank(anyone);
        withdrawals.escalate(id);
        vm.assertFalse(withdrawals.anyOverdue());
        vm.assertEq(withdrawals.withdrawal(id).subject, bytes32(0));
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Withdrawing));
        carryOut(id, 1);
        withdrawals.close(id);
        vm.assertTrue(lineage.isClean(2, orgs[0]));
        assertModelAddsUp(2);
        vm.assertEq(uint8(members.statusOf(orgs[0])), uint8(IMembers.Status.Withdrawn));
    }

    function test_governanceTurnsWhatCannotBeDoneIntoARemoval() public {
        runRound();
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLAY);
        offerAs(orgs[0], id, 1);
        readyAs(orgs[0], id);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotGovernance.selector, address(this)));
        withdrawals.fallBack(id);
        claimSuccessor(id, 2);
        vm.prank(address(governance));
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongMethod.selector, REPLAY));
        withdrawals.fallBack(id);
        vm.warp(lineage.claim().deadline + 1);
        lineage.dropUnproven();
        vm.prank(address(governance));
        withdrawals.fallBack(id);
        vm.assertEq(withdrawals.withdrawal(id).evidence, bytes32(0));
        carryOut(id, 2);
        withdrawals.close(id);
        vm.assertTrue(lineage.isClean(3, orgs[0]));
        vm.prank(address(governance));
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Closed));
        withdrawals.fallBack(id);
    }

    function test_whoIsNotAMemberIsNotExpelled() public {
        vm.prank(address(governance));
        vm.expectRevert(abi.encodeWithSelector(IMembers.WrongStatus.selector, anyone, IMembers.Status.None));
        withdrawals.expel(anyone);
    }

    // Carrying out

    function test_onlyTheAggregatorCarriesOut() public {
        runRound();
        requestAs(orgs[0], REMOVAL);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotAggregator.selector, address(this)));
        withdrawals.carryOut(1, 1, ILineage.Delta(SALT, SALT), 0, new bytes[](0));
    }

    function test_onlyWhatIsRequestedIsCarriedOutClosedOrSlashed() public {
        runRound();
        uint64 id = requestForSubjectAs(orgs[0], REPLACEMENT);
        bytes memory reason = abi.encodeWithSelector(IWithdrawals.WrongState.selector, id, IWithdrawals.State.Preparing);
        vm.prank(aggregator);
        vm.expectRevert(reason);
        withdrawals.carryOut(id, 1, ILineage.Delta(SALT, SALT), 0, new bytes[](0));
        vm.expectRevert(reason);
        withdrawals.close(id);
        vm.expectRevert(reason);
        withdrawals.slash(id);
        remove(orgs[1]);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, 2, IWithdrawals.State.Closed));
        withdrawals.close(2);
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.WrongState.selector, 3, IWithdrawals.State.None));
        withdrawals.close(3);
    }

    function test_anOverdueWithdrawalCostsTheAggregatorItsBond() public {
        runRound();
        uint64 id = requestAs(orgs[0], REMOVAL);
        uint64 deadline = withdrawals.withdrawal(id).deadline;
        vm.expectRevert(abi.encodeWithSelector(IWithdrawals.NotOverdue.selector, id, deadline));
        withdrawals.slash(id);
        vm.warp(deadline + 1);
        vm.prank(anyone);
        withdrawals.slash(id);
        vm.assertEq(members.compensation(orgs[0]), AGGREGATOR_BOND / 2);
        vm.assertEq(rewards.pool(), POOL - REWARD + 1 + AGGREGATOR_BOND / 2);
        vm.expectRevert(abi.encodeWithSelector(IMembers.NothingToSlash.selector, aggregator));
        withdrawals.slash(id);
        carryOut(id, 1);
        withdrawals.close(id);
        vm.prank(orgs[0]);
        members.claimCompensation();
        vm.assertEq(orgs[0].balance, BOND + AGGREGATOR_BOND / 2);
        vm.startPrank(aggregator);
        vm.expectRevert(IRounds.AggregatorBondMissing.selector);
        rounds.openRound();
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
        rounds.openRound();
        vm.stopPrank();
    }

    function _carryRefused(uint64 id, ILineage.Delta memory adapter, bytes[] memory signatures, bytes memory reason)
        private
    {
        vm.prank(aggregator);
        vm.expectRevert(reason);
        withdrawals.carryOut(id, 1, adapter, EVIDENCE, signatures);
    }

    function _deploy(bool shared_, uint256 organizations) private {
        delete orgs;
        delete auditorKeys;
        delete offered;
        for (uint64 id = 1; id < 10; ++id) {
            applied[id] = false;
        }
        deployAll(shared_, 0, organizations);
    }
}
