// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title What a contribution weighs: it depends on nothing but how many there are in its round.
library Weights {
    /// @notice How the contributions of a part add up. Block: each whole, over all rounds. Share: each with an equal
    /// share of the round, over all rounds. Latest: each whole, and only the latest of each member.
    enum Rule {
        Block,
        Share,
        Latest
    }

    /// @notice A whole share, in basis points.
    int256 internal constant ONE = 10_000;

    /// @notice Weight of each of so many contributions to a round. The same for all of them, so that a round's sum can be
    /// weighted again as a whole.
    function each(Rule rule, uint256 contributions) internal pure returns (int256) {
        if (contributions == 0) return 0;
        if (rule == Rule.Latest) return 1;
        return rule == Rule.Share ? ONE / int256(contributions) : ONE;
    }
}
