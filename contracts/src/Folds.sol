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
/// @dev A sum goes row by row. For a part that sums all rounds, row 0 is the counter-deltas and row r is round r. For a
/// part of which the latest contributions count, row r is the members of word r of a bitmap.
abstract contract Folds is Changes {
    using Bitmap for uint256[4];
    using Curve for bytes;
    using Curve for Curve.Sum;

    /// @notice Whether rounds build on what all members contributed before; then there can be replays.
    bool public immutable chained;

    /// @dev So many steps without a point may be passed after the last one with a point: each costs gas, and there may be
    /// a thousand.
    uint32 private constant MOST_EMPTY_ROWS = 128;
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
    mapping(ModelId => uint32) private _passed;

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
        (uint32 row, uint32 place, Curve.Sum memory total) = _take(source, its, carried, points);
        bool complete = row == _rows(source, its);
        bytes memory point = total.resolve();
        emit Folded(source, its.part, row, place, point);
        if (!complete) {
            (its.row, its.place, its.carried) = (row, place, PointHash.wrap(keccak256(point)));
            _folds[source] = its;
            return;
        }
        _folded[source][its.part] = PointHash.wrap(keccak256(point));
        if (++its.part < _parts) {
            (its.row, its.place) = (_firstRow(its), 0);
            its.carried = commitmentOf[source][its.part];
            _folds[source] = its;
        } else {
            delete _folds[source];
            _succeed(source, its);
        }
    }

    /// @inheritdoc IModels
    function isStale(ModelId model) public view returns (bool) {
        return _firstAmendment(model, amendmentCount) != 0;
    }

    /// @inheritdoc IModels
    function passOver(ModelId model, uint32 limit) external {
        // What is said of a model that does not exist yet would let it miss the removals of its members.
        if (ModelId.unwrap(model) > modelCount) revert UnknownModel(model);
        Model storage its = _models[model];
        uint32 by = _passedBy(model);
        for (uint32 i = 0; i < limit && by < amendmentCount && !_isConcerned(its, by + 1); ++i) {
            ++by;
        }
        _passed[model] = by;
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
        its.row = _firstRow(its);
        its.carried = commitmentOf[source][0];
    }

    /// @inheritdoc IModels
    function termsOf(ModelId source, uint32 row) external view returns (Term[] memory) {
        return _terms(source, foldOf(source), row);
    }

    /// @inheritdoc IModels
    function rowsOf(ModelId source) external view returns (uint32) {
        return _rows(source, foldOf(source));
    }

    /// @dev Collect terms from where the fold is, as far as the points go. The last row is left once all of it is taken.
    function _take(ModelId source, Fold memory its, bytes calldata carried, bytes calldata points)
        private
        view
        returns (uint32 row, uint32 place, Curve.Sum memory total)
    {
        uint256 given = points.count();
        uint256 used = 0;
        total = Curve.sum(carried, given);
        uint32 rows = _rows(source, its);
        (row, place) = (its.row, its.place);
        uint32 until = row + MOST_EMPTY_ROWS;
        uint256 looked = 0;
        while (row < rows && (used < given || (row < until && looked < MOST_TERMS))) {
            Term[] memory terms = _terms(source, its, row);
            looked += terms.length;
            if (used < given && terms.length != 0) until = row + 1 + MOST_EMPTY_ROWS;
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

    function _terms(ModelId source, Fold memory its, uint32 row) private view returns (Term[] memory none) {
        Model storage from = _models[source];
        bool latest = _rule(its.part) == Weights.Rule.Latest;
        RoundId round = RoundId.wrap(row);
        if (its.round != RoundId.wrap(0)) {
            if (!latest) return _changeOfRound(its.part, its.round, MemberId.wrap(0), its.amendment, its.amendment);
            uint256 set = rounds.acceptedIn(its.round)[row];
            return _changeOfLatest(its.part, row, set, Span(from.lastRound, its.amendment, its.round, its.amendment));
        }
        Amendment memory amendment = _amendments[its.amendment];
        if (latest) {
            if (amendment.kind == Kind.Replay || row != MemberId.unwrap(amendment.member) >> 8) return none;
            uint256 bit = 1 << (MemberId.unwrap(amendment.member) & 255);
            Span memory span = Span(from.lastRound, from.amendments, from.lastRound, its.amendment);
            return _changeOfLatest(its.part, row, bit, span);
        }
        if (row == 0) return _changeOfCounters(its.part, amendment, from.amendments);
        if (!_concerns(amendment, round)) return none;
        if (_rule(its.part) == Weights.Rule.Block && !chained) {
            return _changeOfMember(its.part, round, amendment.member, from.amendments, its.amendment);
        }
        return _changeOfRound(its.part, round, amendment.member, from.amendments, its.amendment);
    }

    /// @dev Whether an amendment can change what a model has of a round. It only saves looking closer.
    function _concerns(Amendment memory amendment, RoundId round) private view returns (bool) {
        if (amendment.kind == Kind.CounterTraining || round < amendment.from) return false;
        if (amendment.kind == Kind.Replay) return round <= amendment.to;
        return rounds.isAccepted(round, amendment.member);
    }

    function _firstRow(Fold memory its) private view returns (uint32) {
        bool adds = its.round != RoundId.wrap(0) && _rule(its.part) != Weights.Rule.Latest;
        return adds ? uint32(RoundId.unwrap(its.round)) : 0;
    }

    function _rows(ModelId source, Fold memory its) private view returns (uint32) {
        if (_rule(its.part) == Weights.Rule.Latest) return uint32(Bitmap.WORDS);
        RoundId last = its.round == RoundId.wrap(0) ? _models[source].lastRound : its.round;
        return uint32(RoundId.unwrap(last)) + 1;
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
        for (uint256 i = 0; i < _inUse.length; ++i) {
            if (_inUse[i] == source) {
                _inUse[i] = successor;
                emit ModelRetired(source);
                return;
            }
        }
        _inUse.push(successor);
    }

    /// @dev The base model alone is in use until there is another.
    function _isInUse(ModelId model) internal view returns (bool) {
        if (model == ModelId.wrap(0)) return head == model;
        for (uint256 i = 0; i < _inUse.length; ++i) {
            if (_inUse[i] == model) return true;
        }
        return false;
    }

    /// @dev The first amendment up to one that concerns a model and is not in it, or 0.
    function _firstAmendment(ModelId model, uint32 upTo) internal view returns (uint32) {
        Model storage its = _models[model];
        for (uint32 by = _passedBy(model) + 1; by <= upTo; ++by) {
            if (_isConcerned(its, by)) return by;
        }
        return 0;
    }

    function _isConcerned(Model storage its, uint32 by) private view returns (bool) {
        Amendment memory amendment = _amendments[by];
        if (its.lastRound < amendment.from) return false;
        return amendment.kind == Kind.Replay || _isIn(amendment.member, its.lastRound, its.amendments);
    }

    function _passedBy(ModelId model) private view returns (uint32) {
        (uint32 own, uint32 passed) = (_models[model].amendments, _passed[model]);
        return own < passed ? passed : own;
    }
}
