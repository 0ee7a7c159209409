// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Cheats} from "./Cheats.sol";
import {Handler} from "./Handler.sol";

abstract contract Invariants is Cheats {
    event log_named_uint(string key, uint256 value);

    Handler internal handler;

    function invariant_moneyInIsMoneyOutPlusMoneyHeld() public view {
        vm.assertTrue(handler.moneyAddsUp(), "in = out + held");
        vm.assertTrue(handler.membersHoldWhatTheyOwe(), "members");
        vm.assertTrue(handler.rewardsHoldWhatTheyOwe(), "rewards");
        vm.assertTrue(handler.lineageHoldsADemandedDeposit(), "lineage");
    }

    function invariant_everyModelIsTheSumOfWhatIsLeft() public view {
        (bool doesNotAddUp, bool cameBack, bool backwards, bool lieAccepted, bool whileOverdue) = handler.faults();
        vm.assertFalse(doesNotAddUp, "a model does not add up");
        vm.assertFalse(cameBack, "a withdrawn delta came back");
        vm.assertFalse(backwards, "a state moved backwards");
        vm.assertFalse(lieAccepted, "a lie was accepted");
        vm.assertFalse(whileOverdue, "a round opened while a withdrawal was overdue");
        vm.assertTrue(handler.oneClaimAtMost(), "claim and round disagree");
    }

    function afterInvariant() public {
        vm.assertTrue(handler.nothingMovedBackwards(), "a state moved backwards");
    }

    /// @dev The invariants mean something only if the steps get anywhere.
    function test_randomStepsReachEveryState() public {
        Handler.Reached memory total;
        for (uint256 run = 0; run < 8; ++run) {
            uint256 state = vm.snapshotState();
            _run(run, 400);
            _addUp(total, handler.reached());
            vm.revertToState(state);
        }
        _show(total);
        vm.assertGt(total.finals, 30);
        vm.assertGt(total.amendments, 10);
        vm.assertGt(total.closed, 5);
        vm.assertGt(total.slashed, 0);
        vm.assertGt(total.dropped, 0);
        vm.assertGt(total.penalized, 0);
        vm.assertGt(total.escalated, 0);
        vm.assertGt(total.liesRefused, 0);
        for (uint256 kind = 1; kind < 5; ++kind) {
            vm.assertGt(total.kinds[kind], 0);
        }
        _alsoReached(total);
    }

    function _alsoReached(Handler.Reached memory total) internal view virtual;

    function _run(uint256 run, uint256 steps) private {
        bytes4[10] memory all = _steps();
        for (uint256 i = 0; i < steps; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(run, i)));
            (bool done,) = address(handler).call(abi.encodeWithSelector(all[seed % 10], seed >> 8));
            done;
        }
        invariant_moneyInIsMoneyOutPlusMoneyHeld();
        invariant_everyModelIsTheSumOfWhatIsLeft();
    }

    function _steps() private view returns (bytes4[10] memory) {
        return [
            handler.stepRound.selector,
            handler.stepFinish.selector,
            handler.stepRequest.selector,
            handler.stepDrive.selector,
            handler.stepWithdrawal.selector,
            handler.stepRare.selector,
            handler.stepModels.selector,
            handler.stepMember.selector,
            handler.stepTakeOut.selector,
            handler.stepPass.selector
        ];
    }

    /// @dev Shown with -vv.
    function _show(Handler.Reached memory total) private {
        emit log_named_uint("final rounds", total.finals);
        emit log_named_uint("removals", total.kinds[1]);
        emit log_named_uint("replacements", total.kinds[2]);
        emit log_named_uint("replays", total.kinds[3]);
        emit log_named_uint("counter-trainings", total.kinds[4]);
        emit log_named_uint("withdrawals closed", total.closed);
        emit log_named_uint("withdrawals escalated", total.escalated);
        emit log_named_uint("aggregators slashed", total.slashed);
        emit log_named_uint("claims challenged", total.challenged);
        emit log_named_uint("proofs demanded", total.demanded);
        emit log_named_uint("claims dropped", total.dropped);
        emit log_named_uint("lies refused", total.liesRefused);
        emit log_named_uint("rounds with a penalty", total.penalized);
    }

    function _addUp(Handler.Reached memory total, Handler.Reached memory one) private pure {
        total.finals += one.finals;
        total.amendments += one.amendments;
        total.closed += one.closed;
        total.slashed += one.slashed;
        total.challenged += one.challenged;
        total.demanded += one.demanded;
        total.dropped += one.dropped;
        total.liesRefused += one.liesRefused;
        total.penalized += one.penalized;
        total.escalated += one.escalated;
        for (uint256 kind = 0; kind < 5; ++kind) {
            total.kinds[kind] += one.kinds[kind];
        }
    }
}

contract CheckedInvariantsTest is Invariants {
    function setUp() public {
        handler = new Handler(false, true);
        targetContract(address(handler));
    }

    function _alsoReached(Handler.Reached memory total) internal pure override {
        vm.assertEq(total.challenged, 0);
    }
}

contract OptimisticInvariantsTest is Invariants {
    function setUp() public {
        handler = new Handler(true, false);
        targetContract(address(handler));
    }

    function _alsoReached(Handler.Reached memory total) internal pure override {
        vm.assertGt(total.challenged, 0);
        vm.assertGt(total.demanded, 0);
    }
}
