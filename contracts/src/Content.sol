// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ILineage} from "./interfaces/ILineage.sol";
import {Digests} from "./libraries/Digests.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title What is in a model, derived from registered contributions and amendments.
abstract contract Content is ILineage {
    struct Substitute {
        uint64 withdrawal;
        Delta delta;
    }

    struct CounterDelta {
        uint64 withdrawal;
        address organization;
        Delta delta;
    }

    bool public immutable sharedLayout;
    bytes32 internal immutable _zeroRoot;

    /// @notice Whether an artifact was revealed in any round.
    mapping(bytes32 => bool) public artifactSeen;
    /// @notice Whether a digest was revealed in any round.
    mapping(bytes32 => bool) public digestSeen;
    mapping(uint64 => uint64) public amendmentOf;
    /// @notice The amendment by which an organization was excluded, or 0.
    mapping(address => uint64) public excludedBy;

    mapping(uint64 => Contribution[]) internal _contributions;
    mapping(uint64 => Delta) internal _aggregates;
    mapping(address => uint64[]) internal _roundsOf;
    mapping(uint64 => mapping(address => Substitute[])) internal _substitutes;
    mapping(uint64 => uint64[]) internal _offeredRounds;
    CounterDelta[] internal _counters;
    /// @dev Amendment k is at k - 1.
    Amendment[] internal _amendments;
    /// @dev Artifacts and digests that an organization offered.
    mapping(bytes32 => mapping(address => bool)) private _offeredBy;
    /// @dev The first round in which an offered artifact or digest can not be revealed, or 0.
    mapping(bytes32 => uint64) private _copyFrom;

    constructor(bool sharedLayout_) {
        sharedLayout = sharedLayout_;
        _zeroRoot = Digests.zeroRoot();
    }

    function contributions(uint64 round) external view returns (Contribution[] memory) {
        return _contributions[round];
    }

    function aggregateOf(uint64 round) external view returns (Delta memory) {
        return _aggregates[round];
    }

    function roundsOf(address organization) external view returns (uint64[] memory) {
        return _roundsOf[organization];
    }

    function amendmentCount() external view returns (uint64) {
        return uint64(_amendments.length);
    }

    function amendment(uint64 id) external view returns (Amendment memory) {
        return _amendments[id - 1];
    }

    function _registerRevealed(address organization, uint64 round, Delta memory delta) internal {
        _requireUnseen(delta);
        if (_isCopy(delta.artifactId, round)) revert ArtifactSeenBefore(delta.artifactId);
        if (_isCopy(delta.digestRoot, round)) revert DigestSeenBefore(delta.digestRoot);
        artifactSeen[delta.artifactId] = true;
        digestSeen[delta.digestRoot] = true;
        emit DeltaRegistered(organization, delta.artifactId, delta.digestRoot);
    }

    /// @dev Anyone sees an offer before it is registered, and a reveal too: who copies one must not be able to block it.
    /// So offers count for their own organization only, and for reveals that were not yet committed to (`copyFrom`).
    function _registerOffered(address organization, uint64 copyFrom, Delta memory delta) internal {
        _requireUnseen(delta);
        if (_offeredBy[delta.artifactId][organization]) revert ArtifactSeenBefore(delta.artifactId);
        if (_offeredBy[delta.digestRoot][organization]) revert DigestSeenBefore(delta.digestRoot);
        _offeredBy[delta.artifactId][organization] = true;
        _offeredBy[delta.digestRoot][organization] = true;
        if (_copyFrom[delta.artifactId] == 0) _copyFrom[delta.artifactId] = copyFrom;
        if (_copyFrom[delta.digestRoot] == 0) _copyFrom[delta.digestRoot] = copyFrom;
        emit DeltaRegistered(organization, delta.artifactId, delta.digestRoot);
    }

    function _offer(uint64 withdrawal, Kind kind, uint64 round, address organization, Delta memory delta) internal {
        if (kind == Kind.CounterTraining) {
            _offerCounter(withdrawal, round, organization, delta);
        } else {
            if (!_contributedTo(round, organization)) revert NotContributed(round, organization);
            _offerSubstitute(withdrawal, kind, round, organization, delta);
        }
        emit DeltaOffered(withdrawal, round, organization, delta.artifactId, delta.digestRoot);
    }

    /// @dev One for each withdrawal, and only of who contributed: all of them are read wherever content is.
    function _offerCounter(uint64 withdrawal, uint64 round, address organization, Delta memory delta) private {
        if (round != 0 || _roundsOf[organization].length == 0) revert NotContributed(round, organization);
        for (uint256 i = 0; i < _counters.length; ++i) {
            if (_counters[i].withdrawal == withdrawal) revert OfferedBefore(0, organization);
        }
        _counters.push(CounterDelta(withdrawal, organization, delta));
    }

    /// @dev Substitutes are kept in the order in which they were offered, because the last one knows most withdrawals.
    /// So an older one may be offered anew once another withdrawal's has come after it.
    function _offerSubstitute(uint64 withdrawal, Kind kind, uint64 round, address organization, Delta memory delta)
        private
    {
        Substitute[] storage all = _substitutes[round][organization];
        uint256 place = 0;
        while (place < all.length && all[place].withdrawal != withdrawal) ++place;
        if (place == all.length) {
            _substitutes[round][organization].push(Substitute(withdrawal, delta));
            if (kind == Kind.Replacement) _offeredRounds[withdrawal].push(round);
            return;
        }
        if (place + 1 == all.length) revert OfferedBefore(round, organization);
        for (; place + 1 < all.length; ++place) {
            all[place] = all[place + 1];
        }
        all[place] = Substitute(withdrawal, delta);
    }

    function _requireUnseen(Delta memory delta) private view {
        if (delta.artifactId == 0 || delta.digestRoot == 0) revert EmptyValue();
        if (delta.digestRoot == _zeroRoot) revert ZeroDelta();
        if (artifactSeen[delta.artifactId]) revert ArtifactSeenBefore(delta.artifactId);
        if (digestSeen[delta.digestRoot]) revert DigestSeenBefore(delta.digestRoot);
    }

    function _isCopy(bytes32 value, uint64 round) private view returns (bool) {
        uint64 first = _copyFrom[value];
        return first != 0 && first <= round;
    }

    /// @dev The first round that an amendment changes: the organization's first, or the first that it offered to replace.
    function _firstRound(uint64 withdrawal, Kind kind, address organization, bool excludes)
        internal
        view
        returns (uint64)
    {
        if (kind == Kind.CounterTraining) return 0;
        uint64[] storage all = _roundsOf[organization];
        for (uint256 i = 0; i < all.length; ++i) {
            if (excludes) return all[i];
            Substitute[] storage offered = _substitutes[all[i]][organization];
            for (uint256 j = 0; j < offered.length; ++j) {
                if (offered[j].withdrawal == withdrawal) return all[i];
            }
        }
        return 0;
    }

    function _contributedTo(uint64 round, address organization) private view returns (bool) {
        Contribution[] storage all = _contributions[round];
        for (uint256 i = 0; i < all.length; ++i) {
            if (all[i].organization == organization) return true;
        }
        return false;
    }

    /// @dev The deltas of one round in a model with so many amendments, in ascending order of addresses.
    function _partsOf(uint64 round, uint256 amendments) private view returns (Part[] memory parts) {
        Contribution[] storage all = _contributions[round];
        uint256 total = all.length;
        address[] memory kept = new address[](total);
        uint256 count = 0;
        for (uint256 i = 0; i < total; ++i) {
            address organization = all[i].organization;
            if (_isExcluded(organization, amendments)) continue;
            kept[i] = organization;
            ++count;
        }
        parts = new Part[](count);
        uint256 place = 0;
        for (uint256 i = 0; i < total; ++i) {
            if (kept[i] == address(0)) continue;
            Delta memory delta = _deltaAt(round, all[i], amendments);
            parts[place] =
                Part(round, kept[i], Weights.share(sharedLayout, place, count), delta.artifactId, delta.digestRoot);
            ++place;
        }
    }

    /// @dev Counter-deltas in a model of these rounds with so many amendments: of organizations that are in it.
    function _counterParts(uint256 amendments, uint64 lastRound) private view returns (Part[] memory parts) {
        uint256 total = _counters.length;
        parts = new Part[](total);
        uint256 count = 0;
        for (uint256 i = 0; i < total; ++i) {
            CounterDelta storage it = _counters[i];
            uint64 by = amendmentOf[it.withdrawal];
            if (by == 0 || by > amendments || _amendments[by - 1].kind != Kind.CounterTraining) continue;
            if (!_isIn(it.organization, amendments, lastRound)) continue;
            parts[count++] = Part(0, it.organization, Weights.ONE, it.delta.artifactId, it.delta.digestRoot);
        }
        _shorten(parts, count);
    }

    /// @dev The difference that the newest amendment makes to one round (0: to the counter-deltas) of a model.
    function _changeOf(uint64 round, Model storage source) internal view returns (Term[] memory terms) {
        uint256 newest = _amendments.length;
        Part[] memory old = _partsIn(round, source.amendments, source.lastRound);
        Part[] memory now_ = _partsIn(round, newest, source.lastRound);
        Amendment storage it = _amendments[newest - 1];
        bool replaced = it.kind == Kind.Replay && round > it.from;
        terms = new Term[](old.length + now_.length);
        uint256 count = 0;
        uint256 j = 0;
        for (uint256 i = 0; i < old.length; ++i) {
            Part memory was = old[i];
            bool stays = j < now_.length && now_[j].organization == was.organization;
            if (stays && now_[j].digestRoot == was.digestRoot) {
                // Where each has a block of its own nobody else's start changes, and so nobody else's delta.
                bool concerned = sharedLayout || was.organization == it.organization;
                if (replaced && concerned) revert ReplayIncomplete(round, was.organization);
                int256 change = int256(uint256(now_[j].weight)) - int256(uint256(was.weight));
                if (change != 0) terms[count++] = Term(was.artifactId, was.digestRoot, change);
                ++j;
                continue;
            }
            terms[count++] = Term(was.artifactId, was.digestRoot, -int256(uint256(was.weight)));
            if (stays) terms[count++] = _added(now_[j++]);
        }
        while (j < now_.length) terms[count++] = _added(now_[j++]);
        assembly ("memory-safe") {
            mstore(terms, count)
        }
    }

    function _added(Part memory part) private pure returns (Term memory) {
        return Term(part.artifactId, part.digestRoot, int256(uint256(part.weight)));
    }

    /// @dev Of the substitutes whose amendment the model has, the one offered last.
    function _deltaAt(uint64 round, Contribution storage its, uint256 amendments) private view returns (Delta memory) {
        Substitute[] storage all = _substitutes[round][its.organization];
        for (uint256 i = all.length; i > 0; --i) {
            uint64 by = amendmentOf[all[i - 1].withdrawal];
            if (by != 0 && by <= amendments && _replaces(_amendments[by - 1], round, its.organization)) {
                return all[i - 1].delta;
            }
        }
        return Delta(its.artifactId, its.digestRoot);
    }

    /// @dev A replay leaves alone what was before it, and what others gave in its first round.
    function _replaces(Amendment storage it, uint64 round, address organization) private view returns (bool) {
        if (it.kind == Kind.Replay) return round > it.from || (round == it.from && organization == it.organization);
        return it.kind == Kind.Replacement;
    }

    /// @dev The deltas of one round, or with 0 the counter-deltas.
    function _partsIn(uint64 round, uint256 amendments, uint64 lastRound) internal view returns (Part[] memory) {
        return round == 0 ? _counterParts(amendments, lastRound) : _partsOf(round, amendments);
    }

    function _isIn(address organization, uint256 amendments, uint64 lastRound) internal view returns (bool) {
        if (_isExcluded(organization, amendments)) return false;
        uint64[] storage its = _roundsOf[organization];
        return its.length != 0 && its[0] <= lastRound;
    }

    function _isExcluded(address organization, uint256 amendments) internal view returns (bool) {
        uint64 by = excludedBy[organization];
        return by != 0 && by <= amendments;
    }

    function _shorten(Part[] memory parts, uint256 count) private pure {
        assembly ("memory-safe") {
            mstore(parts, count)
        }
    }
}
