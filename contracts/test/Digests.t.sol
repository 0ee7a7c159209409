// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Digests} from "../src/libraries/Digests.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Cheats} from "./Cheats.sol";
import {Reference} from "./Reference.sol";

/// @dev Calls the library with calldata.
contract Calculator {
    function combine(bytes[] calldata digests, int256[] calldata coefficients) external pure returns (bytes memory) {
        uint256 sum = Digests.lanes();
        for (uint256 i = 0; i < digests.length; ++i) {
            Digests.accumulate(sum, digests[i], coefficients[i]);
        }
        return Digests.reduce(sum);
    }

    /// @dev Reduces after every term, as a sum that is carried from one transaction to the next.
    function combineByCarrying(bytes[] calldata digests, int256[] calldata coefficients)
        external
        pure
        returns (bytes memory found)
    {
        uint256 sum = Digests.lanes();
        for (uint256 i = 0; i < digests.length; ++i) {
            Digests.accumulate(sum, digests[i], coefficients[i]);
            found = Digests.reduce(sum);
        }
    }

    function root(bytes calldata digest) external pure returns (bytes32) {
        return Digests.root(digest);
    }

    function rootOf(bytes memory digest) external pure returns (bytes32) {
        return Digests.rootOf(digest);
    }

    function zeroRoot() external pure returns (bytes32) {
        return Digests.zeroRoot();
    }

    function includes(bytes32 root_, uint256 index, bytes32 word, bytes32[9] calldata siblings)
        external
        pure
        returns (bool)
    {
        return Digests.includes(root_, index, word, siblings);
    }

    function residues(uint256 index, bytes32 word) external pure returns (uint256[8] memory values, bool canonical) {
        return Digests.residues(index, word);
    }
}

