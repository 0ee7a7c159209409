// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Decisions by the members' votes. Nobody else can make one.
/// @notice A proposal is a call to the members or the withdrawals contract. It may be executed by anyone once more than
/// the threshold of the members that are active then have voted for it.
interface IGovernance {
    struct Proposal {
        address proposer;
        address target;
        uint64 deadline;
        bool executed;
        bytes data;
    }

    error NotActive(address caller);
    error UnknownProposal(uint256 id);
    error TargetNotGoverned(address target);
    error AlreadyVoted(uint256 id, address organization);
    error AlreadyExecuted(uint256 id);
    error Expired(uint256 id, uint64 deadline);
    error NotEnoughVotes(uint256 id, uint256 votes, uint256 active);
    error WrongThreshold(uint256 basisPoints);

    event Proposed(uint256 indexed id, address indexed proposer, address indexed target, bytes data, uint64 deadline);
    event Voted(uint256 indexed id, address indexed organization);
    event Executed(uint256 indexed id, address indexed target, bytes data);

    /// @notice Propose a call, and vote for it. Only active members.
    function propose(address target, bytes calldata data) external returns (uint256 id);

    /// @notice Vote for a proposal. Only active members, once each.
    function vote(uint256 id) external;

    /// @notice Make the call. Anyone, once votes of active members exceed the threshold.
    function execute(uint256 id) external;

    function proposal(uint256 id) external view returns (Proposal memory);

    /// @notice How many of the voters are active members now.
    function votesFor(uint256 id) external view returns (uint256);

    /// @notice Ids run from 1 to this.
    function count() external view returns (uint256);
}
