// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Decisions by the members' votes.
/// @notice A proposal is a call to the members or the withdrawals contract. Anyone may execute it once more than the
/// threshold of the members that are active then have voted for it.
interface IGovernance {
    /// @notice A proposed call.
    /// @param proposer Who proposed it.
    /// @param target The contract to call.
    /// @param deadline Until when it can be voted for and executed, in Unix seconds.
    /// @param executed Whether the call was made.
    /// @param data The call.
    struct Proposal {
        address proposer;
        address target;
        uint40 deadline;
        bool executed;
        bytes data;
    }

    error NotActive(address caller);
    error UnknownProposal(uint256 id);
    error TargetNotGoverned(address target);
    error AlreadyVoted(uint256 id, address organization);
    error AlreadyExecuted(uint256 id);
    error Expired(uint256 id, uint40 deadline);
    error NotEnoughVotes(uint256 id, uint256 votes, uint256 active);
    error WrongThreshold(uint256 basisPoints);

    event Proposed(uint256 indexed id, address indexed proposer, address indexed target, bytes data, uint40 deadline);
    event Voted(uint256 indexed id, address indexed organization);
    event Executed(uint256 indexed id, address indexed target, bytes data);

    /// @notice Propose a call, and vote for it. Active members only.
    /// @param target The members or the withdrawals contract.
    /// @param data The call.
    /// @return id Number of the proposal.
    function propose(address target, bytes calldata data) external returns (uint256 id);

    /// @notice Vote for a proposal. Active members only, once each.
    /// @param id Number of the proposal.
    function vote(uint256 id) external;

    /// @notice Make the call, once votes of active members exceed the threshold. Anyone.
    /// @param id Number of the proposal.
    function execute(uint256 id) external;

    /// @notice A proposal.
    function proposal(uint256 id) external view returns (Proposal memory);

    /// @notice How many of the voters are active members now.
    function votesFor(uint256 id) external view returns (uint256);

    /// @notice Whether an organization voted for a proposal.
    function hasVoted(uint256 id, address organization) external view returns (bool);

    /// @notice Proposals are numbered from 1 to this.
    function count() external view returns (uint256);
}
