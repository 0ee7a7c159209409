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
/// all members is summed once, and every change of it costs only what it changes. A fold adds the difference between the
/// content before and after.
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

    /// @dev The last round and the amendments of a model, and of its successor.
    struct Span {
        RoundId oldLast;
        uint32 was;
        RoundId newLast;
        uint32 now_;
    }

    /// @dev Terms while they are collected.
    struct List {
        Term[] terms;
        uint256 count;
    }

    ModelId public head;
    uint64 public modelCount;
    uint32 public amendmentCount;
    mapping(uint32 => Amendment) internal _amendments;
    mapping(OfferId => uint32) public amendmentOf;
    /// @dev The amendments by which members are out, eight to a word.
    mapping(uint256 => uint256) private _excludedBy;
    /// @dev Members that are not out. All bits are set at first, so that no removal has to fill an empty word.
    uint256[4] private _remaining;
    /// @dev Members that offered replacements for a round, with the withdrawals, oldest first.
    mapping(RoundId => uint256[4]) internal _versioned;
    mapping(RoundId => mapping(MemberId => OfferId[])) internal _versions;
    Replayed[] internal _replays;
    mapping(MemberId => OfferId[]) internal _counters;
    uint256[4] internal _counting;
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

    /// @dev The difference that amendments after the first `was`, up to `now_`, make to a round. `had`: whether the round
    /// was in the model before.
    function _changeOfRound(uint256 part, RoundId round, bool had, uint32 was, uint32 now_)
        internal
        view
        returns (Term[] memory)
    {
        Base memory older = _base(part, round, was);
        Base memory newer = was == now_ ? _copy(older) : _rebase(part, round, older, now_);
        if (newer.sum == PointHash.wrap(0)) revert SumMissing(round, part);
        if (!had) older.weight = 0;
        uint256[4] memory touched = _touched(round, older, newer);
        List memory list = List(new Term[](2 + 4 * touched.count()), 0);
        _pushPair(list, older.sum, -older.weight, newer.sum, newer.weight);
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            for (uint256 rest = touched[word]; rest != 0; rest &= rest - 1) {
                _pushMember(list, part, round, older, newer, _member(word, rest));
            }
        }
        return _done(list);
    }

    /// @dev The same where members are whole, each by itself, and only one of them changes.
    function _changeOfMember(uint256 part, RoundId round, MemberId member, uint32 was, uint32 now_)
        internal
        view
        returns (Term[] memory)
    {
        List memory list = List(new Term[](2), 0);
        _pushPair(
            list, _pointAt(part, round, member, was), -Weights.ONE, _pointAt(part, round, member, now_), Weights.ONE
        );
        return _done(list);
    }

    /// @dev A member's point in a round of a model; zero if it is out.
    function _pointAt(uint256 part, RoundId round, MemberId member, uint32 amendments)
        private
        view
        returns (PointHash point)
    {
        if (round == RoundId.wrap(0) || _isOut(member, amendments)) return point;
        return _pointOf(_versionAt(round, member, 0, amendments), round, member, part);
    }

    /// @dev The same for some members, in a part of which only the latest contribution of each counts.
    function _changeOfLatest(uint256 part, uint256 word, uint256 set, Span memory span)
        internal
        view
        returns (Term[] memory)
    {
        List memory list = List(new Term[](2 * Bitmap.ones(set)), 0);
        for (uint256 rest = set; rest != 0; rest &= rest - 1) {
            MemberId member = _member(word, rest);
            RoundId latest = _latestRound(member, span.oldLast);
            PointHash older = _pointAt(part, latest, member, span.was);
            // A round that is being added is the latest of all that it accepted.
            if (span.newLast != span.oldLast) latest = span.newLast;
            _pushPair(list, older, -1, _pointAt(part, latest, member, span.now_), 1);
        }
        return _done(list);
    }

    /// @dev What a member's going out takes from the counter-deltas, or what the newest of them adds.
    function _changeOfCounters(uint256 part, Amendment memory amendment, uint32 was)
        internal
        view
        returns (Term[] memory)
    {
        OfferId[] storage counters = _counters[amendment.member];
        List memory list = List(new Term[](counters.length + 1), 0);
        if (_rule(part) == Weights.Rule.Latest) return _done(list);
        if (amendment.kind == Kind.CounterTraining) {
            _push(list, _pointOf(amendment.offer, RoundId.wrap(0), amendment.member, part), Weights.ONE);
        } else if (amendment.kind == Kind.Removal) {
            for (uint256 i = 0; i < counters.length; ++i) {
                if (amendmentOf[counters[i]] > was) continue;
                _push(list, _pointOf(counters[i], RoundId.wrap(0), amendment.member, part), -Weights.ONE);
            }
        }
        return _done(list);
    }

    /// @dev The difference that one member makes beyond that of the sums.
    function _pushMember(
        List memory list,
        uint256 part,
        RoundId round,
        Base memory older,
        Base memory newer,
        MemberId member
    ) private view {
        (PointHash oldTaken, PointHash oldPut) = _correction(part, round, older, member);
        (PointHash newTaken, PointHash newPut) = _correction(part, round, newer, member);
        _pushPair(list, oldTaken, older.weight, newTaken, -newer.weight);
        _pushPair(list, oldPut, -older.weight, newPut, newer.weight);
    }

    /// @dev Members whose contributions to a round differ from its base, before or after.
    function _touched(RoundId round, Base memory oldBase, Base memory newBase)
        private
        view
        returns (uint256[4] memory touched)
    {
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            uint256 members = oldBase.members[i] | newBase.members[i];
            if (members != 0) touched[i] = members & (~_remaining[i] | _versioned[round][i]);
        }
    }

    /// @dev What a round's content starts from: the last replay that trained it again, or the round itself.
    function _base(uint256 part, RoundId round, uint32 amendments) internal view returns (Base memory base) {
        for (uint256 i = _replays.length; i > 0; --i) {
            Replayed memory its = _replays[i - 1];
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

    /// @dev The same with more amendments: most of them leave a round's base alone.
    function _rebase(uint256 part, RoundId round, Base memory older, uint32 amendments)
        private
        view
        returns (Base memory newer)
    {
        uint256 count = _replays.length;
        if (count != 0 && _replays[count - 1].amendment > older.amendments) return _base(part, round, amendments);
        newer = _copy(older);
        _weigh(part, newer, amendments);
    }

    function _copy(Base memory base) private pure returns (Base memory) {
        return Base(base.replay, base.since, base.amendments, base.sum, base.weight, base.members);
    }

    function _weigh(uint256 part, Base memory base, uint32 amendments) private view {
        base.amendments = amendments;
        uint256 count = base.members.count() - _outOf(base.members, amendments).count();
        base.weight = Weights.each(_rule(part), count);
    }

    /// @dev The point that has to be taken from the base for a member, and the one that is put in; zero if there is none.
    function _correction(uint256 part, RoundId round, Base memory base, MemberId member)
        private
        view
        returns (PointHash taken, PointHash put)
    {
        if (!base.members.holds(member)) return (taken, put);
        if (_isOut(member, base.amendments)) return (_pointOf(base.replay, round, member, part), put);
        OfferId version = _versionAt(round, member, base.since, base.amendments);
        if (OfferId.unwrap(version) == 0) return (taken, put);
        return (_pointOf(base.replay, round, member, part), _pointOf(version, round, member, part));
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

    /// @dev Add -old and +new, or if both are one point, the difference of their coefficients.
    function _pushPair(List memory list, PointHash older, int256 oldCoefficient, PointHash newer, int256 newCoefficient)
        private
        pure
    {
        if (older == newer) {
            _push(list, older, oldCoefficient + newCoefficient);
        } else {
            _push(list, older, oldCoefficient);
            _push(list, newer, newCoefficient);
        }
    }

    function _push(List memory list, PointHash point, int256 coefficient) private pure {
        bool nothing = point == PointHash.wrap(0) || point == PointHash.wrap(Curve.INFINITY);
        if (coefficient != 0 && !nothing) list.terms[list.count++] = Term(point, coefficient);
    }

    function _done(List memory list) private pure returns (Term[] memory terms) {
        terms = list.terms;
        uint256 count = list.count;
        assembly ("memory-safe") {
            mstore(terms, count)
        }
    }
}
