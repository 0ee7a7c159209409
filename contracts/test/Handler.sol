// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "../src/interfaces/ILineage.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Drives a consortium by random steps, honest and not; ghosts remember what must hold. A step that cannot be taken
/// reverts, so that the table of calls and reverts tells how many were.
contract Handler is Fixture {
    uint256 private constant MOST_MEMBERS = 9;

    /// @dev Named by what must never happen.
    struct Faults {
        bool modelDoesNotAddUp;
        bool withdrawnDeltaCameBack;
        bool movedBackwards;
        bool lieAccepted;
        bool openedWhileOverdue;
    }

    /// @dev How often a step came to something.
    struct Reached {
        uint256 finals;
        uint256 abandoned;
        uint256 amendments;
        uint256 closed;
        uint256 slashed;
        uint256 challenged;
        uint256 demanded;
        uint256 dropped;
        uint256 liesRefused;
        uint256 penalized;
        uint256 escalated;
        uint256[5] kinds;
    }

    Faults public faults;
    Reached private _reached;
    uint256 public paidIn;
    uint256 public paidOut;

    uint64 private _now;
    uint64 private _checkedModels;
    bool private _claimIsWrong;
    address[] private _aggregators;
    bool private immutable _optimistic;
    mapping(bytes32 => bool) private _withdrawnRoot;
    mapping(address => bool) private _withdrawnOrganization;
    mapping(uint64 => uint8) private _roundState;
    mapping(uint64 => uint8) private _withdrawalState;
    mapping(address => uint8) private _memberStatus;

    /// @dev Sets the clock before a step, and looks at what came of it after.
    modifier step(uint256 seed) {
        vm.warp(_now);
        _;
        _now = clock();
        _checkModels();
        _sample(seed);
    }

    constructor(bool optimistic, bool shared_) {
        _optimistic = optimistic;
        deployAll(shared_, optimistic ? CHALLENGE : 0, 5);
        _now = clock();
        paidIn = POOL + 5 * BOND + AGGREGATOR_BOND;
        _aggregators.push(aggregator);
        _aggregators.push(address(0xA67));
        vm.deal(aggregator, 1e6 ether);
        vm.deal(address(0xA67), 1e6 ether);
        vm.deal(anyone, 1e6 ether);
        runRound();
        runRound();
        _reached.finals = 2;
        _now = clock();
        _checkModels();
    }

    function reached() external view returns (Reached memory) {
        return _reached;
    }

    // Rounds

    function stepRound(uint256 seed) public step(seed) {
        uint64 round = rounds.currentRound();
        IRounds.State state = rounds.roundOf(round).state;
        if (state == IRounds.State.Open) _answer(round, seed);
        else if (state == IRounds.State.Committed) _reveal(round, seed);
        else if (state == IRounds.State.Revealed) _aggregate(round, seed);
        else if (state == IRounds.State.Aggregated) _finish(seed);
        else if (!members.aggregatorReady()) _postBond();
        else if (withdrawals.anyOverdue() && seed % 4 != 0) _drive(seed);
        else _openRound();
    }

    function _tryAbandon(uint256 seed) private {
        require(seed % 8 == 0);
        uint64 round = rounds.currentRound();
        _passTo(rounds.roundOf(round).finalizeDeadline + 1);
        rounds.abandon(round);
        ++_reached.abandoned;
    }

    function _openRound() private {
        bool overdue = false;
        for (uint64 id = 1; id <= withdrawals.count(); ++id) {
            IWithdrawals.Withdrawal memory it = withdrawals.withdrawal(id);
            if (it.state != IWithdrawals.State.Closed && it.deadline < _now) overdue = true;
        }
        open();
        if (overdue) faults.openedWhileOverdue = true;
    }

    function _answer(uint64 round, uint256 seed) private {
        address[] memory who = clock() > rounds.roundOf(round).commitDeadline ? new address[](0) : mayContribute();
        for (uint256 i = 0; i < who.length; ++i) {
            uint256 choice = _bits(seed, i) % 8;
            if (choice == 0) continue;
            if (choice == 1) {
                vm.prank(who[i]);
                rounds.sitOut(round);
            } else {
                commitAs(round, who[i]);
            }
        }
        if (!rounds.allAnswered(round)) _passTo(rounds.roundOf(round).commitDeadline + 1);
        rounds.closeCommits(round);
    }

    function _reveal(uint64 round, uint256 seed) private {
        address[] memory who = rounds.committed(round);
        for (uint256 i = 0; i < who.length; ++i) {
            if (clock() > rounds.roundOf(round).revealDeadline) break;
            if (_bits(seed, i) % 8 != 0) revealAs(round, who[i]);
        }
        if (!rounds.allRevealed(round)) _passTo(rounds.roundOf(round).revealDeadline + 1);
        uint256 pool = rewards.pool();
        rounds.closeReveals(round);
        if (rewards.pool() != pool) ++_reached.penalized;
    }

    function _aggregate(uint64 round, uint256 seed) private {
        if (clock() > rounds.roundOf(round).finalizeDeadline) {
            rounds.abandon(round);
            ++_reached.abandoned;
            return;
        }
        if (lineage.claim().open) {
            _finish(seed);
            return;
        }
        ILineage.Contribution[] memory list = acceptable(round);
        IRounds.Rejection[] memory rejected = rejectable(round);
        ILineage.Delta memory sum;
        ILineage.Delta memory adapter;
        bool lie = list.length != 0 && seed % 6 == 0;
        if (list.length != 0) (sum, adapter) = sumOf(list);
        if (lie) {
            _tryForbiddenSums(round, list, rejected, sum, adapter, seed);
            if (seed % 2 == 0) sum.digestRoot = freshDelta().digestRoot;
            else adapter.digestRoot = freshDelta().digestRoot;
        }
        vm.prank(aggregator);
        rounds.aggregate(round, list, rejected, sum, adapter);
        claimedFor = 0;
        _claimIsWrong = lie;
    }

    /// @dev Lies that are refused before any digest is looked at.
    function _tryForbiddenSums(
        uint64 round,
        ILineage.Contribution[] memory list,
        IRounds.Rejection[] memory rejected,
        ILineage.Delta memory sum,
        ILineage.Delta memory adapter,
        uint256 seed
    ) private {
        uint256 i = seed % list.length;
        ILineage.Contribution memory honest =
            ILineage.Contribution(list[i].organization, list[i].weight, 1, list[i].artifactId, list[i].digestRoot);
        uint256 what = seed % 5;
        if (what == 0) list[i].weight += 1;
        else if (what == 1) list[i].digestRoot = freshDelta().digestRoot;
        else if (what == 2) list[i].organization = anyone;
        else if (what == 3) list[i].score = 10_001;
        else list[i].artifactId = bytes32(seed);
        vm.prank(aggregator);
        try rounds.aggregate(round, list, rejected, sum, adapter) {
            faults.lieAccepted = true;
        } catch {
            ++_reached.liesRefused;
        }
        list[i] = honest;
    }

    // Claims

    function stepFinish(uint256 seed) public step(seed) {
        _finish(seed);
    }

    function _finish(uint256 seed) private {
        ILineage.Claim memory it = lineage.claim();
        require(it.open);
        if (_claimIsWrong) {
            _refute(seed);
        } else if (!it.mustProve && seed % 8 == 0) {
            _demand();
        } else if (seed % 16 == 1 && it.mustProve) {
            _drop(it);
        } else {
            if (!it.mustProve && seed % 2 == 0) {
                _passTo(it.deadline + 1);
                lineage.settle();
            } else {
                _prove(seed);
            }
            _noteRegistered(it);
        }
    }

    function _prove(uint256 seed) private {
        bytes[] memory digests = termBytes();
        bytes memory source = sourceBytes();
        ILineage.Claim memory it = lineage.claim();
        if (it.carried == 0 && seed % 4 == 1 && digests.length > 1) {
            // In two transactions, with the sum so far carried over.
            bytes[] memory first = new bytes[](1);
            first[0] = digests[0];
            uint256 step_ = 0;
            while (lineage.termsAt(step_).length == 0) ++step_;
            ILineage.Term memory term = lineage.termsAt(step_)[0];
            lineage.prove("", first, "");
            int256[16] memory sum;
            add(sum, term.digestRoot, term.coefficient);
            bytes[] memory rest = new bytes[](digests.length - 1);
            for (uint256 i = 1; i < digests.length; ++i) {
                rest[i - 1] = digests[i];
            }
            lineage.prove(bytesOf(learn(reduced(sum))), rest, source);
        } else {
            lineage.prove("", digests, source);
        }
    }

    /// @dev A claim that does not hold must go, by whichever way there is.
    function _refute(uint256 seed) private {
        ILineage.Claim memory it = lineage.claim();
        if (it.mustProve) {
            try lineage.prove("", termBytes(), sourceBytes()) {
                faults.lieAccepted = true;
            } catch {
                ++_reached.liesRefused;
            }
            _drop(it);
        } else if (seed % 4 == 0) {
            _demand();
        } else {
            _challenge();
        }
    }

    function _challenge() private {
        uint256 index = LOW_WORD;
        (bytes32[] memory words, bytes32[9][] memory siblings) = challengeOf(index);
        vm.prank(anyone);
        lineage.challenge(index, words, siblings);
        ++_reached.challenged;
        _claimIsWrong = false;
    }

    function _demand() private {
        vm.prank(anyone);
        lineage.demandProof{value: DEPOSIT}();
        paidIn += DEPOSIT;
        ++_reached.demanded;
    }

    function _drop(ILineage.Claim memory it) private {
        if (clock() <= it.deadline) vm.warp(it.deadline + 1);
        lineage.dropUnproven();
        ++_reached.dropped;
        _claimIsWrong = false;
    }

    function _noteRegistered(ILineage.Claim memory it) private {
        if (it.kind == ILineage.Kind.Round) {
            ++_reached.finals;
        } else {
            applied[claimedFor] = true;
            ++_reached.amendments;
            ++_reached.kinds[uint256(it.kind)];
        }
    }

    // Withdrawals

    function stepRequest(uint256 seed) public step(seed) {
        address who = orgs[seed % orgs.length];
        require(withdrawals.open().length < 3);
        uint256 what = (seed >> 8) % 8;
        if (what == 0) requestAs(who, ILineage.Kind.Removal);
        else if (what == 1 && _replayable(who)) requestAs(who, ILineage.Kind.Replay);
        else if (what == 2) requestAs(who, ILineage.Kind.CounterTraining);
        else if (what == 3 && _replayable(who)) requestForSubjectAs(who, ILineage.Kind.Replay);
        else if (what == 4) requestForSubjectAs(who, ILineage.Kind.CounterTraining);
        else requestForSubjectAs(who, ILineage.Kind.Replacement);
    }

    /// @dev Whether few deltas follow the organization's first.
    function _replayable(address who) private view returns (bool) {
        uint64[] memory its = lineage.roundsOf(who);
        return its.length != 0 && lineage.model(lineage.head()).lastRound <= its[0] + 2;
    }

    /// @dev The next sensible thing for a withdrawal.
    function stepDrive(uint256 seed) public step(seed) {
        _drive(seed);
    }

    function _drive(uint256 seed) private {
        uint64 id = _anOpen(seed);
        IWithdrawals.Withdrawal memory it = withdrawals.withdrawal(id);
        if (lineage.claim().open) _finish(seed);
        else if (it.state == IWithdrawals.State.Preparing) _prepare(id, it, seed);
        else if (it.method == ILineage.Kind.Replay && seed % 4 == 0) _offerReplay(id, it, seed);
        else if (lineage.carriedOut(id, it.organization)) _close(id);
        else _carryOut(id, seed);
    }

    function _prepare(uint64 id, IWithdrawals.Withdrawal memory it, uint256 seed) private {
        uint64[] memory its = lineage.roundsOf(it.organization);
        if (clock() > it.deadline) {
            withdrawals.escalate(id);
            ++_reached.escalated;
        } else if (seed % 2 == 0) {
            offerAs(
                it.organization, id, it.method == ILineage.Kind.CounterTraining ? 0 : its[(seed >> 16) % its.length]
            );
        } else {
            readyAs(it.organization, id);
        }
    }

    /// @dev A step that need not be the next one.
    function stepWithdrawal(uint256 seed) public step(seed) {
        uint256 what = seed % 4;
        if (what == 0) _tryOffer(seed >> 8);
        else if (what == 1) _tryReady(seed >> 8);
        else if (what == 2) _tryCarryOut(seed >> 8);
        else _tryClose(seed >> 8);
    }

    function stepRare(uint256 seed) public step(seed) {
        uint256 what = seed % 5;
        if (what == 0) _tryAbandon(seed >> 8);
        else if (what == 1) _tryExpel(seed >> 8);
        else if (what == 2) _tryEscalate(seed >> 8);
        else if (what == 3) _tryFallBack(seed >> 8);
        else _trySlash(seed >> 8);
    }

    function stepModels(uint256 seed) public step(seed) {
        if (seed % 2 == 0) _tryRelease();
        else _tryRetire(seed >> 8);
    }

    function stepMember(uint256 seed) public step(seed) {
        uint256 what = seed % 6;
        if (what == 0) _tryJoin();
        else if (what == 1) _tryResign(seed >> 8);
        else if (what == 2) _tryTopUp(seed >> 8);
        else if (what == 3) _tryPostBond();
        else if (what == 4) _trySetAggregator(seed >> 8);
        else _tryFund(seed >> 8);
    }

    function _tryExpel(uint256 seed) private {
        require(seed % 8 == 0 && withdrawals.open().length < 3);
        vm.prank(address(governance));
        withdrawals.expel(orgs[(seed >> 8) % orgs.length]);
    }

    function _tryOffer(uint256 seed) private {
        uint64 id = _anOpen(seed);
        IWithdrawals.Withdrawal memory it = withdrawals.withdrawal(id);
        if (it.method == ILineage.Kind.CounterTraining) {
            offerAs(it.organization, id, 0);
        } else if (it.method == ILineage.Kind.Replacement || it.state == IWithdrawals.State.Preparing) {
            uint64[] memory its = lineage.roundsOf(it.organization);
            offerAs(it.organization, id, its[(seed >> 16) % its.length]);
        } else {
            _offerReplay(id, it, seed);
        }
    }

    /// @dev Every later contributor offers; sometimes one more that must not count.
    function _offerReplay(uint64 id, IWithdrawals.Withdrawal memory it, uint256 seed) private {
        uint64 start = replayStart(id, it);
        uint64 last = lineage.model(lineage.head()).lastRound;
        for (uint64 round = seed % 4 == 0 ? 1 : start + 1; round <= last; ++round) {
            if (rounds.roundOf(round).state != IRounds.State.Final) continue;
            ILineage.Contribution[] memory all = lineage.contributions(round);
            for (uint256 i = 0; i < all.length; ++i) {
                if (!_offeredLast(id, round, all[i].organization)) offerAs(all[i].organization, id, round);
            }
        }
    }

    function _offeredLast(uint64 id, uint64 round, address organization) private view returns (bool) {
        for (uint256 i = offered.length; i > 0; --i) {
            Offered storage it = offered[i - 1];
            if (it.round == round && it.organization == organization) return it.withdrawal == id;
        }
        return false;
    }

    function _tryReady(uint256 seed) private {
        uint64 id = _anOpen(seed);
        readyAs(withdrawals.withdrawal(id).organization, id);
    }

    function _tryCarryOut(uint256 seed) private {
        _carryOut(_anOpen(seed), seed);
    }

    function _carryOut(uint64 id, uint256 seed) private {
        uint64[] memory inUse = lineage.modelsInUse();
        uint64 source = seed % 2 == 0 ? lineage.head() : inUse[(seed >> 16) % inUse.length];
        bool lie = (seed >> 24) % 6 == 0;
        if (lie) {
            bytes32 root = seed % 2 == 0 ? lineage.model(source).digestRoot : freshDelta().digestRoot;
            // Where nothing of the sum changes, the source's own digest is right.
            lie = root != rootOf(target(lineage.model(source).lastRound, id));
            claimSuccessor(id, source, ILineage.Delta(bytes32(++salts), root));
        } else {
            claimSuccessor(id, source);
        }
        _claimIsWrong = lie;
    }

    function _tryClose(uint256 seed) private {
        _close(_anOpen(seed));
    }

    function _close(uint64 id) private {
        withdrawals.close(id);
        ++_reached.closed;
        _noteClosed(id, withdrawals.withdrawal(id));
    }

    /// @dev Remembers what may be in no model from now on.
    function _noteClosed(uint64 id, IWithdrawals.Withdrawal memory it) private {
        if (it.method == ILineage.Kind.CounterTraining) return;
        if (it.subject == 0) {
            _withdrawnOrganization[it.organization] = true;
            return;
        }
        if (!applied[id]) return;
        uint64 start = it.method == ILineage.Kind.Replay ? replayStart(id, it) : 0;
        for (uint256 i = 0; i < offered.length; ++i) {
            Offered memory offer = offered[i];
            if (offer.withdrawal != id || offer.round < start) continue;
            if (offer.round == start && offer.organization != it.organization) continue;
            _withdrawnRoot[rounds.entry(offer.round, offer.organization).digestRoot] = true;
            for (uint256 j = 0; j < i; ++j) {
                if (offered[j].round != offer.round || offered[j].organization != offer.organization) continue;
                if (offered[j].withdrawal != id) _withdrawnRoot[offered[j].root] = true;
            }
        }
    }

    function _tryEscalate(uint256 seed) private {
        uint64 id = _anOpen(seed);
        require(seed % 8 == 0 && withdrawals.withdrawal(id).state == IWithdrawals.State.Preparing);
        _passTo(withdrawals.withdrawal(id).deadline + 1);
        withdrawals.escalate(id);
        ++_reached.escalated;
    }

    function _tryFallBack(uint256 seed) private {
        require(seed % 4 == 0);
        uint64 id = _anOpen(seed >> 2);
        vm.prank(address(governance));
        withdrawals.fallBack(id);
    }

    function _trySlash(uint256 seed) private {
        uint64 id = _anOpen(seed);
        IWithdrawals.Withdrawal memory it = withdrawals.withdrawal(id);
        require(it.state == IWithdrawals.State.Requested);
        if (it.deadline >= clock()) {
            require(seed % 8 == 0);
            _passTo(it.deadline + 1);
        }
        withdrawals.slash(id);
        ++_reached.slashed;
    }

    function _tryRelease() private {
        require(lineage.modelsInUse().length < 3);
        uint64 head = lineage.head();
        vm.prank(aggregator);
        lineage.release(head);
    }

    function _tryRetire(uint256 seed) private {
        uint64[] memory inUse = lineage.modelsInUse();
        uint64 id = inUse[seed % inUse.length];
        vm.prank(aggregator);
        lineage.retire(id);
    }

    // Members and money

    function _tryJoin() private {
        require(orgs.length < MOST_MEMBERS && members.activeCount() < 4);
        join(address(uint160(0x1001 + orgs.length)));
        paidIn += BOND;
    }

    function _tryResign(uint256 seed) private {
        require(seed % 4 == 0);
        vm.prank(orgs[(seed >> 8) % orgs.length]);
        members.resign();
    }

    function _tryTopUp(uint256 seed) private {
        address who = orgs[seed % orgs.length];
        uint256 missing = BOND - members.member(who).bond;
        vm.deal(who, who.balance + missing);
        vm.prank(who);
        members.topUp{value: missing}();
        paidIn += missing;
    }

    function _tryPostBond() private {
        require(!members.aggregatorReady());
        _postBond();
    }

    function _postBond() private {
        vm.prank(aggregator);
        members.postAggregatorBond{value: AGGREGATOR_BOND}();
        paidIn += AGGREGATOR_BOND;
    }

    function _trySetAggregator(uint256 seed) private {
        require(seed % 8 == 0);
        aggregator = _aggregators[(seed >> 8) % 2];
        vm.prank(address(governance));
        members.setAggregator(aggregator, bytes32(uint256(1)));
    }

    function stepTakeOut(uint256 seed) public step(seed) {
        uint256 what = seed % 4;
        address who = orgs[(seed >> 8) % orgs.length];
        if (what == 1) who = [anyone, _aggregators[0], _aggregators[1], who][(seed >> 8) % 4];
        if (what == 3) who = _aggregators[(seed >> 8) % 2];
        uint256 before = who.balance;
        if (what > 1 && withdrawals.open().length == 0) _passTo(clock() + EXIT);
        vm.prank(who);
        if (what == 0) rewards.claim();
        else if (what == 1) members.claimCompensation();
        else if (what == 2) members.reclaimBond();
        else members.reclaimAggregatorBond();
        paidOut += who.balance - before;
    }

    function _tryFund(uint256 seed) private {
        vm.prank(anyone);
        rewards.fund{value: seed % 1 ether}();
        paidIn += seed % 1 ether;
    }

    function stepPass(uint256 seed) public step(seed) {
        _passTo(clock() + uint64(seed % 30));
    }

    // What must hold

    function membersHoldWhatTheyOwe() external view returns (bool) {
        uint256 owed = members.compensation(anyone);
        for (uint256 i = 0; i < orgs.length; ++i) {
            owed += members.member(orgs[i]).bond + members.compensation(orgs[i]);
        }
        for (uint256 i = 0; i < 2; ++i) {
            owed += members.aggregatorBondOf(_aggregators[i]) + members.compensation(_aggregators[i]);
        }
        return address(members).balance == owed;
    }

    function rewardsHoldWhatTheyOwe() external view returns (bool) {
        uint256 owed = rewards.pool();
        for (uint256 i = 0; i < orgs.length; ++i) {
            owed += rewards.pending(orgs[i]);
        }
        return address(rewards).balance == owed;
    }

    function lineageHoldsADemandedDeposit() external view returns (bool) {
        return address(lineage).balance == (lineage.claim().challenger == address(0) ? 0 : DEPOSIT);
    }

    function moneyAddsUp() external view returns (bool) {
        return address(members).balance + address(rewards).balance + address(lineage).balance == paidIn - paidOut;
    }

    /// @dev A claim is pending for a round if and only if that round waits for it.
    function oneClaimAtMost() external view returns (bool) {
        ILineage.Claim memory it = lineage.claim();
        uint64 round = rounds.currentRound();
        bool waits = rounds.roundOf(round).state == IRounds.State.Aggregated;
        return waits == (it.open && it.kind == ILineage.Kind.Round) && (!waits || it.round == round);
    }

    /// @dev Everything once more, at the end of a run.
    function nothingMovedBackwards() external returns (bool) {
        for (uint64 round = 1; round <= rounds.currentRound(); ++round) {
            _sampleRound(round);
        }
        for (uint64 id = 1; id <= withdrawals.count(); ++id) {
            _sampleWithdrawal(id);
        }
        for (uint256 i = 0; i < orgs.length; ++i) {
            _sampleMember(orgs[i]);
        }
        return !faults.movedBackwards;
    }

    function _checkModels() private {
        uint64 count = lineage.modelCount();
        while (_checkedModels < count) {
            uint64 id = ++_checkedModels;
            ILineage.Model memory it = lineage.model(id);
            (ILineage.Part[] memory parts,) = lineage.contentOf(id, 0, type(uint64).max);
            int256[16] memory sum;
            for (uint256 i = 0; i < parts.length; ++i) {
                add(sum, parts[i].digestRoot, int256(uint256(parts[i].weight)));
                if (_withdrawnOrganization[parts[i].organization] || _withdrawnRoot[parts[i].digestRoot]) {
                    faults.withdrawnDeltaCameBack = true;
                }
            }
            bytes32 root = rootOf(reduced(sum));
            if (root != it.digestRoot) faults.modelDoesNotAddUp = true;
            if (it.kind != ILineage.Kind.Round && root != rootOf(target(it.lastRound, 0))) {
                faults.modelDoesNotAddUp = true;
            }
        }
    }

    function _sample(uint256 seed) private {
        _sampleRound(rounds.currentRound());
        uint64 count = withdrawals.count();
        if (count != 0) _sampleWithdrawal(uint64(1 + (seed >> 3) % count));
        _sampleMember(orgs[(seed >> 5) % orgs.length]);
    }

    function _sampleRound(uint64 round) private {
        uint8 state = uint8(rounds.roundOf(round).state);
        uint8 before = _roundState[round];
        bool ended = before >= uint8(IRounds.State.Final);
        if (ended ? state != before : state < before) faults.movedBackwards = true;
        _roundState[round] = state;
    }

    function _sampleWithdrawal(uint64 id) private {
        uint8 state = uint8(withdrawals.withdrawal(id).state);
        if (state < _withdrawalState[id]) faults.movedBackwards = true;
        _withdrawalState[id] = state;
    }

    function _sampleMember(address who) private {
        uint8 status = uint8(members.statusOf(who));
        if (status < _memberStatus[who]) faults.movedBackwards = true;
        _memberStatus[who] = status;
    }

    /// @dev Lets time pass; someone watches, so no wrong claim outlives its window.
    function _passTo(uint64 time) private {
        if (_claimIsWrong && !lineage.claim().mustProve && _optimistic) _challenge();
        if (time > clock()) vm.warp(time);
    }

    function _anOpen(uint256 seed) private view returns (uint64) {
        uint64[] memory ids = withdrawals.open();
        return ids[seed % ids.length];
    }

    function _bits(uint256 seed, uint256 place) private pure returns (uint256) {
        return uint256(keccak256(abi.encode(seed, place)));
    }
}