contract DigestsTest is Cheats, Reference {
    Calculator private calculator;

    function setUp() public {
        calculator = new Calculator();
    }

    function testFuzz_aSumIsTheReferences(bytes32 seed, int16[3] memory weights) public view {
        bytes[] memory digests = new bytes[](3);
        int256[] memory coefficients = new int256[](3);
        int256[16] memory expected;
        for (uint256 i = 0; i < 3; ++i) {
            Sparse memory digest = sparse(keccak256(abi.encode(seed, i)));
            digests[i] = _bytes(digest);
            coefficients[i] = weights[i] % 10_001;
            _add(expected, digest, coefficients[i]);
        }
        bytes memory sum = _bytes(reduced(expected));
        vm.assertEq(keccak256(calculator.combine(digests, coefficients)), keccak256(sum));
        vm.assertEq(keccak256(calculator.combineByCarrying(digests, coefficients)), keccak256(sum));
    }

    /// forge-config: default.fuzz.runs = 8
    function testFuzz_everyResidueIsAddedUp(bytes32 seed, int16 first, int16 second) public view {
        bytes[] memory digests = new bytes[](2);
        (digests[0], digests[1]) = (_dense(keccak256(abi.encode(seed, 0))), _dense(keccak256(abi.encode(seed, 1))));
        int256[] memory coefficients = new int256[](2);
        (coefficients[0], coefficients[1]) = (int256(first) % 10_001, int256(second) % 10_001);
        bytes memory found = calculator.combine(digests, coefficients);
        for (uint256 i = 0; i < 4_096; ++i) {
            int256 left = coefficients[0] * int256(_residueOf(digests[0], i));
            int256 right = coefficients[1] * int256(_residueOf(digests[1], i));
            if (_residueOf(found, i) != residue(left + right, i < 2_048 ? P1 : P2)) {
                vm.assertEq(_residueOf(found, i), residue(left + right, i < 2_048 ? P1 : P2));
            }
        }
    }

    function testFuzz_aDigestMinusItselfIsNothing(bytes32 seed, uint16 weight) public view {
        bytes[] memory digests = new bytes[](2);
        (digests[0], digests[1]) = (_bytes(sparse(seed)), _bytes(sparse(seed)));
        int256[] memory coefficients = new int256[](2);
        (coefficients[0], coefficients[1]) = (int256(uint256(weight)), -int256(uint256(weight)));
        vm.assertEq(calculator.rootOf(calculator.combine(digests, coefficients)), calculator.zeroRoot());
    }

    function test_theLargestResiduesAndWeightsDoNotOverflow() public view {
        bytes[] memory digests = new bytes[](64);
        int256[] memory coefficients = new int256[](64);
        int256[16] memory expected;
        Sparse memory largest;
        for (uint256 i = 0; i < 8; ++i) {
            largest.low = (largest.low << 32) | (P1 - 1);
            largest.high = (largest.high << 32) | (P2 - 1);
        }
        for (uint256 i = 0; i < 64; ++i) {
            digests[i] = _bytes(largest);
            coefficients[i] = i % 3 == 0 ? int256(-10_000) : int256(10_000);
            _add(expected, largest, coefficients[i]);
        }
        vm.assertEq(keccak256(calculator.combine(digests, coefficients)), keccak256(_bytes(reduced(expected))));
    }

    function testFuzz_aResidueThatIsNotBelowItsModulusIsRefused(uint16 place, uint32 excess, bool negative) public {
        uint256 i = place % 4_096;
        uint256 q = i < 2_048 ? P1 : P2;
        bytes[] memory digests = new bytes[](1);
        digests[0] = new bytes(16_384);
        _setResidue(digests[0], i, q + excess % (2 ** 32 - q));
        int256[] memory coefficients = new int256[](1);
        coefficients[0] = negative ? int256(-1) : int256(1);
        vm.expectRevert(Digests.NotCanonical.selector);
        calculator.combine(digests, coefficients);
        _setResidue(digests[0], i, q - 1);
        calculator.combine(digests, coefficients);
    }

    function test_aDigestOfAnotherLengthIsRefused() public {
        bytes[] memory digests = new bytes[](1);
        digests[0] = new bytes(16_383);
        vm.expectRevert(abi.encodeWithSelector(Digests.WrongLength.selector, 16_383));
        calculator.combine(digests, new int256[](1));
        vm.expectRevert(abi.encodeWithSelector(Digests.WrongLength.selector, 16_385));
        calculator.root(new bytes(16_385));
        vm.expectRevert(abi.encodeWithSelector(Digests.WrongLength.selector, 0));
        calculator.rootOf("");
    }

    /// forge-config: default.fuzz.runs = 16
    function testFuzz_theRootIsThatOfAMerkleTree(bytes32 seed) public view {
        bytes memory digest = _dense(seed);
        vm.assertEq(calculator.root(digest), root512(digest));
        vm.assertEq(calculator.rootOf(digest), root512(digest));
    }

    function test_theRootOfNothingIsKnown() public view {
        vm.assertEq(calculator.zeroRoot(), calculator.root(new bytes(16_384)));
        vm.assertEq(calculator.zeroRoot(), rootOf(Sparse(0, 0)));
    }

    function testFuzz_everyWordIsInItsDigest(bytes32 seed, uint16 place) public {
        uint256 index = place % 512;
        bytes32 root = learn(sparse(seed));
        vm.assertEq(root, calculator.root(bytesOf(root)));
        vm.assertTrue(calculator.includes(root, index, wordOf(root, index), pathOf(root, index)));
    }

    function testFuzz_aSpoiledProofIsRefused(bytes32 seed, uint16 place, uint8 what, bytes32 noise) public {
        uint256 index = place % 512;
        bytes32 root = learn(sparse(seed));
        bytes32 word = wordOf(root, index);
        bytes32[9] memory siblings = pathOf(root, index);
        vm.assume(noise != 0);
        if (what % 3 == 0) word ^= noise;
        else if (what % 3 == 1) siblings[uint256(what) % 9] ^= noise;
        else index = uint256(noise) % 2 == 0 ? LOW_WORD : HIGH_WORD;
        vm.assume(what % 3 != 2 || index != place % 512);
        vm.assertFalse(calculator.includes(root, index, word, siblings));
    }

    function testFuzz_residuesOfAWordAreRead(bytes32 seed) public view {
        Sparse memory digest = sparse(seed);
        (uint256[8] memory values, bool canonical) = calculator.residues(LOW_WORD, bytes32(digest.low));
        vm.assertTrue(canonical);
        uint256 word = 0;
        for (uint256 i = 0; i < 8; ++i) {
            word = (word << 32) | values[i];
        }
        vm.assertEq(word, digest.low);
        (, canonical) = calculator.residues(HIGH_WORD, bytes32(type(uint256).max));
        vm.assertFalse(canonical);
    }

    function test_theSameWordCanBeCanonicalModuloOnePrimeOnly() public view {
        (, bool below) = calculator.residues(255, bytes32(P1));
        vm.assertFalse(below);
        (, below) = calculator.residues(256, bytes32(P1));
        vm.assertTrue(below);
    }

    function testFuzz_sharesSumToOne(uint16 count) public pure {
        uint256 total = 1 + uint256(count) % 10_000;
        uint256 sum = 0;
        for (uint256 i = 0; i < total; ++i) {
            uint16 share = Weights.share(true, i, total);
            if (share != weightOf(true, i, total)) vm.assertEq(share, weightOf(true, i, total));
            sum += share;
        }
        vm.assertEq(sum, 10_000);
        vm.assertEq(Weights.share(false, 0, total), 10_000);
    }

    function _add(int256[16] memory sum, Sparse memory digest, int256 coefficient) private pure {
        for (uint256 i = 0; i < 8; ++i) {
            sum[i] += coefficient * int256((digest.low >> (224 - 32 * i)) & 0xffffffff);
            sum[i + 8] += coefficient * int256((digest.high >> (224 - 32 * i)) & 0xffffffff);
        }
    }

    function _bytes(Sparse memory digest) private pure returns (bytes memory data) {
        data = new bytes(16_384);
        for (uint256 i = 0; i < 8; ++i) {
            _setResidue(data, 8 * LOW_WORD + i, (digest.low >> (224 - 32 * i)) & 0xffffffff);
            _setResidue(data, 8 * HIGH_WORD + i, (digest.high >> (224 - 32 * i)) & 0xffffffff);
        }
    }

    function _dense(bytes32 seed) private pure returns (bytes memory data) {
        data = new bytes(16_384);
        for (uint256 i = 0; i < 4_096; ++i) {
            _setResidue(data, i, uint256(keccak256(abi.encode(seed, i))) % (i < 2_048 ? P1 : P2));
        }
    }

    function _setResidue(bytes memory data, uint256 i, uint256 value) private pure {
        for (uint256 j = 0; j < 4; ++j) {
            data[4 * i + j] = bytes1(uint8(value >> (24 - 8 * j)));
        }
    }

    function _residueOf(bytes memory data, uint256 i) private pure returns (uint256 value) {
        for (uint256 j = 0; j < 4; ++j) {
            value = (value << 8) | uint8(data[4 * i + j]);
        }
    }
}
