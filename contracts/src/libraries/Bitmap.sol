// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId} from "../Types.sol";

/// @title Sets of members: member n is bit n % 256 of word n / 256.
library Bitmap {
    /// @notice Four words are enough for the most members that a consortium can have.
    uint256 internal constant WORDS = 4;
    uint256 internal constant MOST = 1024;

    /// @notice Whether a stored set has a member.
    function has(uint256[WORDS] storage set, MemberId member) internal view returns (bool) {
        (uint256 word, uint256 bit) = _place(member);
        return set[word] & bit != 0;
    }

    /// @notice Whether a loaded set has a member.
    function holds(uint256[WORDS] memory set, MemberId member) internal pure returns (bool) {
        (uint256 word, uint256 bit) = _place(member);
        return set[word] & bit != 0;
    }

    /// @notice Put a member into a stored set.
    function add(uint256[WORDS] storage set, MemberId member) internal {
        (uint256 word, uint256 bit) = _place(member);
        set[word] |= bit;
    }

    /// @notice Take a member out of a stored set.
    function remove(uint256[WORDS] storage set, MemberId member) internal {
        (uint256 word, uint256 bit) = _place(member);
        set[word] &= ~bit;
    }

    /// @notice A member's bit in a word, or 0 if it is in another.
    function bitIn(uint256 word, MemberId member) internal pure returns (uint256) {
        (uint256 place, uint256 bit) = _place(member);
        return place == word ? bit : 0;
    }

    /// @notice Read the first words of a stored set: as many as there are members for.
    function load(uint256[WORDS] storage set, uint256 words) internal view returns (uint256[WORDS] memory loaded) {
        for (uint256 i = 0; i < words; ++i) {
            loaded[i] = set[i];
        }
    }

    /// @notice Number of words that so many members need.
    function width(uint256 members) internal pure returns (uint256) {
        return (members + 255) / 256;
    }

    /// @notice Number of members of a set.
    function count(uint256[WORDS] memory set) internal pure returns (uint256 total) {
        for (uint256 i = 0; i < WORDS; ++i) {
            total += ones(set[i]);
        }
    }

    /// @notice Number of members of a set that come before a member.
    function rank(uint256[WORDS] memory set, MemberId member) internal pure returns (uint256 total) {
        (uint256 word, uint256 bit) = _place(member);
        for (uint256 i = 0; i < word; ++i) {
            total += ones(set[i]);
        }
        total += ones(set[word] & (bit - 1));
    }

    /// @notice Number of bits that are set.
    function ones(uint256 word) internal pure returns (uint256 total) {
        // Sums of neighbouring fields of 1, 2, 4 ... bits; the last product adds all bytes up. (Hacker's Delight, 5-1)
        unchecked {
            if (word == type(uint256).max) return 256;
            word -= (word >> 1) & 0x5555555555555555555555555555555555555555555555555555555555555555;
            word = (word & 0x3333333333333333333333333333333333333333333333333333333333333333)
                + ((word >> 2) & 0x3333333333333333333333333333333333333333333333333333333333333333);
            word = (word + (word >> 4)) & 0x0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f0f;
            total = (word * 0x0101010101010101010101010101010101010101010101010101010101010101) >> 248;
        }
    }

    /// @notice Place of the lowest bit that is set, or 256.
    function lowest(uint256 word) internal pure returns (uint256) {
        if (word == 0) return 256;
        unchecked {
            return ones((word & (~word + 1)) - 1);
        }
    }

    function _place(MemberId member) private pure returns (uint256 word, uint256 bit) {
        uint256 number = MemberId.unwrap(member);
        return (number >> 8, 1 << (number & 255));
    }
}
