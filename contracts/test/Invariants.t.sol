// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Cheats, FuzzSelector} from "./Cheats.sol";
import {Handler} from "./Handler.sol";

/// @dev What holds after every step of a random play, and where a play can always be ended.
abstract contract Invariants is Cheats {
    event log_named_uint(string key, uint256 value);

    Handler internal handler;

    function targetSelectors() public view returns (FuzzSelector[] memory targets) {
        bytes4[12] memory steps = handler.steps();
        targets = new FuzzSelector[](1);
        targets[0] = FuzzSelector(address(handler), new bytes4[](steps.length));
        for (uint256 i = 0; i < steps.length; ++i) {
            targets[0].selectors[i] = steps[i];
        }
    }

    function invariant_money_sums_and_budgets_hold() public view {
        (bool wrongSum, bool outMemberCameBack, bool budgetFell) = handler.faults();
        vm.assertFalse(wrongSum, "a commitment is not the sum of what the model must hold");
        vm.assertFalse(outMemberCameBack, "a member that is out is in a new model");
        vm.assertFalse(budgetFell, "a stated privacy cost fell");
        vm.assertTrue(handler.membersHoldTheirBonds(), "bonds");
        vm.assertTrue(handler.rewardsHoldWhatTheyOwe(), "rewards");
        vm.assertTrue(handler.replaysHoldTheirRefunds(), "refunds");
    }

    /// @dev From wherever the play stopped, strangers and time bring every round, fold, replay and withdrawal to its end.
    function afterInvariant() public {
        vm.assertTrue(handler.comeToRest(), "a state has no way on");
        vm.assertTrue(handler.nothingIsLeftOfReplays(), "money is stuck in replays");
    }

    /// @dev The invariants mean something only if the steps get anywhere.
    function test_random_steps_reach_every_kind_of_model_and_a_rest() public {
        bytes4[12] memory steps = handler.steps();
        for (uint256 i = 0; i < 1_500; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(i)));
            (bool done,) = address(handler).call(abi.encodeWithSelector(steps[seed % 12], seed >> 8));
            done;
            if (i % 50 == 0) invariant_money_sums_and_budgets_hold();
        }
        uint256[5] memory kinds = handler.kinds();
        emit log_named_uint("rounds", kinds[0]);
        emit log_named_uint("removals", kinds[1]);
        emit log_named_uint("replacements", kinds[2]);
        emit log_named_uint("replays", kinds[3]);
        emit log_named_uint("counter-trainings", kinds[4]);
        for (uint256 kind = 0; kind < 5; ++kind) {
            if (kind != 3 || replays()) vm.assertGt(kinds[kind], 0);
        }
        afterInvariant();
    }

    function replays() internal pure virtual returns (bool);
}

contract InvariantsInBlocksTest is Invariants {
    function setUp() public {
        handler = new Handler(false);
        targetContract(address(handler));
    }

    function replays() internal pure override returns (bool) {
        return false;
    }
}

contract InvariantsInASharedLayoutTest is Invariants {
    function setUp() public {
        handler = new Handler(true);
        targetContract(address(handler));
    }

    function replays() internal pure override returns (bool) {
        return true;
    }
}
