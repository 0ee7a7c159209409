// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Folds} from "./Folds.sol";
import {MemberId, ModelId, OfferId, PointHash, RoundId} from "./Types.sol";
import {IModels} from "./interfaces/IModels.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title What auditors ask of models, answered in pages.
abstract contract Queries is Folds {
    using Bitmap for uint256[4];

    /// @dev A page of contributions, and the part of a model that it is of.
    struct Page {
        Entry[] entries;
        uint256 count;
        uint64 left;
        uint64 start;
        uint256 part;
        RoundId last;
        uint32 amendments;
    }

    /// @dev A place is a row, above so many bits, and a place in it. Row 0 is the counter-deltas, by amendment; where only
    /// the latest counts, all members. Other rows are rounds, by member.
    uint64 private constant ROW_BITS = 32;

    /// @inheritdoc IModels
    function isClean(ModelId model, MemberId member) public view returns (bool) {
        Model storage its = _known(model);
        return !_isIn(member, its.lastRound, its.amendments);
    }

    /// @inheritdoc IModels
    function modelsContaining(MemberId member, ModelId start, uint64 limit)
        external
        view
        returns (ModelId[] memory ids, ModelId next)
    {
        ids = new ModelId[](limit);
        uint256 count = 0;
        uint64 id = ModelId.unwrap(start) == 0 ? 1 : ModelId.unwrap(start);
        for (uint64 looked = 0; looked < limit && id <= modelCount; ++looked) {
            if (!isClean(ModelId.wrap(id), member)) ids[count++] = ModelId.wrap(id);
            ++id;
        }
        next = ModelId.wrap(id <= modelCount ? id : 0);
        assembly ("memory-safe") {
            mstore(ids, count)
        }
    }

    /// @inheritdoc IModels
    function contentOf(ModelId model, uint256 part, uint64 start, uint64 limit)
        external
        view
        returns (Entry[] memory entries, uint64 next)
    {
        Page memory page = _page(model, part, start, limit);
        // Where only the latest counts, each member has one contribution, and they are one row.
        bool latest = _rule(part) == Weights.Rule.Latest;
        uint64 last = latest ? 0 : RoundId.unwrap(page.last);
        for (uint64 row = start >> ROW_BITS; row <= last && next == 0; ++row) {
            if (page.left == 0) next = row << ROW_BITS;
            else if (row == 0 && !latest) next = _addCounters(page);
            else next = _addRow(page, row, latest);
            // To look a row up costs as much as a contribution does.
            if (page.left != 0) --page.left;
        }
        entries = page.entries;
        uint256 count = page.count;
        assembly ("memory-safe") {
            mstore(entries, count)
        }
    }

    function _page(ModelId model, uint256 part, uint64 start, uint64 limit) private view returns (Page memory) {
        Model storage its = _known(model);
        return Page(new Entry[](limit), 0, limit, start, part, its.lastRound, its.amendments);
    }

    /// @dev Add the contributions of one round, or the latest of each member, and return where to go on among them.
    function _addRow(Page memory page, uint64 row, bool latest) private view returns (uint64 next) {
        Base memory base;
        if (latest) (base.weight, base.members) = (1, _contributors[page.last]);
        else base = _base(page.part, RoundId.wrap(row), page.amendments);
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            for (uint256 rest = base.members[word]; rest != 0; rest &= rest - 1) {
                MemberId member = _member(word, rest);
                uint64 place = row << ROW_BITS | MemberId.unwrap(member);
                if (place < page.start) continue;
                if (page.left == 0) return place;
                --page.left;
                if (_isOut(member, page.amendments)) continue;
                _addOf(page, latest ? _latestRound(member, page.last) : RoundId.wrap(row), base, member);
            }
        }
    }

    function _addOf(Page memory page, RoundId round, Base memory base, MemberId member) private view {
        OfferId version = _versionAt(round, member, base.since, page.amendments);
        OfferId source = OfferId.unwrap(version) == 0 ? base.replay : version;
        _add(page, round, member, base.weight, _pointOf(source, round, member, page.part));
    }

    /// @dev Add the counter-deltas of members that are in the model, among its amendments.
    function _addCounters(Page memory page) private view returns (uint64 next) {
        for (uint64 by = page.start; by < page.amendments; ++by) {
            if (page.left == 0) return by;
            --page.left;
            Amendment memory its = _amendments[uint32(by + 1)];
            bool counts = its.kind == Kind.CounterTraining && _isIn(its.member, page.last, page.amendments);
            if (!counts) continue;
            RoundId none = RoundId.wrap(0);
            _add(page, none, its.member, Weights.ONE, _pointOf(its.offer, none, its.member, page.part));
        }
    }

    function _add(Page memory page, RoundId round, MemberId member, int256 weight, PointHash point) private pure {
        page.entries[page.count++] = Entry(round, member, uint16(uint256(weight)), point);
    }

    function _known(ModelId model) internal view returns (Model storage) {
        if (ModelId.unwrap(model) > modelCount) revert UnknownModel(model);
        return _models[model];
    }
}
