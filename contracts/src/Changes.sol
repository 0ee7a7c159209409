// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Content} from "./Content.sol";
import {MemberId, OfferId, PointHash, RoundId} from "./Types.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Curve} from "./libraries/Curve.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title What amendments change in a model's content: the terms that a fold adds.
abstract contract Changes is Content {
    using Bitmap for uint256[4];

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

    /// @dev The difference that an amendment of a member, or of all, makes to a round: of its sum with word 0, and of the
    /// members of one word. If there was no amendment, the round is added.
    function _changeOfRound(uint256 part, RoundId round, uint256 word, MemberId member, uint32 was, uint32 now_)
        internal
        view
        returns (Term[] memory)
    {
        Base memory older = _base(part, round, was);
        Base memory newer = _rebase(part, round, older, now_);
        if (newer.sum == PointHash.wrap(0)) revert SumMissing(round, part);
        if (was == now_) older.weight = 0;
        uint256 touched = (older.members[word] | newer.members[word]) & (~_remaining[word] | _versioned[round][word]);
        // Where weights stay, no other member makes a difference: this saves looking each of them up.
        if (older.weight == newer.weight && _areSame(older, newer)) touched &= Bitmap.bitIn(word, member);
        List memory list = List(new Term[](2 + 4 * Bitmap.ones(touched)), 0);
        if (word == 0) _pushPair(list, older.sum, -older.weight, newer.sum, newer.weight);
        for (; touched != 0; touched &= touched - 1) {
            MemberId next = _member(word, touched);
            _pushMember(list, part, round, older, newer, next);
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

    function _areSame(Base memory older, Base memory newer) private pure returns (bool) {
        return OfferId.unwrap(older.replay) == OfferId.unwrap(newer.replay);
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
        if (_areSame(older, newer) && _isOut(member, older.amendments)) {
            return _push(list, _pointOf(newer.replay, round, member, part), older.weight - newer.weight);
        }
        (PointHash oldTaken, PointHash oldPut) = _correction(part, round, older, member);
        (PointHash newTaken, PointHash newPut) = _correction(part, round, newer, member);
        _pushPair(list, oldTaken, older.weight, newTaken, -newer.weight);
        _pushPair(list, oldPut, -older.weight, newPut, newer.weight);
    }

    /// @dev The same with more amendments: most of them leave a round's base alone.
    function _rebase(uint256 part, RoundId round, Base memory older, uint32 amendments)
        private
        view
        returns (Base memory newer)
    {
        uint256 count = _replays.length;
        if (count != 0 && _replays[count - 1].amendment > older.amendments) return _base(part, round, amendments);
        newer = Base(older.replay, older.since, amendments, older.sum, 0, older.members);
        _weigh(part, newer, amendments);
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
