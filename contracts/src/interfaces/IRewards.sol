// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title A pool that pays for contributions by score; pulled, never pushed.
interface IRewards {
    error NotRounds(address caller);
    error NothingToClaim(address organization);

    event Funded(address indexed from, uint256 amount);
    event Credited(uint64 indexed round, address indexed organization, uint256 amount);
    event Claimed(address indexed organization, uint256 amount);

    /// @notice Add to the pool. Anyone.
    function fund() external payable;

    /// @notice Split one round's reward by score. Only the rounds contract.
    function credit(uint64 round, address[] calldata organizations, uint256[] calldata scores) external;

    /// @notice Take out what one was credited.
    function claim() external;

    /// @notice What is left in the pool, not yet credited to anybody.
    function pool() external view returns (uint256);

    function pending(address organization) external view returns (uint256);

    function creditedIn(uint64 round, address organization) external view returns (uint256);
}
