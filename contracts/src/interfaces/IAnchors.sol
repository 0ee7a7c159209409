// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Sizes and roots of the organizations' private ledgers.
interface IAnchors {
    struct Anchor {
        uint64 size;
        uint64 anchoredAt;
        bytes32 root;
    }

    error NotMember(address caller);
    error Shrunk(address organization, uint64 size, uint64 anchored);
    error Forked(address organization, uint64 size, bytes32 anchored);

    event Anchored(address indexed organization, uint64 indexed size, bytes32 root);

    /// @notice Anchor one's ledger. A smaller size, or another root for the same size, is refused.
    function anchor(uint64 size, bytes32 root) external;

    function latest(address organization) external view returns (Anchor memory);
}
