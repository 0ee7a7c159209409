// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ArtifactId, MemberId, ModelId, OfferId, RoundId, WithdrawalId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Rest} from "./Rest.sol";

/// @dev Random steps of everyone. A step that is not possible now does nothing or reverts, so that forge's table of calls
/// and reverts says how many were not.
contract Handler is Rest {
    constructor(bool shared_) {
        Weights.Rule[] memory all = new Weights.Rule[](shared_ ? 1 : 2);
        all[0] = shared_ ? Weights.Rule.Share : Weights.Rule.Block;
        if (!shared_) all[1] = Weights.Rule.Latest;
        attested = shared_;
        deployAll(all, shared_, 5);
        aggregators.push(aggregator);
        moment = clock();
    }

    function steps() external pure returns (bytes4[12] memory) {
        return [
            this.stepRound.selector,
            this.stepAttest.selector,
            this.stepFold.selector,
            this.stepModels.selector,
            this.stepRequest.selector,
            this.stepWithdrawal.selector,
            this.stepReplay.selector,
            this.stepMember.selector,
            this.stepGovern.selector,
            this.stepClaim.selector,
            this.stepSpend.selector,
            this.stepPass.selector
        ];
    }

    // Rounds

    function stepRound(uint256 seed) public step {
        for (uint256 i = 0; i <= seed % 3; ++i) {
            moveRoundBy(seed >> (8 * i));
        }
    }

    function moveRoundBy(uint256 seed) private {
        RoundId round = rounds.currentRound();
        IRounds.State state = rounds.roundOf(round).state;
        if (isOrphan(round, state)) return rounds.abandon(round);
        if (state == IRounds.State.Open) answer(round, seed);
        else if (state == IRounds.State.Committed) reveal(round, seed);
        else if (state == IRounds.State.Revealed) judgeSome(round, seed);
        else if (state == IRounds.State.Judged) finishRound(round, seed);
        else openRound(seed);
    }

    function openRound(uint256 seed) private {
        if (members.aggregator() == address(0)) return nameAggregator();
        if (!members.aggregatorReady()) return postBond();
        if (models.isStale(models.head())) return foldSome(models.head(), seed);
        if (replays.isPending()) return stepOfReplay(seed);
        if (bits(members.eligibleMembers()[0]) == 0) return restore(seed);
        vm.prank(members.aggregator());
        rounds.open();
    }

    function answer(RoundId round, uint256 seed) private {
        uint256 waiting = members.eligibleMembers()[0] & ~answered(round);
        bool late = clock() > rounds.roundOf(round).deadline;
        if (waiting == 0 || late || seed % 16 == 0) return closeCommits(round);
        address organization = orgs[pick(waiting, seed >> 8)];
        if (seed % 16 > 2) return commitAs(round, organization);
        vm.prank(organization);
        if (seed % 16 == 1) rounds.sitOut(round);
        else rounds.reportUnavailable(round);
    }

    function reveal(RoundId round, uint256 seed) private {
        IRounds.Answers memory all = rounds.answersOf(round);
        uint256 waiting = all.committed[0] & ~all.revealed[0];
        bool late = clock() > rounds.roundOf(round).deadline;
        if (waiting == 0 || late || seed % 16 == 0) return closeReveals(round);
        revealAs(round, orgs[pick(waiting, seed >> 8)]);
    }

    function judgeSome(RoundId round, uint256 seed) private {
        if (seed % 16 == 0) pass(PHASE + 1);
        if (clock() > rounds.roundOf(round).deadline) return rounds.abandon(round);
        if (members.aggregator() == address(0)) return nameAggregator();
        uint256[4] memory set = rounds.answersOf(round).revealed;
        uint256 rejected = set[0] & (seed >> 8) & (seed >> 40) & (seed >> 72);
        set[0] &= ~rejected;
        bytes memory scores;
        for (uint256 i = 0; i < bits(set[0]); ++i) {
            scores = abi.encodePacked(scores, uint16((seed >> (8 + i)) % 10_001));
        }
        vm.prank(members.aggregator());
        rounds.judge(round, set, scores, new bytes(bits(rejected)));
        for (uint256 rest = set[0]; rest != 0; rest &= rest - 1) {
            acceptedBy[RoundId.unwrap(round)].push(uint16(pick(rest, 0)));
        }
    }

    function stepAttest(uint256 seed) public step {
        for (uint64 n = RoundId.unwrap(rounds.attestedUpTo()) + 1; n <= RoundId.unwrap(rounds.currentRound()); ++n) {
            if (rounds.roundOf(RoundId.wrap(n)).state != IRounds.State.Final) continue;
            return rounds.attest(RoundId.wrap(n), bytes32(seed), signed(RoundId.wrap(n), bytes32(seed), quorum));
        }
    }

    // Models

    function stepFold(uint256 seed) public step {
        ModelId[] memory used = models.modelsInUse();
        foldSome(used.length == 0 ? models.head() : used[seed % used.length], seed >> 8);
    }

    function stepModels(uint256 seed) public step {
        ModelId[] memory used = models.modelsInUse();
        ModelId some_ = used.length == 0 ? models.head() : used[seed % used.length];
        if (seed % 4 == 0) return models.publish(some_, SALT, SALT);
        ModelId head = models.head();
        if (members.aggregator() == address(0)) return nameAggregator();
        vm.prank(members.aggregator());
        if (seed % 4 < 3 && used.length < 3) models.release(head);
        else models.retire(some_);
    }

    // Withdrawals

    function stepRequest(uint256 seed) public step {
        address organization = orgs[seed % orgs.length];
        if (WithdrawalId.unwrap(members.openOf(organization)) != 0) return;
        uint256 choice = (seed >> 16) % 10;
        if (choice == 0 && (seed >> 32) % 3 != 0) return;
        vm.prank(organization);
        if (choice == 0) withdrawals.request(IWithdrawals.Method.Removal);
        else if (choice == 1) withdrawals.request(IWithdrawals.Method.CounterTraining);
        else if (choice == 2) withdrawals.request{value: 1 ether}(IWithdrawals.Method.Replay);
        else if (choice < 6) withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replacement);
        else if (choice < 8) withdrawals.requestForSubject(SALT, IWithdrawals.Method.CounterTraining);
        else withdrawals.requestForSubject(SALT, IWithdrawals.Method.Replay);
    }

    function stepWithdrawal(uint256 seed) public step {
        WithdrawalId id = anOpenOne(seed);
        if (WithdrawalId.unwrap(id) == 0) return;
        IWithdrawals.Withdrawal memory its = withdrawals.withdrawalOf(id);
        if (its.state == IWithdrawals.State.Preparing) prepare(id, its, seed >> 8);
        else if (its.state == IWithdrawals.State.Effective) closeIfFolded(id, its, seed >> 8);
        else if (its.state == IWithdrawals.State.Attesting) attestOrEscalate(id, its, seed >> 8);
        else if (seed % 64 != 0) replayedIfDone(id, seed >> 8);
        else convert(id, its.organization);
    }

    function prepare(WithdrawalId id, IWithdrawals.Withdrawal memory its, uint256 seed) private {
        if (seed % 64 == 0) pass(PREPARATION + 1);
        if (clock() > its.deadline) return withdrawals.escalate(id);
        if (seed % 64 == 1) return convert(id, its.organization);
        MemberId member = members.numberOf(its.organization);
        bool counters = its.method == IWithdrawals.Method.CounterTraining;
        RoundId round = counters ? RoundId.wrap(0) : contributedRound(member, seed >> 8);
        if (!holds(models.head(), its.organization)) return convert(id, its.organization);
        bool some_ = ArtifactId.unwrap(models.offerOf(source(id), its.from, member, 0).artifact) != 0;
        if (!some_ || seed % 3 == 0) return offerFor(id, its.organization, round, member);
        bool pays = its.method == IWithdrawals.Method.Replay && chained;
        vm.prank(its.organization);
        withdrawals.ready{value: pays ? 1 ether : 0}(id);
    }

    function closeIfFolded(WithdrawalId id, IWithdrawals.Withdrawal memory its, uint256 seed) private {
        if (models.settle(its.amendment)) return withdrawals.close(id);
        ModelId[] memory used = models.modelsInUse();
        foldSome(used[seed % used.length], seed >> 8);
    }

    function attestOrEscalate(WithdrawalId id, IWithdrawals.Withdrawal memory its, uint256 seed) private {
        if (seed % 32 == 0) pass(ATTESTATION + 1);
        if (clock() > its.deadline) return withdrawals.escalate(id);
        ModelId head = models.head();
        if (models.modelOf(head).amendments < its.amendment) return foldSome(head, seed >> 8);
        attest(id, head);
    }

    function replayedIfDone(WithdrawalId id, uint256 seed) private {
        OfferId replay = replays.joined(id);
        bool done = OfferId.unwrap(replay) != 0 && replays.replayOf(replay).amendment != 0;
        if (done) withdrawals.replayed(id);
        else stepOfReplay(seed);
    }

    function stepReplay(uint256 seed) public step {
        stepOfReplay(seed);
    }

    // Members, governance, money

    function stepMember(uint256 seed) public step {
        address organization = orgs[seed % orgs.length];
        uint256 choice = (seed >> 16) % 8;
        if (choice == 0 && (seed >> 32) % 32 == 0) {
            vm.prank(organization);
            members.resign();
        } else if (choice < 2) {
            members.penalize(organization);
        } else if (choice == 3) {
            pass((seed >> 32) % 8 == 0 ? EXIT : 0);
            vm.prank(organization);
            members.reclaimBond();
        } else if (choice == 4 && (seed >> 32) % 8 == 0 && members.aggregator() != address(0)) {
            vm.prank(members.aggregator());
            members.resignAggregator();
        } else if (choice == 5) {
            vm.prank(aggregator);
            members.reclaimAggregatorBond();
        } else {
            restore(seed >> 32);
        }
    }

    function stepGovern(uint256 seed) public step {
        uint256 choice = seed % 16;
        address some_ = orgs[(seed >> 8) % orgs.length];
        if (seed % 64 == 0) decide(address(withdrawals), abi.encodeCall(IWithdrawals.expel, (some_)));
        else if (choice == 1) nameAggregator();
        else if (choice == 2) decide(address(members), abi.encodeCall(IMembers.setAggregator, (some_)));
        else admitOne();
    }

    function stepClaim(uint256 seed) public step {
        address organization = orgs[seed % orgs.length];
        RoundId[] memory one = new RoundId[](1);
        one[0] = aRound(seed >> 8);
        if (rewards.claimable(organization, one) != 0 && rounds.isPayable(one[0])) {
            vm.prank(organization);
            rewards.claim(one);
        } else if (replays.refundOf(organization) != 0) {
            vm.prank(organization);
            replays.refund();
        } else {
            rewards.fund{value: 1 gwei}();
        }
    }

    function stepSpend(uint256 seed) public step {
        uint64 epsilon = uint64(seed % 100);
        uint64 delta = uint64((seed >> 16) % 100);
        vm.prank(orgs[(seed >> 32) % orgs.length]);
        anchors.stateSpent(epsilon, delta);
    }

    function stepPass(uint256 seed) public step {
        pass(seed % 256 == 0 ? PREPARATION : seed % 60);
    }
}
