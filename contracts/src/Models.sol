// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Queries} from "./Queries.sol";
import {Folds} from "./Folds.sol";
import {Sums} from "./Sums.sol";
import {MemberId, ModelId, OfferId, PointHash, RoundId, WithdrawalId} from "./Types.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IReplays} from "./interfaces/IReplays.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";
import {Weights} from "./libraries/Weights.sol";

/// @title Models, amendments, and which of them are in use.
contract Models is Queries {
    using Bitmap for uint256[4];

    /// @notice Most models in use.
    uint256 public constant MOST_IN_USE = 16;

    IMembers public immutable members;
    IReplays public immutable replays;
    address public immutable withdrawals;

    modifier onlyAggregator() {
        _requireAggregator();
        _;
    }

    modifier onlyWithdrawals() {
        _requireWithdrawals();
        _;
    }

    modifier onlyReplays() {
        if (msg.sender != address(replays)) revert NotReplays(msg.sender);
        _;
    }

    constructor(
        IMembers members_,
        IRounds rounds_,
        address withdrawals_,
        IReplays replays_,
        Weights.Rule[] memory rules,
        bool chained_
    ) Sums(rounds_, rules) Folds(chained_) {
        members = members_;
        withdrawals = withdrawals_;
        replays = replays_;
    }

    /// @inheritdoc IModels
    function release(ModelId model) external onlyAggregator {
        if (model == ModelId.wrap(0) || model != head) revert NotInUse(model);
        if (isStale(model)) revert IsStale(model);
        if (!rounds.isAttested(_models[model].lastRound)) revert NotAttested(_models[model].lastRound);
        if (_inUse.length == MOST_IN_USE) revert TooManyInUse(MOST_IN_USE);
        _models[model].released = true;
        emit ModelReleased(model);
    }

    /// @inheritdoc IModels
    function retire(ModelId model) external onlyAggregator {
        if (model == head) revert IsHead(model);
        uint256 place = _placeInUse(model);
        if (place == _inUse.length) revert NotInUse(model);
        _inUse[place] = _inUse[_inUse.length - 1];
        _inUse.pop();
        emit ModelRetired(model);
    }

    /// @inheritdoc IModels
    function publish(ModelId model, bytes32 adapterId, bytes32 openingId) external {
        _known(model);
        emit ModelPublished(model, msg.sender, adapterId, openingId);
    }

    /// @inheritdoc IModels
    function exclude(MemberId member) external onlyWithdrawals returns (uint32 amendment) {
        amendment = _amend(Amendment(Kind.Removal, member, RoundId.wrap(0), RoundId.wrap(0), NONE));
        _exclude(member, amendment);
    }

    /// @inheritdoc IModels
    function amend(Kind kind, MemberId member, WithdrawalId withdrawal, RoundId from)
        external
        onlyWithdrawals
        returns (uint32)
    {
        OfferId offer = OfferId.wrap(WithdrawalId.unwrap(withdrawal));
        if (kind == Kind.CounterTraining) _counters[member].push(offer);
        amendmentOf[offer] = amendmentCount + 1;
        return _amend(Amendment(kind, member, from, RoundId.wrap(0), offer));
    }

    /// @inheritdoc IModels
    function amendByReplay(OfferId replay, RoundId from, RoundId to, uint32 since)
        external
        onlyReplays
        returns (uint32 amendment)
    {
        amendment = _amend(Amendment(Kind.Replay, MemberId.wrap(0), from, to, replay));
        if (from <= to) _replays.push(Replayed(replay, from, to, since, amendment));
    }

    /// @inheritdoc IModels
    function settle(uint32 amendment) external returns (bool) {
        // To settle what is not known yet would let models miss the removals of their members.
        if (amendment > amendmentCount) return false;
        for (uint256 i = 0; i < _inUse.length; ++i) {
            ModelId model = _inUse[i];
            if (_firstAmendment(model, amendment) != 0) return false;
            if (_passedBy(model) < amendment) _passed[model] = amendment;
        }
        return true;
    }

    /// @inheritdoc IModels
    function register(
        OfferId offer,
        RoundId round,
        MemberId member,
        bytes32[] calldata artifactIds,
        bytes calldata points,
        bytes32 manifest
    ) external {
        if (msg.sender == withdrawals) {
            if (!_isIn(member, _models[head].lastRound, amendmentCount)) {
                revert NotContributed(round, member);
            }
            if (round != RoundId.wrap(0)) _registerVersion(offer, round, member);
        } else if (msg.sender != address(replays)) {
            _requireWithdrawals();
        }
        _offeredIn[offer][round].add(member);
        _store(offer, round, member, artifactIds, points, manifest);
    }

    /// @inheritdoc IModels
    function modelOf(ModelId model) external view returns (Model memory) {
        return _known(model);
    }

    /// @inheritdoc IModels
    function modelsInUse() external view returns (ModelId[] memory) {
        return _inUse;
    }

    /// @inheritdoc IModels
    function amendmentAt(uint32 amendment) external view returns (Amendment memory) {
        return _amendments[amendment];
    }

    /// @dev Apart from the modifiers, so that each check stands in the code once.
    function _requireAggregator() private view {
        if (msg.sender != members.aggregator()) revert NotAggregator(msg.sender);
    }

    function _requireWithdrawals() private view {
        if (msg.sender != withdrawals) revert NotWithdrawals(msg.sender);
    }

    function _amend(Amendment memory amendment) private returns (uint32 number) {
        number = ++amendmentCount;
        _amendments[number] = amendment;
        emit Amended(number, amendment.kind, amendment.member, amendment.from, amendment.to, amendment.offer);
    }

    /// @dev An offer for a round replaces one that the same withdrawal made before.
    function _registerVersion(OfferId offer, RoundId round, MemberId member) private {
        if (_models[head].lastRound < round || !rounds.isAccepted(round, member)) {
            revert NotContributed(round, member);
        }
        if (_offeredIn[offer][round].has(member)) return;
        _versioned[round].add(member);
        _versions[round][member].push(offer);
    }

    function _isReplayed(OfferId replay, RoundId round) internal view override returns (bool) {
        return replays.isClosed(replay, round);
    }
}
