// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {PointHash} from "../Types.sol";

/// @title Points of BLS12-381 G1, by the precompiles of EIP-2537.
/// @notice A point is 128 bytes: both coordinates in 64 bytes each, big-endian. Infinity is 128 zero bytes.
library Curve {
    /// @notice Terms of a sum as G1MSM takes them: each a point and its coefficient. Points with the same coefficient are
    /// added up first, for 375 gas each.
    struct Sum {
        uint256 length;
        bytes terms;
    }

    error NoPrecompile();
    error NotOnCurve(bytes point);
    error Infinity();
    error WrongLength(uint256 bytes_);

    uint256 internal constant BYTES = 128;
    /// @dev A point and a coefficient.
    uint256 private constant TERM_BYTES = 160;
    /// @notice Order of the group, from EIP-2537.
    uint256 internal constant ORDER = 0x73eda753299d7d483339d80809a1d80553bda402fffe5bfeffffffff00000001;
    /// @notice Hash of infinity: keccak256 of 128 zero bytes.
    bytes32 internal constant INFINITY = 0x012893657d8eb2efad4de0a91bcd0e39ad9837745dec3ea923737ea803fc8e3d;

    uint256 private constant G1ADD = 0x0b;
    uint256 private constant G1MSM = 0x0c;
    /// @dev G1MSM of one point costs 12,000 gas. A precompile that fails takes all that it was given.
    uint256 private constant VALIDATION_GAS = 50_000;

    /// @notice Hash of a point as it is registered.
    function hash(bytes calldata point) internal pure returns (PointHash) {
        return PointHash.wrap(keccak256(point));
    }

    /// @notice The point at a place of a list of points.
    function pick(bytes calldata points, uint256 place) internal pure returns (bytes calldata) {
        return points[place * BYTES:(place + 1) * BYTES];
    }

    /// @notice Number of points in a list.
    function count(bytes calldata points) internal pure returns (uint256) {
        if (points.length % BYTES != 0) revert WrongLength(points.length);
        return points.length / BYTES;
    }

    /// @notice Revert unless the point is encoded right, on the curve, in the subgroup, and not infinity.
    /// @dev G1ADD does not look at the subgroup, so it is looked at here once, by G1MSM with coefficient 1.
    function validate(bytes calldata point) internal view {
        if (point.length != BYTES) revert WrongLength(point.length);
        if (keccak256(point) == INFINITY) revert Infinity();
        bool valid;
        bytes memory input = abi.encodePacked(point, uint256(1));
        assembly ("memory-safe") {
            valid := staticcall(VALIDATION_GAS, G1MSM, add(input, 32), 160, add(input, 32), 128)
            valid := and(valid, eq(returndatasize(), 128))
        }
        if (!valid) revert NotOnCurve(point);
    }

    /// @notice Revert if the chain lacks EIP-2537: there a call of the precompile returns nothing.
    function requirePrecompile() internal view {
        bytes memory input = new bytes(160);
        bool answered;
        assembly ("memory-safe") {
            answered := staticcall(VALIDATION_GAS, G1MSM, add(input, 32), 160, add(input, 32), 128)
            answered := and(answered, eq(returndatasize(), 128))
        }
        if (!answered) revert NoPrecompile();
    }

    /// @notice A sum of one point, with room for so many more.
    function sum(bytes calldata start, uint256 room) internal pure returns (Sum memory total) {
        total.terms = new bytes((room + 1) * TERM_BYTES);
        _append(total, start, 1);
    }

    /// @notice Add coefficient x point to a sum. The point was validated when it was registered.
    function add(Sum memory total, bytes calldata point, int256 coefficient) internal view {
        uint256 scalar = _modOrder(coefficient);
        bytes memory terms = total.terms;
        for (uint256 offset = 0; offset < total.length; offset += TERM_BYTES) {
            uint256 term;
            uint256 its;
            assembly ("memory-safe") {
                term := add(add(terms, 32), offset)
                its := mload(add(term, 128))
            }
            if (its == scalar) return _addAt(term, point);
        }
        _append(total, point, scalar);
    }

    /// @notice Add a point to another, in place.
    function addTo(bytes memory total, bytes calldata point) internal view {
        uint256 place;
        assembly ("memory-safe") {
            place := add(total, 32)
        }
        _addAt(place, point);
    }

    /// @notice Return the sum of coefficient x point.
    function resolve(Sum memory total) internal view returns (bytes memory point) {
        point = new bytes(BYTES);
        bytes memory terms = total.terms;
        uint256 length = total.length;
        bool valid;
        assembly ("memory-safe") {
            valid := staticcall(gas(), G1MSM, add(terms, 32), length, add(point, 32), 128)
        }
        if (!valid) revert NotOnCurve(point);
    }

    function _append(Sum memory total, bytes calldata point, uint256 scalar) private pure {
        bytes memory terms = total.terms;
        uint256 offset = total.length;
        total.length = offset + TERM_BYTES;
        assembly ("memory-safe") {
            let term := add(add(terms, 32), offset)
            calldatacopy(term, point.offset, 128)
            mstore(add(term, 128), scalar)
        }
    }

    /// @dev Add a point to the one at a place in memory.
    function _addAt(uint256 place, bytes calldata point) private view {
        bool valid;
        assembly ("memory-safe") {
            // G1ADD wants both points in a row; what lies behind all allocated memory is free to use.
            let input := mload(0x40)
            mcopy(input, place, 128)
            calldatacopy(add(input, 128), point.offset, 128)
            valid := staticcall(gas(), G1ADD, input, 256, place, 128)
        }
        if (!valid) revert NotOnCurve(point);
    }

    function _modOrder(int256 coefficient) private pure returns (uint256) {
        return coefficient < 0 ? ORDER - uint256(-coefficient) : uint256(coefficient);
    }
}
