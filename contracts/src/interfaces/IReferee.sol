// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Whether a claimed sum of digests is wrong in one word. Keeps nothing.
interface IReferee {
    /// @notice D(aggregate) = sum of coefficient x D(term), D(claimed) = D(source) + D(aggregate). By Merkle roots;
    /// `aggregate` is zero where the sum has no name of its own.
    struct Equation {
        bytes32[] roots;
        int256[] coefficients;
        bytes32 aggregate;
        bytes32 source;
        bytes32 claimed;
    }

    error WrongProof(uint256 term);
    error WrongWordCount(uint256 given, uint256 required);

    /// @notice Whether the equation fails, or a residue is not canonical, in the word of eight coordinates at
    /// `wordIndex`. `words`, `siblings`: that word of every term, of the aggregate if it is named, of the source and of
    /// the claimed digest, each with its Merkle path. Reverts unless each word belongs to its root.
    function fails(
        Equation calldata equation,
        uint256 wordIndex,
        bytes32[] calldata words,
        bytes32[9][] calldata siblings
    ) external pure returns (bool);
}
