// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Sizes and roots of the organizations' private ledgers, and the privacy budgets that they state.
interface IAnchors {
    /// @notice A ledger as it was anchored.
    /// @param size Number of records.
    /// @param anchoredAt Block number.
    /// @param root Merkle root of the records.
    struct Anchor {
        uint64 size;
        uint64 anchoredAt;
        bytes32 root;
    }

    /// @notice (epsilon, delta)-differential privacy that an organization states to have spent in all its rounds together.
    /// @param epsilonMicro epsilon in millionths, rounded up; the largest value stands for no bound.
    /// @param deltaPico delta in 10^-12, rounded up.
    /// @param statedAt Block number.
    struct Spent {
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint64 statedAt;
    }

    error NotMember(address caller);
    error Shrunk(address organization, uint64 size, uint64 anchored);
    error Forked(address organization, uint64 size, bytes32 anchored);
    error BudgetShrunk(address organization, Spent stated);

    event PrivacySpent(address indexed organization, uint64 epsilonMicro, uint64 deltaPico);
    event Anchored(address indexed organization, uint64 indexed size, bytes32 root);

    /// @notice Anchor the caller's ledger. A smaller size, or another root for the same size, is refused.
    /// @param size Number of records.
    /// @param root Merkle root of the records.
    function anchor(uint64 size, bytes32 root) external;

    /// @notice State what the caller has spent. What is spent stays spent: neither number may fall.
    /// @param epsilonMicro epsilon in millionths, rounded up.
    /// @param deltaPico delta in 10^-12, rounded up.
    function stateSpent(uint64 epsilonMicro, uint64 deltaPico) external;

    /// @notice What an organization stated last.
    function spentBy(address organization) external view returns (Spent memory);

    /// @notice What an organization anchored last.
    function latest(address organization) external view returns (Anchor memory);
}
