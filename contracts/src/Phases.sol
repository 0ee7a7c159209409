// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ArtifactId, MemberId, ModelId, PointHash, RoundId} from "./Types.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IReplays} from "./interfaces/IReplays.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Curve} from "./libraries/Curve.sol";

/// @title From opening a round to its last reveal: who does what, and until when.
abstract contract Phases is IRounds {
    using Bitmap for uint256[4];
    using Curve for bytes;

    /// @notice Most parts of a contribution.
    uint256 public constant MOST_PARTS = 4;
    /// @notice Content is looked up round by round, so a sum over all of them must fit into a few transactions.
    uint256 public constant MOST_ROUNDS = 1_024;

    /// @dev As Answers; but with all who answered in place of those who committed, so that a commitment reads one word of
    /// them instead of three.
    struct Sets {
        uint256[4] answered;
        uint256[4] revealed;
        uint256[4] accepted;
        uint256[4] satOut;
        uint256[4] unavailable;
    }

    IMembers public immutable members;
    IModels public immutable models;
    IReplays public immutable replays;
    IRewards public immutable rewards;
    /// @inheritdoc IRounds
    uint256 public immutable partCount;

    /// @inheritdoc IRounds
    RoundId public currentRound;
    Settings internal _settings;
    mapping(RoundId => Round) internal _rounds;
    mapping(RoundId => Sets) internal _answers;
    /// @dev The aggregator that opened a round answers for its parent model, also after it resigned.
    mapping(RoundId => address) private _openedBy;
    /// @dev A member's commitment, and once it revealed, the hash of the point of its first part.
    mapping(RoundId => mapping(MemberId => bytes32)) private _entries;
    mapping(RoundId => mapping(MemberId => mapping(uint256 => PointHash))) private _furtherPoints;
    /// @inheritdoc IRounds
    mapping(PointHash => ArtifactId) public artifactOf;

    modifier onlyAggregator() {
        if (msg.sender != members.aggregator()) revert NotAggregator(msg.sender);
        _;
    }

    constructor(IMembers members_, IModels models_, IReplays replays_, IRewards rewards_, Settings memory settings_) {
        if (settings_.parametersId == 0 || settings_.baseModelId == 0) revert EmptyValue();
        bool fits = settings_.rules.length > 0 && settings_.rules.length <= MOST_PARTS;
        if (!fits || settings_.maxRounds == 0 || settings_.maxRounds > MOST_ROUNDS) revert WrongSettings();
        members = members_;
        models = models_;
        replays = replays_;
        rewards = rewards_;
        _settings = settings_;
        partCount = settings_.rules.length;
    }

    /// @inheritdoc IRounds
    function open() external onlyAggregator returns (RoundId round) {
        uint64 last = RoundId.unwrap(currentRound);
        State state = _rounds[currentRound].state;
        if (last != 0 && state != State.Final && state != State.Abandoned) revert RoundUnfinished(currentRound);
        if (last == _settings.maxRounds) revert TooManyRounds(_settings.maxRounds);
        if (!members.aggregatorReady()) revert AggregatorBondMissing();
        if (replays.isPending()) revert ReplayUnderWay();
        // Rounds that close at once, because no one has to answer, would use up all that there may be.
        uint256[4] memory eligible = members.eligibleMembers();
        if (eligible.count() == 0) revert NoContributor();
        ModelId parent = models.head();
        if (models.isStale(parent)) revert StaleParent(parent);
        round = RoundId.wrap(last + 1);
        currentRound = round;
        _openedBy[round] = msg.sender;
        uint40 deadline = uint40(block.timestamp) + _settings.commitSeconds;
        _rounds[round] = Round(State.Open, false, uint40(block.timestamp), deadline, parent, ModelId.wrap(0));
        emit RoundOpened(round, parent, deadline);
    }

    /// @inheritdoc IRounds
    function commit(RoundId round, bytes32 commitment) external {
        if (commitment == 0) revert EmptyValue();
        _entries[round][_answer(round)] = commitment;
        emit UpdateCommitted(round, msg.sender, commitment);
    }

    /// @inheritdoc IRounds
    function sitOut(RoundId round) external {
        _answers[round].satOut.add(_answer(round));
        emit SatOut(round, msg.sender);
    }

    /// @inheritdoc IRounds
    function reportUnavailable(RoundId round) external {
        _answers[round].unavailable.add(_answer(round));
        emit ParentUnavailable(round, msg.sender);
    }

    /// @inheritdoc IRounds
    function closeCommits(RoundId round) external {
        Round storage its = _inState(round, State.Open);
        if (block.timestamp <= its.deadline && !allAnswered(round)) revert DeadlineAhead(round, its.deadline);
        uint256[4] memory active = members.activeMembers();
        uint256 missing = _both(_load(_answers[round].unavailable), active).count();
        if (2 * missing > members.activeCount()) {
            members.penalizeAggregator(_openedBy[round]);
            _abandon(round);
        } else if (_both(_committed(round), active).count() == 0) {
            _abandon(round);
        } else {
            its.state = State.Committed;
            its.deadline = uint40(block.timestamp) + _settings.revealSeconds;
            emit CommitsClosed(round, its.deadline);
        }
    }

    /// @inheritdoc IRounds
    function reveal(
        RoundId round,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest,
        bytes32 salt
    ) external {
        Round storage its = _inState(round, State.Committed);
        if (block.timestamp > its.deadline) revert DeadlinePassed(round, its.deadline);
        MemberId member = members.numberOf(msg.sender);
        bytes32 opened = keccak256(abi.encode(round, msg.sender, artifactIds, keccak256(points), manifest, salt));
        bytes32 commitment = _entries[round][member];
        if (commitment == 0 || _answers[round].revealed.has(member)) revert NothingCommitted(round, msg.sender);
        if (opened != commitment) revert CommitmentMismatch(round, msg.sender);
        _register(round, member, artifactIds, points);
        _answers[round].revealed.add(member);
        emit UpdateRevealed(round, msg.sender, member, artifactIds, points, manifest);
    }

    /// @inheritdoc IRounds
    function closeReveals(RoundId round) external {
        Round storage its = _inState(round, State.Committed);
        if (block.timestamp <= its.deadline && !allRevealed(round)) revert DeadlineAhead(round, its.deadline);
        uint256[4] memory unrevealed = _unrevealed(round);
        if (unrevealed.count() != 0) members.suspend(unrevealed);
        if (_load(_answers[round].revealed).count() == 0) {
            _abandon(round);
        } else {
            its.state = State.Revealed;
            its.deadline = uint40(block.timestamp) + _settings.judgeSeconds;
            emit RevealsClosed(round, its.deadline);
        }
    }

    /// @inheritdoc IRounds
    function roundOf(RoundId round) external view returns (Round memory) {
        return _rounds[round];
    }

    /// @inheritdoc IRounds
    function answersOf(RoundId round) external view returns (Answers memory) {
        Sets storage its = _answers[round];
        return Answers(_committed(round), its.revealed, its.accepted, its.satOut, its.unavailable);
    }

    /// @inheritdoc IRounds
    function acceptedIn(RoundId round) external view returns (uint256[4] memory) {
        return _load(_answers[round].accepted);
    }

    /// @inheritdoc IRounds
    function isAccepted(RoundId round, MemberId member) external view returns (bool) {
        return _answers[round].accepted.has(member);
    }

    /// @inheritdoc IRounds
    function pointOf(RoundId round, MemberId member, uint256 part) external view returns (PointHash) {
        return part == 0 ? PointHash.wrap(_entries[round][member]) : _furtherPoints[round][member][part];
    }

    /// @inheritdoc IRounds
    function allAnswered(RoundId round) public view returns (bool) {
        uint256[4] memory eligible = members.eligibleMembers();
        return _both(_load(_answers[round].answered), eligible).count() == eligible.count();
    }

    /// @inheritdoc IRounds
    function allRevealed(RoundId round) public view returns (bool) {
        return _unrevealed(round).count() == 0;
    }

    /// @inheritdoc IRounds
    function settings() external view returns (Settings memory) {
        return _settings;
    }

    function _register(RoundId round, MemberId member, bytes32[] calldata artifactIds, bytes calldata points) private {
        uint256 parts = partCount;
        if (points.count() != parts || artifactIds.length != parts) revert WrongPartCount(artifactIds.length, parts);
        for (uint256 part = 0; part < parts; ++part) {
            bytes calldata point = points.pick(part);
            if (artifactIds[part] == 0) revert EmptyValue();
            point.validate();
            PointHash hash = point.hash();
            if (ArtifactId.unwrap(artifactOf[hash]) != 0) revert PointSeenBefore(hash);
            artifactOf[hash] = ArtifactId.wrap(artifactIds[part]);
            // The first part takes the place of the commitment, which has done its work: that saves a fresh word.
            if (part == 0) _entries[round][member] = PointHash.unwrap(hash);
            else _furtherPoints[round][member][part] = hash;
        }
    }

    function _abandon(RoundId round) internal {
        _rounds[round].state = State.Abandoned;
        delete _answers[round].accepted;
        emit RoundAbandoned(round);
    }

    /// @dev Record that the sender answers a round, once and in time.
    function _answer(RoundId round) private returns (MemberId member) {
        Round storage its = _inState(round, State.Open);
        if (block.timestamp > its.deadline) revert DeadlinePassed(round, its.deadline);
        member = members.contributor(msg.sender);
        uint256[4] storage answered = _answers[round].answered;
        if (answered.has(member)) revert AlreadyAnswered(round, msg.sender);
        answered.add(member);
    }

    function _committed(RoundId round) private view returns (uint256[4] memory committed) {
        Sets storage its = _answers[round];
        committed = _load(its.answered);
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            if (committed[i] != 0) committed[i] &= ~(its.satOut[i] | its.unavailable[i]);
        }
    }

    function _unrevealed(RoundId round) private view returns (uint256[4] memory missing) {
        // Who left owes nothing, and no one waits for it.
        missing = _both(_committed(round), members.activeMembers());
        uint256[4] memory revealed = _load(_answers[round].revealed);
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            missing[i] &= ~revealed[i];
        }
    }

    function _both(uint256[4] memory a, uint256[4] memory b) private pure returns (uint256[4] memory both) {
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            both[i] = a[i] & b[i];
        }
    }

    function _load(uint256[4] storage stored) internal view returns (uint256[4] memory) {
        return stored.load(Bitmap.width(members.memberCount()));
    }

    function _inState(RoundId round, State wanted) internal view returns (Round storage its) {
        its = _rounds[round];
        if (its.state != wanted) revert WrongState(round, its.state);
    }
}
