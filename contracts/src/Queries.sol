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
    function contentOf(ModelId model, uint256 part, RoundId start, uint64 limit)
        external
        view
        returns (Entry[] memory entries, RoundId next)
    {
        Model storage its = _known(model);
        uint64 end = RoundId.unwrap(start) + limit;
        if (end > RoundId.unwrap(its.lastRound)) end = RoundId.unwrap(its.lastRound) + 1;
        else next = RoundId.wrap(end);
        Entry[][] memory pages = new Entry[][](end - RoundId.unwrap(start));
        uint256 total = 0;
        for (uint64 n = RoundId.unwrap(start); n < end; ++n) {
            Entry[] memory page = n == 0
                ? _countersIn(part, its.lastRound, its.amendments)
                : _entriesIn(part, RoundId.wrap(n), its.lastRound, its.amendments);
            pages[n - RoundId.unwrap(start)] = page;
            total += page.length;
        }
        entries = new Entry[](total);
        uint256 place = 0;
        for (uint256 i = 0; i < pages.length; ++i) {
            for (uint256 j = 0; j < pages[i].length; ++j) {
                entries[place++] = pages[i][j];
            }
        }
    }

    /// @dev Contributions of one round to a model, ascending by member number.
    function _entriesIn(uint256 part, RoundId round, RoundId last, uint32 amendments)
        private
        view
        returns (Entry[] memory entries)
    {
        // Where only the latest counts, what a replay brought changes nothing: it did not depend on a model.
        bool latest = _rule(part) == Weights.Rule.Latest;
        Base memory base = _base(part, round, latest ? 0 : amendments);
        base.amendments = amendments;
        entries = new Entry[](base.members.count());
        uint256 count = 0;
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            for (uint256 rest = base.members[word]; rest != 0; rest &= rest - 1) {
                MemberId member = _member(word, rest);
                // Where only the latest counts, a later contribution replaces this.
                bool superseded = latest && _latestRound(member, last) != round;
                if (superseded || _isOut(member, amendments)) continue;
                entries[count++] = _entry(part, round, base, member);
            }
        }
        _shorten(entries, count);
    }

    function _entry(uint256 part, RoundId round, Base memory base, MemberId member)
        private
        view
        returns (Entry memory)
    {
        OfferId version = _versionAt(round, member, base.since, base.amendments);
        OfferId source = OfferId.unwrap(version) == 0 ? base.replay : version;
        return Entry(round, member, uint16(uint256(base.weight)), _pointOf(source, round, member, part));
    }

    /// @dev Counter-deltas of members that are in a model.
    function _countersIn(uint256 part, RoundId last, uint32 amendments) private view returns (Entry[] memory entries) {
        // Where only the latest counts, nothing counteracts: the latest can be replaced.
        if (_rule(part) == Weights.Rule.Latest) return entries;
        uint256 room = 0;
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            for (uint256 rest = _counting[word]; rest != 0; rest &= rest - 1) {
                room += _counters[_member(word, rest)].length;
            }
        }
        entries = new Entry[](room);
        uint256 count = 0;
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            for (uint256 rest = _counting[word]; rest != 0; rest &= rest - 1) {
                MemberId member = _member(word, rest);
                if (_isIn(member, last, amendments)) count = _addCounters(entries, count, part, member, amendments);
            }
        }
        _shorten(entries, count);
    }

    function _addCounters(Entry[] memory entries, uint256 count, uint256 part, MemberId member, uint32 amendments)
        private
        view
        returns (uint256)
    {
        OfferId[] storage counters = _counters[member];
        for (uint256 i = 0; i < counters.length; ++i) {
            if (amendmentOf[counters[i]] > amendments) continue;
            PointHash point = _pointOf(counters[i], RoundId.wrap(0), member, part);
            entries[count++] = Entry(RoundId.wrap(0), member, uint16(uint256(Weights.ONE)), point);
        }
        return count;
    }

    function _known(ModelId model) internal view returns (Model storage) {
        if (ModelId.unwrap(model) > modelCount) revert UnknownModel(model);
        return _models[model];
    }

    function _shorten(Entry[] memory entries, uint256 count) private pure {
        assembly ("memory-safe") {
            mstore(entries, count)
        }
    }
}
