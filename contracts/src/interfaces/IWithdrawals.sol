// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Requests to take a contribution back, and their being carried out.
interface IWithdrawals {
    enum State {
        None,
        Requested,
        Closed
    }

    struct Withdrawal {
        address organization;
        State state;
        uint64 requestedAt;
        uint64 deadline;
        uint64 closedModel;
    }

    error NotAggregator(address caller);
    error NotActive(address organization);
    error WrongState(uint256 id, State state);

    event WithdrawalRequested(uint256 indexed id, address indexed organization, uint64 deadline);
    event WithdrawalClosed(uint256 indexed id, address indexed organization, uint64 indexed model, bytes32 adapterId);

    /// @notice Ask for the removal of everything one contributed. Only an active organization, once.
    function request() external returns (uint256 id);

    /// @notice Register the model without the organization and close. Only the aggregator.
    function close(uint256 id, bytes32 adapterId) external;

    /// @notice Whether any request is open past its deadline; then no round can open.
    function anyOverdue() external view returns (bool);

    function withdrawal(uint256 id) external view returns (Withdrawal memory);

    /// @notice Ids run from 1 to this.
    function count() external view returns (uint256);
}
