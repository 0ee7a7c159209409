// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Cheats} from "./Cheats.sol";
import {Handler} from "./Handler.sol";

abstract contract Invariants is Cheats {
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
        for (uint256 run = 0; run < 6; ++run) {
            uint256 state = vm.snapshotState();
            _run(run, 300);
            _addUp(total, handler.reached());
            vm.revertToState(state);
        }
        vm.assertGt(total.finals, 20);
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
        bytes4[25] memory all = _steps();
        for (uint256 i = 0; i < steps; ++i) {
            uint256 seed = uint256(keccak256(abi.encode(run, i)));
            (bool done,) = address(handler).call(abi.encodeWithSelector(all[seed % 25], seed >> 8));
            done;
        }
        invariant_moneyInIsMoneyOutPlusMoneyHeld();
        invariant_everyModelIsTheSumOfWhatIsLeft();
    }

    function _steps() private view returns (bytes4[25] memory) {
        return [
            handler.stepRound.selector,
            handler.stepRound.selector,
            handler.stepDrive.selector,
            handler.stepDrive.selector,
            handler.stepAbandon.selector,
            handler.stepFinish.selector,
            handler.stepRequest.selector,
            handler.stepExpel.selector,
            handler.stepOffer.selector,
            handler.stepReady.selector,
            handler.stepCarryOut.selector,
            handler.stepCarryOut.selector,
            handler.stepClose.selector,
            handler.stepEscalate.selector,
            handler.stepFallBack.selector,
            handler.stepSlash.selector,
            handler.stepRelease.selector,
            handler.stepRetire.selector,
            handler.stepJoin.selector,
            handler.stepResign.selector,
            handler.stepTopUp.selector,
            handler.stepPostBond.selector,
            handler.stepSetAggregator.selector,
            handler.stepTakeOut.selector,
            handler.stepPass.selector
        ];
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
