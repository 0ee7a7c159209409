// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {RoundId} from "../Types.sol";

/// @title A pool that pays for contributions by score. Nothing is sent: each organization takes its own.
interface IRewards {
    error NotRounds(address caller);
    error NotFounder(address caller);
    error NothingToClaim(address organization);
    error ClaimedBefore(RoundId round, address organization);
    error NotScored(RoundId round, address organization);
    error NotAttested(RoundId round);
    error StillUnderWay();

    event Funded(address indexed from, uint256 amount);
    event Reserved(RoundId indexed round, uint256 amount);
    event Claimed(address indexed organization, RoundId[] rounds, uint256 amount);
    event Swept(address indexed founder, uint256 amount);

    /// @notice Add to the pool. Anyone.
    function fund() external payable;

    /// @notice Set one round's reward aside. Rounds contract only.
    /// @param round A round that has become final.
    function reserve(RoundId round) external;

    /// @notice Take out the caller's shares of final rounds: reward x score / sum of scores, rounded down.
    /// @param rounds_ The rounds, each of which the caller has a score in.
    function claim(RoundId[] calldata rounds_) external;

    /// @notice Take what is left, the exit delay after the last member left: the pool, and what no one claimed by then.
    /// Founder only.
    function sweep() external;

    /// @notice What is left in the pool and set aside for no round, in wei.
    function pool() external view returns (uint256);

    /// @notice What was set aside for a round, in wei.
    function reservedFor(RoundId round) external view returns (uint256);

    /// @notice What an organization can still claim for rounds, in wei. Rounds in which it has nothing count nothing.
    function claimable(address organization, RoundId[] calldata rounds_) external view returns (uint256);
}
