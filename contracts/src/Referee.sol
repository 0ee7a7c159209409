// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IReferee} from "./interfaces/IReferee.sol";
import {Digests} from "./libraries/Digests.sol";

contract Referee is IReferee {
    /// @dev How far the words have been read.
    struct Reading {
        uint256 index;
        uint256 q;
        uint256 used;
        bool failed;
    }

    function fails(
        Equation calldata equation,
        uint256 wordIndex,
        bytes32[] calldata words,
        bytes32[9][] calldata siblings
    ) external pure returns (bool) {
        Reading memory reading = Reading(wordIndex, Digests.modulus(wordIndex), 0, false);
        uint256[8] memory sum = _sumOfTerms(reading, equation, words, siblings);
        if (equation.aggregate != 0 && _differ(sum, _read(reading, equation.aggregate, words, siblings))) {
            reading.failed = true;
        }
        _addScaled(sum, _read(reading, equation.source, words, siblings), 1, reading.q);
        if (_differ(sum, _read(reading, equation.claimed, words, siblings))) reading.failed = true;
        if (reading.used != words.length) revert WrongWordCount(words.length, reading.used);
        return reading.failed;
    }

    function _sumOfTerms(
        Reading memory reading,
        Equation calldata equation,
        bytes32[] calldata words,
        bytes32[9][] calldata siblings
    ) private pure returns (uint256[8] memory sum) {
        for (uint256 i = 0; i < equation.roots.length; ++i) {
            _addScaled(sum, _read(reading, equation.roots[i], words, siblings), equation.coefficients[i], reading.q);
        }
    }

    /// @dev The residues of the next word, which must be that of the digest with this root.
    function _read(Reading memory reading, bytes32 root, bytes32[] calldata words, bytes32[9][] calldata siblings)
        private
        pure
        returns (uint256[8] memory values)
    {
        uint256 place = reading.used++;
        if (place >= words.length || place >= siblings.length) revert WrongWordCount(words.length, place + 1);
        if (reading.index >= Digests.WORDS || !Digests.includes(root, reading.index, words[place], siblings[place])) {
            revert WrongProof(place);
        }
        bool canonical;
        (values, canonical) = Digests.residues(reading.index, words[place]);
        if (!canonical) reading.failed = true;
    }

    function _addScaled(uint256[8] memory sum, uint256[8] memory values, int256 coefficient, uint256 q) private pure {
        uint256 factor = uint256(coefficient < 0 ? int256(q) + coefficient : coefficient);
        for (uint256 i = 0; i < 8; ++i) {
            sum[i] = (sum[i] + values[i] * factor) % q;
        }
    }

    function _differ(uint256[8] memory left, uint256[8] memory right) private pure returns (bool) {
        for (uint256 i = 0; i < 8; ++i) {
            if (left[i] != right[i]) return true;
        }
        return false;
    }
}
