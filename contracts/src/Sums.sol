// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ArtifactId, MemberId, OfferId, PointHash, RoundId} from "./Types.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Curve} from "./libraries/Curve.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title Points that were registered for rounds and withdrawals, and their sums.
abstract contract Sums is IModels {
    using Bitmap for uint256[4];
    using Curve for bytes;

    /// @dev How far a sum is: it is complete once all parts are.
    struct Running {
        uint8 part;
        uint16 members;
        PointHash carried;
    }

    OfferId internal constant NONE = OfferId.wrap(0);

    IRounds public immutable rounds;
    uint256 internal immutable _parts;
    /// @dev The rule of part p is byte p.
    uint256 private immutable _rules;
    bool internal immutable _anyLatest;

    /// @inheritdoc IModels
    mapping(OfferId => mapping(RoundId => mapping(uint256 => PointHash))) public sumOf;
    /// @inheritdoc IModels
    mapping(OfferId => mapping(RoundId => Running)) public summedOf;
    mapping(OfferId => mapping(RoundId => mapping(MemberId => mapping(uint256 => Offer)))) private _offers;
    /// @dev Members that offered for a round of a replay or a withdrawal.
    mapping(OfferId => mapping(RoundId => uint256[4])) internal _offeredIn;

    constructor(IRounds rounds_, Weights.Rule[] memory rules) {
        rounds = rounds_;
        _parts = rules.length;
        uint256 packed = 0;
        bool anyLatest = false;
        for (uint256 part = 0; part < rules.length; ++part) {
            packed |= uint256(rules[part]) << (8 * part);
            anyLatest = anyLatest || rules[part] == Weights.Rule.Latest;
        }
        (_rules, _anyLatest) = (packed, anyLatest);
    }

    /// @inheritdoc IModels
    function sum(OfferId offer, RoundId round, bytes calldata carried, bytes calldata points) external {
        Running memory running = summedOf[offer][round];
        running.part = _nextSummed(running.part);
        if (running.part == _parts) revert SumComplete(round);
        uint256[4] memory set = _summands(offer, round);
        bool begun = running.members != 0;
        _requirePoint(carried, begun ? running.carried : PointHash.wrap(Curve.INFINITY));
        bytes memory total = carried;
        running.members += _addNext(total, offer, round, running, set, points);
        running.carried = PointHash.wrap(keccak256(total));
        emit Summed(offer, round, running.part, running.members, total);
        if (running.members == set.count()) {
            sumOf[offer][round][running.part] = running.carried;
            running = Running(running.part + 1, 0, PointHash.wrap(0));
        }
        summedOf[offer][round] = running;
    }

    /// @inheritdoc IModels
    function offerOf(OfferId offer, RoundId round, MemberId member, uint256 part) external view returns (Offer memory) {
        return _offers[offer][round][member][part];
    }

    /// @dev Add the next points to a sum, and return how many.
    function _addNext(
        bytes memory total,
        OfferId offer,
        RoundId round,
        Running memory running,
        uint256[4] memory set,
        bytes calldata points
    ) private view returns (uint16 used) {
        uint256 given = points.count();
        uint256 place = 0;
        for (uint256 word = 0; word < Bitmap.WORDS && used < given; ++word) {
            for (uint256 rest = set[word]; rest != 0 && used < given; rest &= rest - 1) {
                if (place++ < running.members) continue;
                PointHash wanted = _pointOf(offer, round, _member(word, rest), running.part);
                _requirePoint(points.pick(used), wanted);
                Curve.addTo(total, points.pick(used++));
            }
        }
        if (used != given) revert TooManyPoints(given, used);
    }

    /// @dev The first member of what is left of a word.
    function _member(uint256 word, uint256 rest) internal pure returns (MemberId) {
        return MemberId.wrap(uint16(256 * word + Bitmap.lowest(rest)));
    }

    /// @dev Whether all sums of a round, or of a round of a replay, are complete.
    function _isSummed(OfferId offer, RoundId round) internal view returns (bool) {
        return _nextSummed(summedOf[offer][round].part) == _parts;
    }

    /// @dev The next part that is summed: where only the latest contribution counts, members are added one by one.
    function _nextSummed(uint8 part) private view returns (uint8) {
        while (part < _parts && _rule(part) == Weights.Rule.Latest) ++part;
        return part;
    }

    /// @dev The members whose points make a sum. They are fixed before its first piece.
    function _summands(OfferId offer, RoundId round) private view returns (uint256[4] memory) {
        if (OfferId.unwrap(offer) != 0) {
            if (!_isReplayed(offer, round)) revert WrongState(round);
            return _offeredIn[offer][round];
        }
        if (rounds.roundOf(round).state != IRounds.State.Judged) revert WrongState(round);
        return rounds.acceptedIn(round);
    }

    /// @dev Whether a replay has closed one of its rounds: no one offers for it any more.
    function _isReplayed(OfferId replay, RoundId round) internal view virtual returns (bool);

    function _store(
        OfferId offer,
        RoundId round,
        MemberId member,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest
    ) internal {
        if (artifactIds.length != _parts || points.count() != _parts) {
            revert IRounds.WrongPartCount(artifactIds.length, _parts);
        }
        for (uint256 part = 0; part < _parts; ++part) {
            bytes calldata point = points.pick(part);
            PointHash hash = point.hash();
            // Where a counter-delta changes nothing in a part, its point is infinity.
            bool nothing = round == RoundId.wrap(0) && hash == PointHash.wrap(Curve.INFINITY);
            if (!nothing) point.validate();
            if (ArtifactId.unwrap(rounds.artifactOf(hash)) != 0) revert IRounds.PointSeenBefore(hash);
            if (artifactIds[part] == 0) revert IRounds.EmptyValue();
            _offers[offer][round][member][part] = Offer(hash, ArtifactId.wrap(artifactIds[part]));
        }
        emit PointOffered(offer, round, member, artifactIds, points, manifest);
    }

    /// @dev The point that a member revealed in a round, or offered for it.
    function _pointOf(OfferId offer, RoundId round, MemberId member, uint256 part) internal view returns (PointHash) {
        if (OfferId.unwrap(offer) == 0) return rounds.pointOf(round, member, part);
        return _offers[offer][round][member][part].point;
    }

    function _rule(uint256 part) internal view returns (Weights.Rule) {
        return Weights.Rule((_rules >> (8 * part)) & 0xff);
    }

    function _requirePoint(bytes calldata point, PointHash required) internal pure {
        PointHash given = point.hash();
        if (given != required) revert WrongPoint(given, required);
    }
}
