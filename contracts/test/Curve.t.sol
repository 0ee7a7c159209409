// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Curve} from "../src/libraries/Curve.sol";
import {Cheats} from "./Cheats.sol";

/// @dev What the contracts never do, because they sum only points that they validated when these were registered.
contract CurveTest is Cheats {
    using Curve for Curve.Sum;

    function validate(bytes calldata point) external view {
        Curve.validate(point);
    }

    function add(bytes calldata point) external view {
        Curve.addTo(new bytes(128), point);
    }

    function resolve(bytes calldata point) external view {
        Curve.sum(point, 0).resolve();
    }

    function test_a_point_of_another_length_is_refused() public {
        vm.expectRevert(abi.encodeWithSelector(Curve.WrongLength.selector, 127));
        this.validate(new bytes(127));
    }

    function test_a_sum_with_a_point_off_the_curve_is_refused() public {
        bytes memory off = abi.encodePacked(uint256(0), uint256(1), uint256(0), uint256(1));
        vm.expectPartialRevert(Curve.NotOnCurve.selector);
        this.add(off);
        vm.expectPartialRevert(Curve.NotOnCurve.selector);
        this.resolve(off);
    }
}
