// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Changes} from "./Changes.sol";
import {MemberId, ModelId, OfferId, PointHash, RoundId} from "./Types.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Curve} from "./libraries/Curve.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title How the successor of a model is computed: its commitment is that of its source, plus what changes.
/// @dev A sum goes row by row. For a part that sums all rounds, each round has a row for each word of a bitmap of its
/// members, since to look up a thousand members takes more than a transaction may use; the first rows, of round 0, are the
/// counter-deltas. For a part of which the latest contributions count, there is a row for each word.
abstract contract Folds is Changes {
    using Bitmap for uint256[4];
    using Curve for bytes;
    using Curve for Curve.Sum;

    /// @dev How the rows of a part are looked through.
    struct Walk {
        uint32 words;
        uint32 rows;
        uint32 until;
        uint256 looked;
    }

    /// @notice Whether rounds build on what all members contributed before; then there can be replays.
    bool public immutable chained;

    /// @dev Steps of so many rounds without a point may be passed after the last one with a point: each costs gas, and there
    /// may be a thousand rounds.
    uint32 private constant MOST_EMPTY_ROUNDS = 128;
    /// @dev After so many terms no step is looked at for which a piece has no points: with a thousand members that left, a
    /// step costs most of what a transaction may use.
    uint256 private constant MOST_TERMS = 256;

    /// @inheritdoc IModels
    mapping(ModelId => mapping(uint256 => PointHash)) public commitmentOf;
    mapping(ModelId => Model) internal _models;
    mapping(ModelId => Fold) private _folds;
    /// @dev Commitments of a successor's parts while others are still under way.
    mapping(ModelId => mapping(uint256 => PointHash)) private _folded;
    ModelId[] internal _inUse;
    /// @dev Of the amendments up to this, none that a model lacks concerns it.
    mapping(ModelId => uint32) internal _passed;

    constructor(bool chained_) {
        chained = chained_;
        Curve.requirePrecompile();
        for (uint256 part = 0; part < _parts; ++part) {
            commitmentOf[ModelId.wrap(0)][part] = PointHash.wrap(Curve.INFINITY);
        }
    }

    /// @inheritdoc IModels
    function fold(ModelId source, bytes calldata carried, bytes calldata points) external {
        Fold memory its = foldOf(source);
        _requirePoint(carried, its.carried);
        its.open = true;
        Walk memory walk = _walk(source, its);
        (uint32 row, uint32 place, Curve.Sum memory total) = _take(source, its, walk, carried, points);
        bytes memory point = total.resolve();
        emit Folded(source, its.part, row, place, point);
        (its.row, its.place, its.carried) = (row, place, PointHash.wrap(keccak256(point)));
        if (row == walk.rows) {
            _folded[source][its.part] = its.carried;
            if (++its.part == _parts) {
                delete _folds[source];
                return _succeed(source, its);
            }
            (its.row, its.place) = (_firstRow(its, walk.words), 0);
            its.carried = commitmentOf[source][its.part];
        }
        _folds[source] = its;
    }

    /// @inheritdoc IModels
    function isStale(ModelId model) public view returns (bool) {
        return _firstAmendment(model, amendmentCount) != 0;
    }

    /// @inheritdoc IModels
    function foldOf(ModelId source) public view returns (Fold memory its) {
        if (!_isInUse(source)) revert NotInUse(source);
        its = _folds[source];
        bool adds = its.round != RoundId.wrap(0);
        if (its.open && !(adds && rounds.roundOf(its.round).state != IRounds.State.Judged)) return its;
        // The round that was being added was abandoned, and with it what was summed of it.
        if (its.open) its = Fold(false, RoundId.wrap(0), 0, 0, 0, 0, PointHash.wrap(0));
        its.amendment = _firstAmendment(source, amendmentCount);
        if (its.amendment == 0) {
            its.round = rounds.currentRound();
            its.amendment = amendmentCount;
            IRounds.Round memory round = rounds.roundOf(its.round);
            bool ready = source == head && round.state == IRounds.State.Judged && _isSummed(NONE, its.round);
            // A chained round was trained on its parent, and is worth nothing on another model.
            if (!ready || (chained && round.parent != head)) revert NothingToFold(source);
        }
        its.row = _firstRow(its, _words(source, its));
        its.carried = commitmentOf[source][0];
    }

    /// @inheritdoc IModels
    function termsOf(ModelId source, uint32 row) external view returns (Term[] memory) {
        Fold memory its = foldOf(source);
        return _terms(source, its, _words(source, its), row);
    }

    /// @inheritdoc IModels
    function rowsOf(ModelId source) external view returns (uint32) {
        return _walk(source, foldOf(source)).rows;
    }

    /// @dev Collect terms from where the fold is, as far as the points go. The last row is left once all of it is taken.
    function _take(ModelId source, Fold memory its, Walk memory walk, bytes calldata carried, bytes calldata points)
        private
        view
        returns (uint32 row, uint32 place, Curve.Sum memory total)
    {
        uint256 given = points.count();
        uint256 used = 0;
        total = Curve.sum(carried, given);
        (row, place) = (its.row, its.place);
        while (row < walk.rows && (used < given || (row < walk.until && walk.looked < MOST_TERMS))) {
            Term[] memory terms = _terms(source, its, walk.words, row);
            walk.looked += terms.length;
            if (used < given && terms.length != 0) walk.until = row + 1 + MOST_EMPTY_ROUNDS * walk.words;
            for (; place < terms.length && used < given; ++place) {
                bytes calldata point = points.pick(used++);
                _requirePoint(point, terms[place].point);
                total.add(point, terms[place].coefficient);
            }
            if (place < terms.length) break;
            (row, place) = (row + 1, 0);
        }
        if (used != given) revert TooManyPoints(given, used);
    }

    function _terms(ModelId source, Fold memory its, uint32 words, uint32 row) private view returns (Term[] memory) {
        bool latest = _rule(its.part) == Weights.Rule.Latest;
        // A place in a bitmap, not chance.
        // slither-disable-next-line weak-prng
        uint256 word = latest ? row : row % words;
        if (latest) return _termsOfLatest(source, its, word);
        if (its.round != RoundId.wrap(0)) {
            return _changeOfRound(its.part, its.round, word, MemberId.wrap(0), its.amendment, its.amendment);
        }
        Amendment memory amendment = _amendments[its.amendment];
        uint32 was = _models[source].amendments;
        if (row == 0) return _changeOfCounters(its.part, amendment, was);
        return _termsOfRound(its, amendment, was, RoundId.wrap(row / words), word);
    }

    /// @dev What an amendment, or the round that is added, changes of the latest contributions of a word's members.
    function _termsOfLatest(ModelId source, Fold memory its, uint256 word) private view returns (Term[] memory none) {
        RoundId last = _models[source].lastRound;
        Span memory span = Span(last, its.amendment, its.round, its.amendment);
        uint256 set;
        if (its.round != RoundId.wrap(0)) {
            set = rounds.acceptedIn(its.round)[word];
        } else {
            Amendment memory amendment = _amendments[its.amendment];
            if (amendment.kind == Kind.Replay) return none;
            set = Bitmap.bitIn(word, amendment.member);
            (span.was, span.newLast) = (_models[source].amendments, last);
        }
        return _changeOfLatest(its.part, word, set, span);
    }

    /// @dev What an amendment changes of a round.
    function _termsOfRound(Fold memory its, Amendment memory amendment, uint32 was, RoundId round, uint256 word)
        private
        view
        returns (Term[] memory none)
    {
        // Where members are whole, each by itself, only the word of the one that changes matters.
        bool whole = _rule(its.part) == Weights.Rule.Block && !chained;
        if (whole && Bitmap.bitIn(word, amendment.member) == 0) return none;
        if (round == RoundId.wrap(0) || !_concerns(amendment, round)) return none;
        if (whole) return _changeOfMember(its.part, round, amendment.member, was, its.amendment);
        return _changeOfRound(its.part, round, word, amendment.member, was, its.amendment);
    }

    /// @dev Whether an amendment can change what a model has of a round. It only saves looking closer.
    function _concerns(Amendment memory amendment, RoundId round) private view returns (bool) {
        if (amendment.kind == Kind.CounterTraining || round < amendment.from) return false;
        if (amendment.kind == Kind.Replay) return round <= amendment.to;
        return rounds.isAccepted(round, amendment.member);
    }

    function _firstRow(Fold memory its, uint32 words) private view returns (uint32) {
        bool adds = its.round != RoundId.wrap(0) && _rule(its.part) != Weights.Rule.Latest;
        return adds ? uint32(RoundId.unwrap(its.round)) * words : 0;
    }

    function _walk(ModelId source, Fold memory its) private view returns (Walk memory walk) {
        walk.words = _words(source, its);
        RoundId last = its.round == RoundId.wrap(0) ? _models[source].lastRound : its.round;
        walk.rows = (uint32(RoundId.unwrap(last)) + 1) * walk.words;
        if (_rule(its.part) == Weights.Rule.Latest) walk.rows = uint32(Bitmap.WORDS);
        walk.until = its.row + MOST_EMPTY_ROUNDS * walk.words;
    }

    /// @dev Rows of each round: the words of a bitmap of all members that a fold can concern. They are the same from its
    /// first piece to its last, also if organizations join meanwhile.
    function _words(ModelId source, Fold memory its) private view returns (uint32 words) {
        bool adds = its.round != RoundId.wrap(0);
        uint256[4] memory set = adds ? rounds.acceptedIn(its.round) : _contributors[_models[source].lastRound];
        words = uint32(Bitmap.WORDS);
        while (words > 1 && set[words - 1] == 0) --words;
    }

    /// @dev Register the successor, and put it in the place of its source.
    function _succeed(ModelId source, Fold memory its) private {
        Model memory from = _models[source];
        bool adds = its.round != RoundId.wrap(0);
        ModelId id = ModelId.wrap(++modelCount);
        Kind kind = adds ? Kind.Round : _amendments[its.amendment].kind;
        RoundId last = adds ? its.round : from.lastRound;
        bool released = !adds && from.released;
        _models[id] = Model(kind, source, last, its.amendment, uint40(block.timestamp), released);
        for (uint256 part = 0; part < _parts; ++part) {
            commitmentOf[id][part] = _folded[source][part];
        }
        emit ModelRegistered(id, source, kind, last, its.amendment);
        if (adds && from.released) _inUse.push(id);
        else _replaceInUse(source, id);
        if (source == head) head = id;
        if (adds) _finish(its.round, from.lastRound, id, its.amendment);
    }

    function _finish(RoundId round, RoundId previous, ModelId model, uint32 amendments) private {
        uint256[4] memory accepted = rounds.acceptedIn(round);
        _recordRound(round, previous, accepted);
        rounds.finish(round, model, _outOf(accepted, amendments));
    }

    function _replaceInUse(ModelId source, ModelId successor) private {
        uint256 place = _placeInUse(source);
        if (place == _inUse.length) {
            _inUse.push(successor);
        } else {
            _inUse[place] = successor;
            emit ModelRetired(source);
        }
    }

    /// @dev The base model alone is in use until there is another.
    function _isInUse(ModelId model) internal view returns (bool) {
        return model == ModelId.wrap(0) ? head == model : _placeInUse(model) < _inUse.length;
    }

    /// @dev Where a model stands among those in use; behind all if it is not.
    function _placeInUse(ModelId model) internal view returns (uint256 place) {
        while (place < _inUse.length && _inUse[place] != model) ++place;
    }

    /// @dev The first amendment up to one that concerns a model and is not in it, or 0.
    function _firstAmendment(ModelId model, uint32 upTo) internal view returns (uint32) {
        Model memory its = _models[model];
        for (uint32 by = _passedBy(model) + 1; by <= upTo; ++by) {
            if (_isConcerned(its, by)) return by;
        }
        return 0;
    }

    function _isConcerned(Model memory its, uint32 by) private view returns (bool) {
        // Not copied: memory of a long loop costs more than its reads.
        Amendment storage amendment = _amendments[by];
        if (its.lastRound < amendment.from) return false;
        return amendment.kind == Kind.Replay || _isIn(amendment.member, its.lastRound, its.amendments);
    }

    function _passedBy(ModelId model) internal view returns (uint32) {
        (uint32 own, uint32 passed) = (_models[model].amendments, _passed[model]);
        return own < passed ? passed : own;
    }
}
