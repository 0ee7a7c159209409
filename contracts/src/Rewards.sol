// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {MemberId, RoundId} from "./Types.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IRewards} from "./interfaces/IRewards.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";

/// @title Rewards by score.
contract Rewards is IRewards, ReentrancyGuard {
    using Bitmap for uint256[4];

    IMembers public immutable members;
    IRounds public immutable rounds;
    /// @notice Reward of a round, in wei.
    uint256 public immutable rewardPerRound;
    /// @notice Time from the last member's leaving until the pool can be swept, in seconds.
    uint40 public immutable exitSeconds;

    /// @inheritdoc IRewards
    uint256 public pool;
    /// @notice The last round when the pool was swept: what no one claimed of rounds up to it went with it.
    RoundId public sweptUpTo;
    /// @inheritdoc IRewards
    mapping(RoundId => uint256) public reservedFor;
    mapping(RoundId => uint256[4]) private _claimed;

    constructor(IMembers members_, IRounds rounds_, uint256 rewardPerRound_, uint40 exitSeconds_) payable {
        members = members_;
        rounds = rounds_;
        rewardPerRound = rewardPerRound_;
        exitSeconds = exitSeconds_;
        pool = msg.value;
        emit Funded(msg.sender, msg.value);
    }

    /// @inheritdoc IRewards
    function fund() external payable {
        pool += msg.value;
        emit Funded(msg.sender, msg.value);
    }

    /// @inheritdoc IRewards
    function reserve(RoundId round) external {
        if (msg.sender != address(rounds)) revert NotRounds(msg.sender);
        uint256 amount = rewardPerRound < pool ? rewardPerRound : pool;
        if (round <= sweptUpTo) amount = 0;
        pool -= amount;
        reservedFor[round] = amount;
        emit Reserved(round, amount);
    }

    /// @inheritdoc IRewards
    function claim(RoundId[] calldata rounds_) external nonReentrant {
        MemberId member = members.member(msg.sender).number;
        uint256 amount = 0;
        for (uint256 i = 0; i < rounds_.length; ++i) {
            RoundId round = rounds_[i];
            if (!rounds.isPayable(round)) revert NotAttested(round);
            if (_claimed[round].has(member)) revert ClaimedBefore(round, msg.sender);
            uint256 share = _share(round, msg.sender);
            if (share == 0) revert NotScored(round, msg.sender);
            _claimed[round].add(member);
            amount += share;
        }
        if (amount == 0) revert NothingToClaim(msg.sender);
        emit Claimed(msg.sender, rounds_, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    /// @inheritdoc IRewards
    function sweep() external nonReentrant {
        address founder = members.founder();
        if (msg.sender != founder) revert NotFounder(msg.sender);
        uint40 empty = members.emptySince();
        if (empty == 0 || block.timestamp < empty + exitSeconds) revert StillUnderWay();
        uint256 amount = address(this).balance;
        pool = 0;
        sweptUpTo = rounds.currentRound();
        emit Swept(founder, amount);
        Address.sendValue(payable(founder), amount);
    }

    /// @inheritdoc IRewards
    function claimable(address organization, RoundId[] calldata rounds_) external view returns (uint256 amount) {
        MemberId member = members.member(organization).number;
        for (uint256 i = 0; i < rounds_.length; ++i) {
            if (!_claimed[rounds_[i]].has(member)) amount += _share(rounds_[i], organization);
        }
    }

    function _share(RoundId round, address organization) private view returns (uint256) {
        if (round <= sweptUpTo) return 0;
        (uint256 score, uint256 total) = rounds.scoreOf(round, organization);
        return total == 0 ? 0 : reservedFor[round] * score / total;
    }
}
