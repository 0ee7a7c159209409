// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMembers} from "./interfaces/IMembers.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {IWithdrawals} from "./interfaces/IWithdrawals.sol";

contract Rounds is IRounds {
    uint16 public constant WEIGHT_ONE = 10_000;

    struct Settings {
        bytes32 parametersId;
        bytes32 baseModelId;
        bool federated;
        bool sharedLayout;
        uint64 commitSeconds;
        uint64 revealSeconds;
        uint64 finalizeSeconds;
    }

    IMembers public immutable members;
    IRewards public immutable rewards;
    address public immutable aggregator;
    address public immutable deployer;
    IWithdrawals public withdrawals;
    Settings public settings;
    uint64 public currentRound;
    uint64 public latestModel;

    mapping(uint64 => Round) private _rounds;
    mapping(uint64 => mapping(address => Entry)) private _entries;
    mapping(uint64 => address[]) private _committed;
    mapping(uint64 => uint256) private _sitOuts;
    mapping(uint64 => uint256) private _reveals;
    mapping(uint64 => Contribution[]) private _contributions;
    mapping(uint64 => Rejection[]) private _rejections;
    mapping(uint64 => Model) private _models;
    mapping(bytes32 => bool) public artifactSeen;
    address[] private _removed;
    /// @notice Place of an organization among the removed, from 1; 0 if it was not removed.
    mapping(address => uint64) public removedAt;

    modifier onlyAggregator() {
        if (msg.sender != aggregator) revert NotAggregator(msg.sender);
        _;
    }

    constructor(IMembers members_, IRewards rewards_, address aggregator_, Settings memory settings_) {
        if (aggregator_ == address(0) || settings_.parametersId == 0 || settings_.baseModelId == 0) {
            revert EmptyValue();
        }
        members = members_;
        rewards = rewards_;
        aggregator = aggregator_;
        deployer = msg.sender;
        settings = settings_;
    }

    /// @notice Name the withdrawals contract, once, at deployment.
    function wire(IWithdrawals withdrawals_) external {
        if (msg.sender != deployer || address(withdrawals) != address(0)) revert AlreadyWired();
        if (address(withdrawals_) == address(0)) revert EmptyValue();
        withdrawals = withdrawals_;
    }

    function openRound() external onlyAggregator returns (uint64 round) {
        State last = _rounds[currentRound].state;
        if (currentRound != 0 && last != State.Final && last != State.Abandoned) revert RoundUnfinished(currentRound);
        if (withdrawals.anyOverdue()) revert WithdrawalOverdue();
        round = ++currentRound;
        Round storage it = _rounds[round];
        it.state = State.Open;
        it.openedAt = uint64(block.timestamp);
        it.parentModel = latestModel;
        it.commitDeadline = uint64(block.timestamp) + settings.commitSeconds;
        it.revealDeadline = it.commitDeadline + settings.revealSeconds;
        it.finalizeDeadline = it.revealDeadline + settings.finalizeSeconds;
        emit RoundOpened(round, it.commitDeadline, it.revealDeadline, it.finalizeDeadline);
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
        ++_sitOuts[round];
        emit SatOut(round, msg.sender);
    }

    function closeCommits(uint64 round) external {
        Round storage it = _inState(round, State.Open);
        if (block.timestamp <= it.commitDeadline && !_allAnswered(round)) {
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

    function reveal(uint64 round, bytes32 artifactId, bytes32 salt) external {
        Round storage it = _inState(round, State.Committed);
        if (block.timestamp > it.revealDeadline) revert DeadlinePassed(round, it.revealDeadline);
        Entry storage mine = _entries[round][msg.sender];
        if (mine.answer != Answer.Committed) revert NothingCommitted(round, msg.sender);
        if (mine.commitment != keccak256(abi.encode(round, msg.sender, artifactId, salt))) {
            revert CommitmentMismatch(round, msg.sender);
        }
        if (artifactSeen[artifactId]) revert ArtifactSeenBefore(artifactId);
        artifactSeen[artifactId] = true;
        mine.answer = Answer.Revealed;
        mine.artifactId = artifactId;
        ++_reveals[round];
        emit UpdateRevealed(round, msg.sender, artifactId);
    }

    function closeReveals(uint64 round) external {
        Round storage it = _inState(round, State.Committed);
        if (block.timestamp <= it.revealDeadline && !_allRevealed(round)) {
            revert DeadlineAhead(round, it.revealDeadline);
        }
        emit RevealsClosed(round, _reveals[round]);
        if (_reveals[round] == 0) {
            _abandon(round);
            return;
        }
        it.state = State.Revealed;
        it.finalizeDeadline = uint64(block.timestamp) + settings.finalizeSeconds;
    }

    function finalize(
        uint64 round,
        Contribution[] calldata accepted,
        Rejection[] calldata rejected,
        bytes32 aggregateId,
        bytes32 adapterId
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
        if (aggregateId == 0 || adapterId == 0) revert EmptyValue();
        (address[] memory organizations, uint256[] memory scores) = _recordContributions(round, accepted);
        it.state = State.Final;
        it.aggregateId = aggregateId;
        it.model = _register(adapterId, round, Kind.Round);
        emit RoundFinalized(round, it.model, aggregateId, adapterId);
        rewards.credit(round, organizations, scores);
    }

    function abandon(uint64 round) external {
        Round storage it = _rounds[round];
        if (it.state == State.None || it.state == State.Final || it.state == State.Abandoned) {
            revert WrongState(round, it.state);
        }
        if (block.timestamp <= it.finalizeDeadline) revert DeadlineAhead(round, it.finalizeDeadline);
        _abandon(round);
    }

    function registerRemoval(address organization, bytes32 adapterId) external {
        if (msg.sender != address(withdrawals)) revert NotWithdrawals(msg.sender);
        if (adapterId == 0) revert EmptyValue();
        if (removedAt[organization] != 0) revert Withdrawn(organization);
        _removed.push(organization);
        removedAt[organization] = uint64(_removed.length);
        uint64 id = _register(adapterId, _models[latestModel].lastRound, Kind.Removal);
        emit OrganizationRemoved(organization, id);
    }

    function roundOf(uint64 id) external view returns (Round memory) {
        return _rounds[id];
    }

    function entry(uint64 id, address organization) external view returns (Entry memory) {
        return _entries[id][organization];
    }

    /// @notice Organizations that committed in a round, in order.
    function committed(uint64 id) external view returns (address[] memory) {
        return _committed[id];
    }

    function contributions(uint64 id) external view returns (Contribution[] memory) {
        return _contributions[id];
    }

    function rejections(uint64 id) external view returns (Rejection[] memory) {
        return _rejections[id];
    }

    function model(uint64 id) external view returns (Model memory) {
        if (id > latestModel) revert UnknownModel(id);
        return _models[id];
    }

    function removed() external view returns (address[] memory) {
        return _removed;
    }

    function contentOf(uint64 modelId, uint64 id)
        external
        view
        returns (address[] memory organizations, bytes32[] memory artifactIds, uint16[] memory weights)
    {
        if (modelId > latestModel) revert UnknownModel(modelId);
        Contribution[] storage all = _contributions[id];
        uint256 kept = 0;
        if (id <= _models[modelId].lastRound) {
            for (uint256 i = 0; i < all.length; ++i) {
                if (!_excluded(modelId, all[i].organization)) ++kept;
            }
        }
        organizations = new address[](kept);
        artifactIds = new bytes32[](kept);
        weights = new uint16[](kept);
        uint256 place = 0;
        for (uint256 i = 0; i < all.length && place < kept; ++i) {
            if (_excluded(modelId, all[i].organization)) continue;
            organizations[place] = all[i].organization;
            artifactIds[place] = all[i].artifactId;
            weights[place] = _weight(place, kept);
            ++place;
        }
    }

    function isClean(uint64 modelId, address organization) external view returns (bool) {
        if (modelId > latestModel) revert UnknownModel(modelId);
        if (_excluded(modelId, organization)) return true;
        for (uint64 id = 1; id <= _models[modelId].lastRound; ++id) {
            Contribution[] storage all = _contributions[id];
            for (uint256 i = 0; i < all.length; ++i) {
                if (all[i].organization == organization) return false;
            }
        }
        return true;
    }

    /// @notice Whether every active member has committed or sat out.
    function allAnswered(uint64 id) external view returns (bool) {
        return _allAnswered(id);
    }

    /// @notice Whether every commitment of a member that is still active is open.
    function allRevealed(uint64 id) external view returns (bool) {
        return _allRevealed(id);
    }

    function _recordContributions(uint64 id, Contribution[] calldata accepted)
        private
        returns (address[] memory organizations, uint256[] memory scores)
    {
        organizations = new address[](accepted.length);
        scores = new uint256[](accepted.length);
        address previous = address(0);
        for (uint256 i = 0; i < accepted.length; ++i) {
            Contribution calldata it = accepted[i];
            if (it.organization <= previous) revert NotAscending(it.organization);
            previous = it.organization;
            Entry storage its = _entries[id][it.organization];
            if (its.answer != Answer.Revealed || its.artifactId != it.artifactId) {
                revert NotRevealed(id, it.organization);
            }
            if (members.statusOf(it.organization) != IMembers.Status.Active) revert Withdrawn(it.organization);
            if (it.weight != _weight(i, accepted.length)) {
                revert WrongWeight(it.organization, it.weight, _weight(i, accepted.length));
            }
            if (it.score > WEIGHT_ONE) revert ScoreTooHigh(it.organization, it.score);
            for (uint256 j = 0; j < _rejections[id].length; ++j) {
                if (_rejections[id][j].organization == it.organization) revert NotAscending(it.organization);
            }
            organizations[i] = it.organization;
            scores[i] = it.score;
            _contributions[id].push(it);
            emit ContributionAccepted(id, it.organization, it.artifactId, it.weight, it.score);
        }
    }

    function _recordRejections(uint64 id, Rejection[] calldata rejected) private {
        address previous = address(0);
        for (uint256 i = 0; i < rejected.length; ++i) {
            Rejection calldata it = rejected[i];
            if (it.organization <= previous) revert NotAscending(it.organization);
            previous = it.organization;
            if (_entries[id][it.organization].answer != Answer.Revealed) revert NotRevealed(id, it.organization);
            _rejections[id].push(it);
            emit ContributionRejected(id, it.organization, it.reason);
        }
    }

    function _register(bytes32 adapterId, uint64 lastRound, Kind kind) private returns (uint64 id) {
        uint64 parent = latestModel;
        id = ++latestModel;
        _models[id] = Model(adapterId, parent, lastRound, uint64(_removed.length), uint64(block.number), kind);
        emit ModelRegistered(id, parent, adapterId, kind);
    }

    function _abandon(uint64 id) private {
        _rounds[id].state = State.Abandoned;
        emit RoundAbandoned(id);
    }

    function _mayAnswer(uint64 id) private view returns (Entry storage mine) {
        Round storage it = _inState(id, State.Open);
        if (block.timestamp > it.commitDeadline) revert DeadlinePassed(id, it.commitDeadline);
        if (members.statusOf(msg.sender) != IMembers.Status.Active) revert NotActive(msg.sender);
        mine = _entries[id][msg.sender];
        if (mine.answer != Answer.None) revert AlreadyAnswered(id, msg.sender);
    }

    function _inState(uint64 id, State wanted) private view returns (Round storage it) {
        it = _rounds[id];
        if (it.state != wanted) revert WrongState(id, it.state);
    }

    function _allAnswered(uint64 id) private view returns (bool) {
        address[] memory all = members.organizations();
        for (uint256 i = 0; i < all.length; ++i) {
            if (_entries[id][all[i]].answer == Answer.None && members.statusOf(all[i]) == IMembers.Status.Active) {
                return false;
            }
        }
        return true;
    }

    function _allRevealed(uint64 id) private view returns (bool) {
        address[] storage all = _committed[id];
        for (uint256 i = 0; i < all.length; ++i) {
            if (_entries[id][all[i]].answer != Answer.Revealed && members.statusOf(all[i]) == IMembers.Status.Active) {
                return false;
            }
        }
        return true;
    }

    function _excluded(uint64 modelId, address organization) private view returns (bool) {
        uint64 place = removedAt[organization];
        return place != 0 && place <= _models[modelId].excluded;
    }

    /// @dev Weight of the organization at `place`, in ascending order of addresses, among `total`.
    function _weight(uint256 place, uint256 total) private view returns (uint16) {
        if (!settings.sharedLayout) return WEIGHT_ONE;
        uint256 extra = place < WEIGHT_ONE % total ? 1 : 0;
        return uint16(WEIGHT_ONE / total + extra);
    }
}
