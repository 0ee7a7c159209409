// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title The consortium's rule: what a delta weighs depends only on who is in the round.
library Weights {
    /// @notice A whole share, in basis points.
    uint16 internal constant ONE = 10_000;

    /// @notice Weight of the organization at `place`, in ascending order of addresses, among `total`: a whole share in
    /// blocks; equal shares of one in a shared layout, the remainder one by one to the lowest addresses.
    function share(bool sharedLayout, uint256 place, uint256 total) internal pure returns (uint16) {
        if (!sharedLayout) return ONE;
        return uint16(ONE / total + (place < ONE % total ? 1 : 0));
    }
}
