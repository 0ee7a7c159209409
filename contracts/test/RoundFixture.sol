// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {RoundId} from "../src/Types.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Fixture} from "./Fixture.sol";

/// @dev What the tests of a round's phases share.
abstract contract RoundFixture is Fixture {
    function setUp() public {
        deployAll(Weights.Rule.Block, 3);
    }

    /// @dev Expect a round to be in a state.
    function state(RoundId round, IRounds.State wanted) internal view {
        vm.assertEq(uint8(rounds.roundOf(round).state), uint8(wanted));
    }

    /// @dev Expect the next call to be refused, because the round is in this state.
    function wrongState(RoundId round, IRounds.State now_) internal {
        vm.expectRevert(abi.encodeWithSelector(IRounds.WrongState.selector, round, now_));
    }

    /// @dev A round that so many members committed to, and whose reveals have begun.
    function committed(uint256 count) internal returns (RoundId round) {
        round = open();
        for (uint256 i = 0; i < count; ++i) {
            commitAs(round, orgs[i]);
        }
        pass(PHASE + 1);
        rounds.closeCommits(round);
    }

    /// @dev Equal scores of so many members, packed.
    function scores(uint256 count) internal pure returns (bytes memory packed) {
        for (uint256 i = 0; i < count; ++i) {
            packed = abi.encodePacked(packed, uint16(5_000));
        }
    }
}
