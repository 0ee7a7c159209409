// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";
import {MemberId, ModelId, RoundId} from "./Types.sol";
import {Phases} from "./Phases.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IReplays} from "./interfaces/IReplays.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Quorum} from "./libraries/Quorum.sol";

/// @title Rounds of training.
contract Rounds is Phases, EIP712 {
    using Bitmap for uint256[4];

    /// @notice EIP-712 type of what auditors sign.
    bytes32 public constant ATTESTATION_TYPEHASH =
        keccak256("RoundAttestation(uint64 round,bytes32 commitments,bytes32 evidence)");
    uint256 private constant MOST_SCORE = 10_000;

    /// @notice Auditors whose signatures attest a round.
    uint16 public immutable auditorQuorum;

    /// @notice The last round such that it and all final ones before it were attested.
    RoundId public attestedUpTo;
    mapping(RoundId => bytes) private _scores;
    mapping(RoundId => uint256) private _scoreTotal;
    mapping(RoundId => uint256[4]) private _unpaid;

    modifier onlyModels() {
        if (msg.sender != address(models)) revert NotModels(msg.sender);
        _;
    }

    constructor(
        IMembers members_,
        IModels models_,
        IReplays replays_,
        IRewards rewards_,
        uint16 auditorQuorum_,
        Settings memory settings_
    ) Phases(members_, models_, replays_, rewards_, settings_) EIP712("Rescind", "2") {
        auditorQuorum = auditorQuorum_;
    }

    /// @inheritdoc IRounds
    function judge(RoundId round, uint256[4] calldata accepted, bytes calldata scores, bytes calldata reasons)
        external
        onlyAggregator
    {
        Round storage its = _inState(round, State.Revealed);
        if (block.timestamp > its.deadline) revert DeadlinePassed(round, its.deadline);
        uint256[4] memory rejected = _load(_answers[round].revealed);
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            if (accepted[i] & ~rejected[i] != 0) revert NotRevealed(round);
            rejected[i] &= ~accepted[i];
            if (accepted[i] != 0) _answers[round].accepted[i] = accepted[i];
        }
        uint256[4] memory chosen = accepted;
        if (scores.length != 2 * chosen.count()) revert UnaccountedFor(round, scores.length, 2 * chosen.count());
        if (reasons.length != rejected.count()) revert UnaccountedFor(round, reasons.length, rejected.count());
        _scores[round] = scores;
        _scoreTotal[round] = _totalOf(scores);
        emit RoundJudged(round, accepted, scores, rejected, reasons);
        if (scores.length == 0) _abandon(round);
        else its.state = State.Judged;
    }

    /// @inheritdoc IRounds
    function abandon(RoundId round) external {
        Round storage its = _rounds[round];
        bool under = its.state != State.None && its.state != State.Final && its.state != State.Abandoned;
        if (!under) revert WrongState(round, its.state);
        bool orphaned = _settings.chained && (models.isStale(its.parent) || its.parent != models.head());
        if (!orphaned) {
            if (its.state != State.Revealed) revert WrongState(round, its.state);
            if (block.timestamp <= its.deadline) revert DeadlineAhead(round, its.deadline);
        }
        _abandon(round);
    }

    /// @inheritdoc IRounds
    function attest(RoundId round, bytes32 evidence, bytes[] calldata signatures) external {
        Round storage its = _inState(round, State.Final);
        if (its.attested) revert AttestedBefore(round);
        for (uint64 n = RoundId.unwrap(attestedUpTo) + 1; n < RoundId.unwrap(round); ++n) {
            if (_rounds[RoundId.wrap(n)].state != State.Abandoned) revert EarlierRoundFirst(RoundId.wrap(n));
        }
        // The model's commitments hold every accepted point: a signature is worth nothing for other contributions, such as
        // those of the same round on a fork.
        bytes memory commitments;
        for (uint256 part = 0; part < partCount; ++part) {
            commitments = abi.encodePacked(commitments, models.commitmentOf(its.model, part));
        }
        bytes32 hash =
            _hashTypedDataV4(keccak256(abi.encode(ATTESTATION_TYPEHASH, round, keccak256(commitments), evidence)));
        address[] memory auditors = Quorum.require_(members, auditorQuorum, hash, signatures);
        its.attested = true;
        attestedUpTo = round;
        emit RoundAttested(round, evidence, auditors);
    }

    /// @inheritdoc IRounds
    function finish(RoundId round, ModelId model, uint256[4] calldata excluded) external onlyModels {
        Round storage its = _inState(round, State.Judged);
        its.state = State.Final;
        its.model = model;
        uint256[4] memory unpaid = excluded;
        if (unpaid.count() != 0) {
            _unpaid[round] = excluded;
            _scoreTotal[round] -= _scoresOf(round, unpaid);
        }
        emit RoundFinalized(round, model);
        // Without a score there is no one to pay.
        if (_scoreTotal[round] != 0) rewards.reserve(round);
    }

    /// @inheritdoc IRounds
    function scoreOf(RoundId round, address organization) external view returns (uint256 score, uint256 total) {
        MemberId member = members.numberOf(organization);
        uint256[4] memory accepted = _load(_answers[round].accepted);
        bool counts = accepted.holds(member) && !_unpaid[round].has(member);
        if (!counts || _rounds[round].state != State.Final) return (0, 0);
        return (_scoreAt(_scores[round], accepted.rank(member)), _scoreTotal[round]);
    }

    /// @inheritdoc IRounds
    function isPayable(RoundId round) external view returns (bool) {
        return _rounds[round].state == State.Final && (!_settings.attested || _rounds[round].attested);
    }

    /// @inheritdoc IRounds
    function isAttested(RoundId round) external view returns (bool) {
        return !_settings.attested || round <= attestedUpTo;
    }

    function _totalOf(bytes calldata scores) private pure returns (uint256 total) {
        for (uint256 i = 0; i < scores.length; i += 2) {
            uint256 score = uint256(uint8(scores[i])) << 8 | uint8(scores[i + 1]);
            if (score > MOST_SCORE) revert ScoreTooHigh(score);
            total += score;
        }
    }

    /// @dev Sum of the scores of those members of a set that were accepted.
    function _scoresOf(RoundId round, uint256[4] memory set) private view returns (uint256 total) {
        bytes memory scores = _scores[round];
        uint256[4] memory accepted = _load(_answers[round].accepted);
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            for (uint256 rest = set[i] & accepted[i]; rest != 0; rest &= rest - 1) {
                MemberId member = MemberId.wrap(uint16(256 * i + Bitmap.lowest(rest)));
                total += _scoreAt(scores, accepted.rank(member));
            }
        }
    }

    function _scoreAt(bytes memory scores, uint256 place) private pure returns (uint256) {
        return uint256(uint8(scores[2 * place])) << 8 | uint8(scores[2 * place + 1]);
    }
}
