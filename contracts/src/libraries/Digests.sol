// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @title Arithmetic on linear digests: weighted sums, and Merkle roots by which they are registered.
/// @notice A digest is 4,096 residues of 32 bits: 2,048 modulo Q1, then 2,048 modulo Q2 (docs/digest.md), in 512
/// words of eight. Its root is a Merkle tree of depth 9 over those words, node = keccak256(left, right).
/// @dev Sums are kept in 64-bit lanes, four to a word: a term adds less than 2^31 x 2^16 to a lane, so no carry leaves
/// a lane before 2^17 terms of the largest weight, more calldata than any block holds.
library Digests {
    uint256 internal constant BYTES = 16_384;
    uint256 internal constant WORDS = 512;
    uint256 internal constant DEPTH = 9;
    uint256 internal constant Q1 = 2_013_265_921;
    uint256 internal constant Q2 = 2_130_706_433;

    uint256 private constant LOW = 0x00000000ffffffff00000000ffffffff00000000ffffffff00000000ffffffff;
    uint256 private constant ONES = 0x0000000000000001000000000000000100000000000000010000000000000001;
    uint256 private constant CARRY = 0x0000000100000000000000010000000000000001000000000000000100000000;
    uint256 private constant LANE = 0xffffffffffffffff;

    error WrongLength(uint256 length);
    error NotCanonical();

    /// @notice Zeroed lanes of a sum.
    function lanes() internal pure returns (uint256 sum) {
        uint256[] memory space = new uint256[](2 * WORDS);
        assembly ("memory-safe") {
            sum := add(space, 32)
        }
    }

    /// @notice sum += coefficient x digest. Reverts unless every residue is below its modulus.
    function accumulate(uint256 sum, bytes calldata data, int256 coefficient) internal pure {
        if (data.length != BYTES) revert WrongLength(data.length);
        bool negative = coefficient < 0;
        uint256 factor = uint256(negative ? -coefficient : coefficient);
        uint256 from;
        assembly ("memory-safe") {
            from := data.offset
        }
        uint256 high = _half(sum, from, Q1, factor, negative);
        high |= _half(sum + BYTES, from + BYTES / 2, Q2, factor, negative);
        if (high & CARRY != 0) revert NotCanonical();
    }

    /// @dev Half a digest, modulo one prime. Returns a word with a carry bit set where a residue is not canonical.
    function _half(uint256 sum, uint256 from, uint256 q, uint256 factor, bool negative)
        private
        pure
        returns (uint256 high)
    {
        uint256 over = ONES * ((1 << 32) - q);
        uint256 moduli = ONES * q;
        assembly ("memory-safe") {
            for { let end := add(from, 8192) } lt(from, end) {
                from := add(from, 32)
                sum := add(sum, 64)
            } {
                let word := calldataload(from)
                let even := and(word, LOW)
                let odd := and(shr(32, word), LOW)
                high := or(high, or(add(even, over), add(odd, over)))
                if negative {
                    even := sub(moduli, even)
                    odd := sub(moduli, odd)
                }
                mstore(sum, add(mload(sum), mul(even, factor)))
                let next := add(sum, 32)
                mstore(next, add(mload(next), mul(odd, factor)))
            }
        }
    }

    /// @notice The digest that a sum comes to. The lanes then hold it.
    function reduce(uint256 sum) internal pure returns (bytes memory digest) {
        digest = new bytes(BYTES);
        uint256 to;
        assembly ("memory-safe") {
            to := add(digest, 32)
        }
        _reduceHalf(sum, to, Q1);
        _reduceHalf(sum + BYTES, to + BYTES / 2, Q2);
    }

    function _reduceHalf(uint256 sum, uint256 to, uint256 q) private pure {
        assembly ("memory-safe") {
            function reduced(lanes4, modulus) -> out {
                out := mod(shr(192, lanes4), modulus)
                out := or(shl(64, out), mod(and(shr(128, lanes4), LANE), modulus))
                out := or(shl(64, out), mod(and(shr(64, lanes4), LANE), modulus))
                out := or(shl(64, out), mod(and(lanes4, LANE), modulus))
            }
            for { let end := add(to, 8192) } lt(to, end) {
                to := add(to, 32)
                sum := add(sum, 64)
            } {
                let even := reduced(mload(sum), q)
                let next := add(sum, 32)
                let odd := reduced(mload(next), q)
                mstore(sum, even)
                mstore(next, odd)
                mstore(to, or(even, shl(32, odd)))
            }
        }
    }

    /// @notice Merkle root of a digest in calldata.
    function root(bytes calldata data) internal pure returns (bytes32 found) {
        if (data.length != BYTES) revert WrongLength(data.length);
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            calldatacopy(scratch, data.offset, data.length)
        }
        return _rootOfScratch();
    }

    /// @notice Merkle root of a digest in memory, which is left as it is.
    function rootOf(bytes memory data) internal pure returns (bytes32 found) {
        if (data.length != BYTES) revert WrongLength(data.length);
        assembly ("memory-safe") {
            mcopy(mload(0x40), add(data, 32), mload(data))
        }
        return _rootOfScratch();
    }

    /// @dev Hashes the 512 words at the free memory pointer, level by level in place.
    function _rootOfScratch() private pure returns (bytes32 found) {
        assembly ("memory-safe") {
            let scratch := mload(0x40)
            for { let count := 256 } count { count := shr(1, count) } {
                let to := scratch
                let from := scratch
                for { let end := add(scratch, mul(count, 32)) } lt(to, end) {
                    to := add(to, 32)
                    from := add(from, 64)
                } { mstore(to, keccak256(from, 64)) }
            }
            found := mload(scratch)
        }
    }

    /// @notice Root of the digest of nothing: all residues zero.
    function zeroRoot() internal pure returns (bytes32 node) {
        for (uint256 level = 0; level < DEPTH; ++level) {
            node = keccak256(abi.encode(node, node));
        }
    }

    /// @notice Whether `word` is the word at `index` of the digest with this root.
    function includes(bytes32 root_, uint256 index, bytes32 word, bytes32[9] calldata siblings)
        internal
        pure
        returns (bool)
    {
        bytes32 node = word;
        for (uint256 level = 0; level < DEPTH; ++level) {
            bytes32 sibling = siblings[level];
            node =
                (index >> level) & 1 == 0 ? keccak256(abi.encode(node, sibling)) : keccak256(abi.encode(sibling, node));
        }
        return node == root_;
    }

    /// @notice The eight residues of a word, and whether each is below its modulus.
    function residues(uint256 index, bytes32 word) internal pure returns (uint256[8] memory values, bool canonical) {
        uint256 q = modulus(index);
        canonical = true;
        for (uint256 i = 0; i < 8; ++i) {
            values[i] = (uint256(word) >> (224 - 32 * i)) & 0xffffffff;
            if (values[i] >= q) canonical = false;
        }
    }

    /// @notice The prime of the residues in the word at `index`.
    function modulus(uint256 index) internal pure returns (uint256) {
        return index < WORDS / 2 ? Q1 : Q2;
    }
}
