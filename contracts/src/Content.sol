// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Sums} from "./Sums.sol";
import {MemberId, ModelId, OfferId, PointHash, RoundId} from "./Types.sol";
import {IModels} from "./interfaces/IModels.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Curve} from "./libraries/Curve.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title What a model is made of, derived from accepted contributions and amendments.
/// @dev The content of a round, with the first m amendments, is
///   weight x (base - sum of the points of members that are out or replaced + sum of what replaced them),
/// where base is the sum of all points of the round, or of those that the last replay of the round brought. So a sum over
/// all members is summed once, and every change of it costs only what it changes.
abstract contract Content is Sums {
    using Bitmap for uint256[4];

    /// @dev What a round's content starts from in a model with so many amendments, and what each member weighs.
    struct Base {
        OfferId replay;
        uint32 since;
        uint32 amendments;
        PointHash sum;
        int256 weight;
        uint256[4] members;
    }

    /// @dev A replay that took effect, in one word. `since`: how many amendments there were when it began.
    struct Replayed {
        OfferId replay;
        RoundId from;
        RoundId to;
        uint32 since;
        uint32 amendment;
    }

    /// @inheritdoc IModels
    ModelId public head;
    /// @inheritdoc IModels
    uint64 public modelCount;
    /// @inheritdoc IModels
    uint32 public amendmentCount;
    mapping(uint32 => Amendment) internal _amendments;
    /// @notice The amendment that an offer became, or 0.
    mapping(OfferId => uint32) public amendmentOf;
    /// @dev The amendments by which members are out, eight to a word.
    mapping(uint256 => uint256) private _excludedBy;
    /// @dev Members that are not out. All bits are set at first, so that no removal has to fill an empty word.
    uint256[4] internal _remaining;
    /// @dev Members that offered replacements for a round, with the withdrawals, oldest first.
    mapping(RoundId => uint256[4]) internal _versioned;
    mapping(RoundId => mapping(MemberId => OfferId[])) internal _versions;
    Replayed[] internal _replays;
    mapping(MemberId => OfferId[]) internal _counters;
    /// @dev Members that contributed to a final round or to one before it.
    mapping(RoundId => uint256[4]) internal _contributors;
    /// @dev The latest round of each member up to a final one, sixteen to a word; only where a part asks for it.
    mapping(RoundId => mapping(uint256 => uint256)) private _latest;

    constructor() {
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            _remaining[word] = type(uint256).max;
        }
    }

    /// @inheritdoc IModels
    function excludedBy(MemberId member) public view returns (uint32) {
        uint256 number = MemberId.unwrap(member);
        return uint32(_excludedBy[number >> 3] >> (32 * (number & 7)));
    }

    /// @inheritdoc IModels
    function excludedMembers() public view returns (uint256[4] memory set) {
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            set[word] = ~_remaining[word];
        }
    }

    /// @dev Let a member be out from an amendment on.
    function _exclude(MemberId member, uint32 amendment) internal {
        uint256 number = MemberId.unwrap(member);
        _excludedBy[number >> 3] |= uint256(amendment) << (32 * (number & 7));
        _remaining.remove(member);
    }

    /// @dev Record who contributed up to a round that became final, and where its latest contribution is.
    function _recordRound(RoundId round, RoundId previous, uint256[4] memory accepted) internal {
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            uint256 set = _contributors[previous][word] | accepted[word];
            if (set == 0) continue;
            _contributors[round][word] = set;
            for (uint256 i = 0; _anyLatest && i < 16; ++i) {
                uint256 group = 16 * word + i;
                uint256 latest = _latest[previous][group];
                for (uint256 rest = (accepted[word] >> (16 * i)) & 0xffff; rest != 0; rest &= rest - 1) {
                    uint256 shift = 16 * Bitmap.lowest(rest);
                    latest = latest & ~(uint256(0xffff) << shift) | uint256(RoundId.unwrap(round)) << shift;
                }
                if (latest != 0) _latest[round][group] = latest;
            }
        }
    }

    /// @dev What a round's content starts from: the last replay that trained it again, or the round itself.
    function _base(uint256 part, RoundId round, uint32 amendments) internal view returns (Base memory base) {
        for (uint256 i = _replays.length; i > 0; --i) {
            Replayed storage its = _replays[i - 1];
            if (its.amendment > amendments || round < its.from || its.to < round) continue;
            // What was replaced while the replay went on is not undone by it.
            (base.replay, base.since) = (its.replay, its.since);
            break;
        }
        bool replayed = OfferId.unwrap(base.replay) != 0;
        base.members = replayed ? _offeredIn[base.replay][round] : rounds.acceptedIn(round);
        // An empty sum need not be summed by anyone.
        bool empty = base.members.count() == 0;
        base.sum = empty ? PointHash.wrap(Curve.INFINITY) : sumOf[base.replay][round][part];
        _weigh(part, base, amendments);
    }

    function _weigh(uint256 part, Base memory base, uint32 amendments) internal view {
        base.amendments = amendments;
        uint256 count = base.members.count() - _outOf(base.members, amendments).count();
        base.weight = Weights.each(_rule(part), count);
    }

    /// @dev The withdrawal that last replaced a member's contribution to a round, between two amendments; or none.
    function _versionAt(RoundId round, MemberId member, uint32 after_, uint32 upTo) internal view returns (OfferId) {
        OfferId[] storage versions = _versions[round][member];
        // A member has one withdrawal open at a time, so its versions take effect in the order in which it offered them.
        for (uint256 i = versions.length; i > 0; --i) {
            uint32 by = amendmentOf[versions[i - 1]];
            if (by == 0 || by > upTo) continue;
            return by > after_ ? versions[i - 1] : NONE;
        }
        return NONE;
    }

    /// @dev A member's latest round up to a final one, or 0.
    function _latestRound(MemberId member, RoundId last) internal view returns (RoundId) {
        uint256 number = MemberId.unwrap(member);
        return RoundId.wrap(uint16(_latest[last][number >> 4] >> (16 * (number & 15))));
    }

    /// @dev Those members of a set that are out.
    function _outOf(uint256[4] memory set, uint32 amendments) internal view returns (uint256[4] memory out) {
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            if (set[word] == 0) continue;
            for (uint256 rest = set[word] & ~_remaining[word]; rest != 0; rest &= rest - 1) {
                uint256 bit = Bitmap.lowest(rest);
                if (_isOut(MemberId.wrap(uint16(256 * word + bit)), amendments)) out[word] |= 1 << bit;
            }
        }
    }

    function _isOut(MemberId member, uint32 amendments) internal view returns (bool) {
        uint32 by = excludedBy(member);
        return by != 0 && by <= amendments;
    }

    /// @dev Whether a model of these rounds with so many amendments holds a contribution of a member.
    function _isIn(MemberId member, RoundId last, uint32 amendments) internal view returns (bool) {
        return !_isOut(member, amendments) && _contributors[last].has(member);
    }
}
