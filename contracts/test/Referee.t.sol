// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Referee} from "../src/Referee.sol";
import {IReferee} from "../src/interfaces/IReferee.sol";
import {Cheats} from "./Cheats.sol";
import {Reference} from "./Reference.sol";

contract RefereeTest is Cheats, Reference {
    Referee private referee;
    IReferee.Equation private equation;

    function setUp() public {
        referee = new Referee();
        _write(3, -2);
    }

    function testFuzz_aRightEquationHoldsInEveryWord(int16 first, int16 second, uint16 place) public {
        _write(first % 10_001, second % 10_001);
        vm.assertFalse(_fails(place % 512));
    }

    function testFuzz_aWrongAggregateFailsWhereItIsWrong(uint32 noise) public {
        vm.assume(noise != 0);
        Sparse memory wrong = known[equation.aggregate];
        wrong.low = _spoiled(wrong.low, noise);
        equation.aggregate = learn(wrong);
        vm.assertTrue(_fails(LOW_WORD));
        vm.assertFalse(_fails(HIGH_WORD));
        vm.assertFalse(_fails(0));
    }

    function testFuzz_aWrongModelFailsWhereItIsWrong(uint32 noise) public {
        vm.assume(noise != 0);
        Sparse memory wrong = known[equation.claimed];
        wrong.high = _spoiled(wrong.high, noise);
        equation.claimed = learn(wrong);
        vm.assertTrue(_fails(HIGH_WORD));
        vm.assertFalse(_fails(LOW_WORD));
    }

    function test_aResidueThatIsNotCanonicalFails() public {
        Sparse memory wrong = known[equation.claimed];
        uint256 last = wrong.low & 0xffffffff;
        // The same number in another form, wherever it fits into 32 bits.
        wrong.low = last + P1 < 2 ** 32 ? wrong.low + P1 : wrong.low | 0xffffffff;
        equation.claimed = learn(wrong);
        vm.assertTrue(_fails(LOW_WORD));
    }

    function test_aSumWithoutANameIsComparedWithTheModelOnly() public {
        equation.aggregate = 0;
        vm.assertFalse(_fails(LOW_WORD));
        equation.claimed = equation.source;
        vm.assertTrue(_fails(LOW_WORD));
    }

    function test_aWordOfAnotherDigestIsRefused() public {
        (bytes32[] memory words, bytes32[9][] memory siblings) = _opened(LOW_WORD);
        words[1] = words[0];
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongProof.selector, uint256(1)));
        referee.fails(equation, LOW_WORD, words, siblings);
    }

    function test_aWordOfAnotherPlaceIsRefused() public {
        (bytes32[] memory words, bytes32[9][] memory siblings) = _opened(LOW_WORD);
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongProof.selector, uint256(0)));
        referee.fails(equation, LOW_WORD + 1, words, siblings);
    }

    function test_aPlaceBeyondTheDigestIsRefused() public {
        (bytes32[] memory words, bytes32[9][] memory siblings) = _opened(LOW_WORD);
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongProof.selector, uint256(0)));
        referee.fails(equation, 512 + LOW_WORD, words, siblings);
    }

    function test_wordsMissingOrTooManyAreRefused() public {
        (bytes32[] memory words, bytes32[9][] memory siblings) = _opened(LOW_WORD);
        bytes32[] memory fewer = new bytes32[](4);
        bytes32[] memory more = new bytes32[](6);
        for (uint256 i = 0; i < 5; ++i) {
            if (i < 4) fewer[i] = words[i];
            more[i] = words[i];
        }
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongWordCount.selector, uint256(4), uint256(5)));
        referee.fails(equation, LOW_WORD, fewer, siblings);
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongWordCount.selector, uint256(6), uint256(5)));
        referee.fails(equation, LOW_WORD, more, siblings);
        bytes32[9][] memory none = new bytes32[9][](0);
        vm.expectRevert(abi.encodeWithSelector(IReferee.WrongWordCount.selector, uint256(5), uint256(1)));
        referee.fails(equation, LOW_WORD, words, none);
    }

    /// @dev Two terms, their sum, a source and its right successor.
    function _write(int256 first, int256 second) private {
        delete equation;
        equation.roots.push(learn(sparse("first")));
        equation.roots.push(learn(sparse("second")));
        equation.coefficients.push(first);
        equation.coefficients.push(second);
        int256[16] memory sum;
        add(sum, equation.roots[0], first);
        add(sum, equation.roots[1], second);
        equation.aggregate = learn(reduced(sum));
        equation.source = learn(sparse("source"));
        add(sum, equation.source, 1);
        equation.claimed = learn(reduced(sum));
    }

    function _fails(uint256 index) private view returns (bool) {
        (bytes32[] memory words, bytes32[9][] memory siblings) = _opened(index);
        return referee.fails(equation, index, words, siblings);
    }

    function _opened(uint256 index) private view returns (bytes32[] memory words, bytes32[9][] memory siblings) {
        bool named = equation.aggregate != 0;
        words = new bytes32[](named ? 5 : 4);
        siblings = new bytes32[9][](words.length);
        bytes32[5] memory roots =
            [equation.roots[0], equation.roots[1], equation.aggregate, equation.source, equation.claimed];
        uint256 place = 0;
        for (uint256 i = 0; i < 5; ++i) {
            if (i == 2 && !named) continue;
            words[place] = wordOf(roots[i], index);
            siblings[place++] = pathOf(roots[i], index);
        }
    }

    function _spoiled(uint256 word, uint256 noise) private pure returns (uint256) {
        uint256 last = word & 0xffffffff;
        uint256 other = (last + noise) % P1;
        if (other == last) other = (last + 1) % P1;
        return (word >> 32 << 32) | other;
    }
}
