// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

/// @dev What the contracts should come to, worked out slowly and without their libraries. A test's digest has two
/// words that are not zero: one modulo each prime.
abstract contract Reference {
    struct Sparse {
        uint256 low;
        uint256 high;
    }

    uint256 internal constant P1 = 15 * 2 ** 27 + 1;
    uint256 internal constant P2 = 127 * 2 ** 24 + 1;
    uint256 internal constant LOW_WORD = 7;
    uint256 internal constant HIGH_WORD = 300;

    mapping(bytes32 => Sparse) internal known;

    function sparse(bytes32 seed) internal pure returns (Sparse memory digest) {
        for (uint256 i = 0; i < 8; ++i) {
            digest.low = (digest.low << 32) | (uint256(keccak256(abi.encode(seed, i))) % P1);
            digest.high = (digest.high << 32) | (uint256(keccak256(abi.encode(seed, i + 8))) % P2);
        }
    }

    /// @dev Remembers a digest by its root.
    function learn(Sparse memory digest) internal returns (bytes32 root) {
        root = rootOf(digest);
        known[root] = digest;
    }

    function rootOf(Sparse memory digest) internal pure returns (bytes32) {
        return keccak256(abi.encode(_half(digest.low, LOW_WORD), _half(digest.high, HIGH_WORD - 256)));
    }

    function bytesOf(bytes32 root) internal view virtual returns (bytes memory data) {
        Sparse memory digest = known[root];
        data = new bytes(16_384);
        (uint256 low, uint256 high) = (digest.low, digest.high);
        assembly ("memory-safe") {
            mstore(add(data, mul(32, add(LOW_WORD, 1))), low)
            mstore(add(data, mul(32, add(HIGH_WORD, 1))), high)
        }
    }

    function wordOf(bytes32 root, uint256 index) internal view virtual returns (bytes32) {
        if (index == LOW_WORD) return bytes32(known[root].low);
        return index == HIGH_WORD ? bytes32(known[root].high) : bytes32(0);
    }

    /// @dev sum += coefficient x digest, on 16 signed accumulators.
    function add(int256[16] memory sum, bytes32 root, int256 coefficient) internal view {
        Sparse memory digest = known[root];
        for (uint256 i = 0; i < 8; ++i) {
            sum[i] += coefficient * int256((digest.low >> (224 - 32 * i)) & 0xffffffff);
            sum[i + 8] += coefficient * int256((digest.high >> (224 - 32 * i)) & 0xffffffff);
        }
    }

    function reduced(int256[16] memory sum) internal pure returns (Sparse memory digest) {
        for (uint256 i = 0; i < 8; ++i) {
            digest.low = (digest.low << 32) | residue(sum[i], P1);
            digest.high = (digest.high << 32) | residue(sum[i + 8], P2);
        }
    }

    function residue(int256 value, uint256 q) internal pure returns (uint256) {
        int256 rest = value % int256(q);
        return uint256(rest < 0 ? rest + int256(q) : rest);
    }

    /// @dev What the one at `place` of `total` weighs.
    function weightOf(bool shared, uint256 place, uint256 total) internal pure returns (uint16) {
        if (!shared) return 10_000;
        uint256 rest = 10_000 - total * (10_000 / total);
        return uint16(10_000 / total + (place < rest ? 1 : 0));
    }

    function root512(bytes memory data) internal pure returns (bytes32) {
        bytes32[] memory nodes = leaves(data);
        for (uint256 count = 256; count > 0; count /= 2) {
            for (uint256 i = 0; i < count; ++i) {
                nodes[i] = keccak256(abi.encodePacked(nodes[2 * i], nodes[2 * i + 1]));
            }
        }
        return nodes[0];
    }

    /// @dev Merkle path of a word in any digest.
    function path512(bytes memory data, uint256 index) internal pure returns (bytes32[9] memory siblings) {
        bytes32[] memory nodes = leaves(data);
        for (uint256 level = 0; level < 9; ++level) {
            siblings[level] = nodes[(index >> level) ^ 1];
            for (uint256 i = 0; i < 256 >> level; ++i) {
                nodes[i] = keccak256(abi.encodePacked(nodes[2 * i], nodes[2 * i + 1]));
            }
        }
    }

    function leaves(bytes memory data) internal pure returns (bytes32[] memory nodes) {
        nodes = new bytes32[](512);
        for (uint256 i = 0; i < 512; ++i) {
            bytes32 word;
            assembly ("memory-safe") {
                word := mload(add(data, mul(32, add(i, 1))))
            }
            nodes[i] = word;
        }
    }

    /// @dev Merkle path of a word in a digest of two words that are not zero.
    function pathOf(bytes32 root, uint256 index) internal view virtual returns (bytes32[9] memory siblings) {
        Sparse memory digest = known[root];
        for (uint256 level = 0; level < 9; ++level) {
            siblings[level] = _nodeOf(digest, level, (index >> level) ^ 1);
        }
    }

    /// @dev The node over the 2^level words from index << level on.
    function _nodeOf(Sparse memory digest, uint256 level, uint256 index) private pure returns (bytes32) {
        if (level == 0) {
            if (index == LOW_WORD) return bytes32(digest.low);
            return index == HIGH_WORD ? bytes32(digest.high) : bytes32(0);
        }
        if (LOW_WORD >> level != index && HIGH_WORD >> level != index) return _zeroNode(level);
        return keccak256(abi.encode(_nodeOf(digest, level - 1, 2 * index), _nodeOf(digest, level - 1, 2 * index + 1)));
    }

    function _zeroNode(uint256 level) private pure returns (bytes32 node) {
        for (uint256 i = 0; i < level; ++i) {
            node = keccak256(abi.encode(node, node));
        }
    }

    function _half(uint256 word, uint256 index) private pure returns (bytes32 node) {
        node = bytes32(word);
        bytes32 zero = 0;
        for (uint256 level = 0; level < 8; ++level) {
            node = (index >> level) & 1 == 0 ? keccak256(abi.encode(node, zero)) : keccak256(abi.encode(zero, node));
            zero = keccak256(abi.encode(zero, zero));
        }
    }
}
