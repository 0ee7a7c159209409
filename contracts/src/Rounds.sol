// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "./interfaces/ILineage.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {IWithdrawals} from "./interfaces/IWithdrawals.sol";
import {Weights} from "./libraries/Weights.sol";

contract Rounds is IRounds {
    IMembers public immutable members;
    ILineage public immutable lineage;
    IWithdrawals public immutable withdrawals;
    IRewards public immutable rewards;
    Settings public settings;
    uint64 public currentRound;

    mapping(uint64 => Round) private _rounds;
    mapping(uint64 => mapping(address => Entry)) private _entries;
    mapping(uint64 => address[]) private _committed;
    mapping(uint64 => uint256) private _reveals;
    mapping(uint64 => Rejection[]) private _rejections;

    modifier onlyAggregator() {
        if (msg.sender != members.aggregator()) revert NotAggregator(msg.sender);
        _;
    }

    modifier onlyLineage() {
        if (msg.sender != address(lineage)) revert NotLineage(msg.sender);
        _;
    }

    constructor(
        IMembers members_,
        ILineage lineage_,
        IWithdrawals withdrawals_,
        IRewards rewards_,
        Settings memory settings_
    ) {
        if (settings_.parametersId == 0 || settings_.baseModelId == 0 || settings_.maxRounds == 0) {
            revert EmptyValue();
        }
        members = members_;
        lineage = lineage_;
        withdrawals = withdrawals_;
        rewards = rewards_;
        settings = settings_;
    }

    function openRound() external onlyAggregator returns (uint64 round) {
        State last = _rounds[currentRound].state;
        if (currentRound != 0 && last != State.Final && last != State.Abandoned) revert RoundUnfinished(currentRound);
        if (currentRound == settings.maxRounds) revert TooManyRounds(settings.maxRounds);
        if (!members.aggregatorReady()) revert AggregatorBondMissing();
        if (withdrawals.anyOverdue()) revert WithdrawalOverdue();
        round = ++currentRound;
        Round storage it = _rounds[round];
        it.state = State.Open;
        it.openedAt = uint64(block.timestamp);
        it.parentModel = lineage.head();
        it.commitDeadline = uint64(block.timestamp) + settings.commitSeconds;
        it.revealDeadline = it.commitDeadline + settings.revealSeconds;
        it.finalizeDeadline = it.revealDeadline + settings.finalizeSeconds;
        emit RoundOpened(round, it.parentModel, it.commitDeadline, it.revealDeadline, it.finalizeDeadline);
    }

    function commit(uint64 round, bytes32 commitment) external {
        if (commitment == 0) revert EmptyValue();
        Entry storage mine = _mayAnswer(round);
        mine.answer = Answer.Committed;
        mine.commitment = commitment;
        _committed[round].push(msg.sender);
        emit UpdateCommitted(round, msg.sender, commitment);
    }

    function sitOut(uint64 round) external {
        _mayAnswer(round).answer = Answer.SatOut;
        emit SatOut(round, msg.sender);
    }

    function closeCommits(uint64 round) external {
        Round storage it = _inState(round, State.Open);
        if (block.timestamp <= it.commitDeadline && !allAnswered(round)) {
            revert DeadlineAhead(round, it.commitDeadline);
        }
        uint256 commits = _committed[round].length;
        emit CommitsClosed(round, commits);
        if (commits == 0) {
            _abandon(round);
            return;
        }
        it.state = State.Committed;
        // An early end of the commit phase must not shorten the next one's time on the clock.
        it.revealDeadline = uint64(block.timestamp) + settings.revealSeconds;
        it.finalizeDeadline = it.revealDeadline + settings.finalizeSeconds;
    }

    function reveal(uint64 round, bytes32 artifactId, bytes32 digestRoot, bytes32 manifest, bytes32 salt) external {
        Round storage it = _inState(round, State.Committed);
        if (block.timestamp > it.revealDeadline) revert DeadlinePassed(round, it.revealDeadline);
        Entry storage mine = _entries[round][msg.sender];
        if (mine.answer != Answer.Committed) revert NothingCommitted(round, msg.sender);
        if (mine.commitment != keccak256(abi.encode(round, msg.sender, artifactId, digestRoot, manifest, salt))) {
            revert CommitmentMismatch(round, msg.sender);
        }
        mine.answer = Answer.Revealed;
        mine.artifactId = artifactId;
        mine.digestRoot = digestRoot;
        ++_reveals[round];
        emit UpdateRevealed(round, msg.sender, artifactId, digestRoot, manifest);
        lineage.registerDelta(msg.sender, artifactId, digestRoot);
    }

    function closeReveals(uint64 round) external {
        Round storage it = _inState(round, State.Committed);
        if (block.timestamp <= it.revealDeadline && !allRevealed(round)) {
            revert DeadlineAhead(round, it.revealDeadline);
        }
        emit RevealsClosed(round, _reveals[round]);
        if (_reveals[round] == 0) {
            _abandon(round);
        } else {
            it.state = State.Revealed;
            it.finalizeDeadline = uint64(block.timestamp) + settings.finalizeSeconds;
        }
        _penalizeUnrevealed(round);
    }

    function aggregate(
        uint64 round,
        ILineage.Contribution[] calldata accepted,
        Rejection[] calldata rejected,
        ILineage.Delta calldata sum,
        ILineage.Delta calldata adapter
    ) external onlyAggregator {
        Round storage it = _inState(round, State.Revealed);
        if (block.timestamp > it.finalizeDeadline) revert DeadlinePassed(round, it.finalizeDeadline);
        if (accepted.length + rejected.length != _reveals[round]) {
            revert UnaccountedFor(round, accepted.length + rejected.length, _reveals[round]);
        }
        _recordRejections(round, rejected);
        if (accepted.length == 0) {
            _abandon(round);
            return;
        }
        _checkContributions(round, accepted);
        it.state = State.Aggregated;
        emit RoundAggregated(round, sum.artifactId, adapter.artifactId);
        lineage.claimRound(round, accepted, sum, adapter, it.finalizeDeadline);
    }

    function conclude(uint64 round, uint64 model) external onlyLineage {
        Round storage it = _inState(round, State.Aggregated);
        it.state = State.Final;
        it.model = model;
        emit RoundFinalized(round, model);
        ILineage.Contribution[] memory all = lineage.contributions(round);
        address[] memory organizations = new address[](all.length);
        uint256[] memory scores = new uint256[](all.length);
        for (uint256 i = 0; i < all.length; ++i) {
            organizations[i] = all[i].organization;
            scores[i] = all[i].score;
        }
        rewards.credit(round, organizations, scores);
    }

    function reject(uint64 round) external onlyLineage {
        _inState(round, State.Aggregated);
        _abandon(round);
    }

    function abandon(uint64 round) external {
        Round storage it = _rounds[round];
        if (it.state != State.Open && it.state != State.Committed && it.state != State.Revealed) {
            revert WrongState(round, it.state);
        }
        if (block.timestamp <= it.finalizeDeadline) revert DeadlineAhead(round, it.finalizeDeadline);
        _abandon(round);
    }

    function roundOf(uint64 round) external view returns (Round memory) {
        return _rounds[round];
    }

    function entry(uint64 round, address organization) external view returns (Entry memory) {
        return _entries[round][organization];
    }

    function committed(uint64 round) external view returns (address[] memory) {
        return _committed[round];
    }

    function rejections(uint64 round) external view returns (Rejection[] memory) {
        return _rejections[round];
    }

    function allAnswered(uint64 round) public view returns (bool) {
        address[] memory all = members.organizations();
        for (uint256 i = 0; i < all.length; ++i) {
            if (_entries[round][all[i]].answer == Answer.None && members.mayContribute(all[i])) return false;
        }
        return true;
    }

    function allRevealed(uint64 round) public view returns (bool) {
        address[] storage all = _committed[round];
        for (uint256 i = 0; i < all.length; ++i) {
            if (_entries[round][all[i]].answer != Answer.Revealed && _isActive(all[i])) return false;
        }
        return true;
    }

    function _checkContributions(uint64 round, ILineage.Contribution[] calldata accepted) private {
        address previous = address(0);
        for (uint256 i = 0; i < accepted.length; ++i) {
            ILineage.Contribution calldata it = accepted[i];
            if (it.organization <= previous) revert NotAscending(it.organization);
            previous = it.organization;
            Entry storage its = _entries[round][it.organization];
            if (its.answer != Answer.Revealed || its.artifactId != it.artifactId || its.digestRoot != it.digestRoot) {
                revert NotRevealed(round, it.organization);
            }
            if (!_isActive(it.organization)) revert Withdrawn(it.organization);
            uint16 required = Weights.share(settings.sharedLayout, i, accepted.length);
            if (it.weight != required) revert WrongWeight(it.organization, it.weight, required);
            if (it.score > Weights.ONE) revert ScoreTooHigh(it.organization, it.score);
            for (uint256 j = 0; j < _rejections[round].length; ++j) {
                if (_rejections[round][j].organization == it.organization) revert NotAscending(it.organization);
            }
            emit ContributionAccepted(round, it.organization, it.artifactId, it.weight, it.score);
        }
    }

    function _recordRejections(uint64 round, Rejection[] calldata rejected) private {
        address previous = address(0);
        for (uint256 i = 0; i < rejected.length; ++i) {
            Rejection calldata it = rejected[i];
            if (it.organization <= previous) revert NotAscending(it.organization);
            previous = it.organization;
            if (_entries[round][it.organization].answer != Answer.Revealed) revert NotRevealed(round, it.organization);
            _rejections[round].push(it);
            emit ContributionRejected(round, it.organization, it.reason);
        }
    }

    function _penalizeUnrevealed(uint64 round) private {
        address[] storage all = _committed[round];
        for (uint256 i = 0; i < all.length; ++i) {
            if (_entries[round][all[i]].answer == Answer.Committed && _isActive(all[i])) members.penalize(all[i]);
        }
    }

    function _abandon(uint64 round) private {
        _rounds[round].state = State.Abandoned;
        emit RoundAbandoned(round);
    }

    function _isActive(address organization) private view returns (bool) {
        return members.statusOf(organization) == IMembers.Status.Active;
    }

    function _mayAnswer(uint64 round) private view returns (Entry storage mine) {
        Round storage it = _inState(round, State.Open);
        if (block.timestamp > it.commitDeadline) revert DeadlinePassed(round, it.commitDeadline);
        if (!members.mayContribute(msg.sender)) revert MayNotContribute(msg.sender);
        mine = _entries[round][msg.sender];
        if (mine.answer != Answer.None) revert AlreadyAnswered(round, msg.sender);
    }

    function _inState(uint64 round, State wanted) private view returns (Round storage it) {
        it = _rounds[round];
        if (it.state != wanted) revert WrongState(round, it.state);
    }
}
