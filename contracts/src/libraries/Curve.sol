// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {PointHash} from "../Types.sol";

/// @title Points of BLS12-381 G1, by the precompiles of EIP-2537.
/// @notice A point is 128 bytes: both coordinates in 64 bytes each, big-endian. Infinity is 128 zero bytes.
library Curve {
    /// @notice Sums of points by coefficient: what is multiplied once is added up first, for 375 gas a point.
    struct Sum {
        uint256 count;
        int256[] coefficients;
        bytes[] points;
    }

    error NoPrecompile();
    error NotOnCurve(bytes point);
    error Infinity();
    error WrongLength(uint256 bytes_);

    uint256 internal constant BYTES = 128;
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

    /// @notice An empty sum with room for so many coefficients.
    function sum(uint256 room) internal pure returns (Sum memory) {
        return Sum(0, new int256[](room), new bytes[](room));
    }

    /// @notice Add coefficient x point to a sum. The point was validated when it was registered.
    function add(Sum memory total, bytes calldata point, int256 coefficient) internal view {
        uint256 i = 0;
        while (i < total.count && total.coefficients[i] != coefficient) ++i;
        if (i == total.count) {
            total.coefficients[i] = coefficient;
            total.points[i] = point;
            ++total.count;
        } else {
            addTo(total.points[i], point);
        }
    }

    /// @notice Add a point to another, in place.
    function addTo(bytes memory total, bytes calldata point) internal view {
        bytes memory input = abi.encodePacked(total, point);
        bool valid;
        assembly ("memory-safe") {
            valid := staticcall(gas(), G1ADD, add(input, 32), 256, add(total, 32), 128)
        }
        if (!valid) revert NotOnCurve(point);
    }

    /// @notice Return start + the sum of coefficient x point.
    function resolve(Sum memory total, bytes calldata start) internal view returns (bytes memory point) {
        uint256 terms = total.count + 1;
        bytes memory input = abi.encodePacked(start, uint256(1));
        for (uint256 i = 0; i < total.count; ++i) {
            input = bytes.concat(input, total.points[i], bytes32(_modOrder(total.coefficients[i])));
        }
        point = new bytes(BYTES);
        bool valid;
        assembly ("memory-safe") {
            valid := staticcall(gas(), G1MSM, add(input, 32), mul(terms, 160), add(point, 32), 128)
        }
        if (!valid) revert NotOnCurve(start);
    }

    function _modOrder(int256 coefficient) private pure returns (uint256) {
        return coefficient < 0 ? ORDER - uint256(-coefficient) : uint256(coefficient);
    }
}
