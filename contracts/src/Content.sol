// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Sums} from "./Sums.sol";
import {MemberId, OfferId, PointHash, RoundId} from "./Types.sol";
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
        uint32 amendment;
        uint32 amendments;
        PointHash sum;
        int256 weight;
        uint256[4] members;
    }

    /// @dev Terms while they are collected.
    struct List {
        Term[] terms;
        uint256 count;
    }

    Amendment[] internal _amendments;
    mapping(OfferId => uint32) public amendmentOf;
    mapping(MemberId => uint32) public excludedBy;
    uint256[4] internal _excluded;
    /// @dev Members that offered replacements for a round, with the withdrawals, oldest first.
    mapping(RoundId => uint256[4]) internal _versioned;
    mapping(RoundId => mapping(MemberId => OfferId[])) internal _versions;
    mapping(RoundId => OfferId[]) internal _replays;
    mapping(MemberId => OfferId[]) internal _counters;
    uint256[4] internal _counting;
    /// @dev Members that contributed to a final round or to one before it.
    mapping(RoundId => uint256[4]) internal _contributors;

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
            list,
            _pointAt(part, round, member, was),
            -Weights.ONE,
            _pointAt(part, round, member, now_),
            Weights.ONE
        );
        return _done(list);
    }

    /// @dev A member's point in a round of a model; zero if it is out.
    function _pointAt(uint256 part, RoundId round, MemberId member, uint32 amendments)
        private
        view
        returns (PointHash point)
    {
        if (_isOut(member, amendments)) return point;
        return _pointOf(_versionAt(round, member, 0, amendments), round, member, part);
    }

    /// @dev The same for a part of which only the latest contribution of each member counts: for some members, from
    /// the rounds up to `oldLast` to those up to `newLast`.
    function _changeOfLatest(
        uint256 part,
        uint256 word,
        uint256 set,
        RoundId oldLast,
        uint32 was,
        RoundId newLast,
        uint32 now_
    ) internal view returns (Term[] memory) {
        List memory list = List(new Term[](2 * Bitmap.ones(set)), 0);
        for (uint256 rest = set; rest != 0; rest &= rest - 1) {
            MemberId member = _member(word, rest);
            (, PointHash older) = _latest(part, member, oldLast, was);
            (, PointHash newer) = _latest(part, member, newLast, now_);
            _pushPair(list, older, -1, newer, 1);
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
            if (members != 0) touched[i] = members & (_excluded[i] | _versioned[round][i]);
        }
    }

    /// @dev What a round's content starts from: the last replay that trained it again, or the round itself.
    function _base(uint256 part, RoundId round, uint32 amendments) internal view returns (Base memory base) {
        OfferId[] storage replays = _replays[round];
        for (uint256 i = replays.length; i > 0 && base.amendment == 0; --i) {
            uint32 by = amendmentOf[replays[i - 1]];
            if (by != 0 && by <= amendments) (base.replay, base.amendment) = (replays[i - 1], by);
        }
        base.sum = sumOf[base.replay][round][part];
        base.members = base.amendment == 0 ? rounds.acceptedIn(round) : _offeredIn[base.replay][round];
        _weigh(part, base, amendments);
    }

    /// @dev The same with more amendments: most of them leave a round's base alone.
    function _rebase(uint256 part, RoundId round, Base memory older, uint32 amendments)
        private
        view
        returns (Base memory newer)
    {
        OfferId[] storage replays = _replays[round];
        uint256 count = replays.length;
        if (count != 0 && amendmentOf[replays[count - 1]] > older.amendments) return _base(part, round, amendments);
        newer = _copy(older);
        _weigh(part, newer, amendments);
    }

    function _copy(Base memory base) private pure returns (Base memory) {
        return Base(base.replay, base.amendment, base.amendments, base.sum, base.weight, base.members);
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
        OfferId version = _versionAt(round, member, base.amendment, base.amendments);
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

    /// @dev A member's latest round in a model, and the point that it has there.
    function _latest(uint256 part, MemberId member, RoundId last, uint32 amendments)
        internal
        view
        returns (RoundId round, PointHash point)
    {
        if (_isOut(member, amendments)) return (round, point);
        for (uint64 n = RoundId.unwrap(last); n > 0; --n) {
            round = RoundId.wrap(n);
            if (!rounds.acceptedIn(round).holds(member)) continue;
            return (round, _pointOf(_versionAt(round, member, 0, amendments), round, member, part));
        }
        return (RoundId.wrap(0), point);
    }

    /// @dev Those members of a set that are out.
    function _outOf(uint256[4] memory set, uint32 amendments) internal view returns (uint256[4] memory out) {
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            if (set[word] == 0) continue;
            for (uint256 rest = set[word] & _excluded[word]; rest != 0; rest &= rest - 1) {
                uint256 bit = Bitmap.lowest(rest);
                if (_isOut(MemberId.wrap(uint16(256 * word + bit)), amendments)) out[word] |= 1 << bit;
            }
        }
    }

    function _isOut(MemberId member, uint32 amendments) internal view returns (bool) {
        uint32 by = excludedBy[member];
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
