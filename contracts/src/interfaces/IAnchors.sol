// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Sizes and roots of the organizations' private ledgers, and what they say of their privacy budgets.
interface IAnchors {
    struct Anchor {
        uint64 size;
        uint64 anchoredAt;
        bytes32 root;
    }

    /// @notice (epsilon, delta)-differential privacy that an organization says it has spent in all its rounds together:
    /// epsilon in millionths, rounded up, the largest value for no bound; delta in 10^-12, rounded up.
    struct Spent {
        uint64 epsilonMicro;
        uint64 deltaPico;
        uint64 statedAt;
    }

    error NotMember(address caller);
    error Shrunk(address organization, uint64 size, uint64 anchored);
    error Forked(address organization, uint64 size, bytes32 anchored);

    error BudgetShrunk(address organization, uint64 epsilonMicro, uint64 stated);

    event PrivacySpent(address indexed organization, uint64 epsilonMicro, uint64 deltaPico);
    event Anchored(address indexed organization, uint64 indexed size, bytes32 root);

    /// @notice Anchor one's ledger. A smaller size, or another root for the same size, is refused.
    function anchor(uint64 size, bytes32 root) external;

    /// @notice State what one has spent. What was spent stays spent: a smaller epsilon is refused.
    function stateSpent(uint64 epsilonMicro, uint64 deltaPico) external;

    function spentBy(address organization) external view returns (Spent memory);

    function latest(address organization) external view returns (Anchor memory);
}
