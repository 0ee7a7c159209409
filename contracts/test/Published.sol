// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Governance} from "../src/Governance.sol";
import {Members} from "../src/Members.sol";
import {Models} from "../src/Models.sol";
import {Replays} from "../src/Replays.sol";
import {Rewards} from "../src/Rewards.sol";
import {Rounds} from "../src/Rounds.sol";
import {Withdrawals} from "../src/Withdrawals.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {Vm} from "./Cheats.sol";
import {Fixture} from "./Fixture.sol";

/// @dev A consortium of the published artifacts, so that what is measured is what is deployed. Tests set isolate: then a
/// call is a transaction of its own, and storage is cold.
abstract contract Published is Fixture {
    function deployContracts() internal override {
        uint64 nonce = vm.getNonce(address(this));
        address[7] memory at_;
        for (uint256 i = 0; i < 7; ++i) {
            at_[i] = vm.computeCreateAddress(address(this), nonce + i);
        }
        bytes memory terms = abi.encode(BOND, AGGREGATOR_BOND, PENALTY, EXIT, uint16(5_000), uint16(1_024));
        create("Members", bytes.concat(abi.encode(at_[5], at_[1], at_[3], at_[6], aggregator), terms), 0);
        IRounds.Settings memory settings = IRounds.Settings(
            bytes32(uint256(1)), bytes32(uint256(2)), rules, chained, attested, maxRounds, PHASE, PHASE, PHASE
        );
        create("Rounds", abi.encode(at_[0], at_[2], at_[4], at_[6], quorum, settings), 0);
        create("Models", abi.encode(at_[0], at_[1], at_[3], at_[4], rules, chained), 0);
        bytes memory times = abi.encode(PREPARATION, ATTESTATION, quorum);
        create("Withdrawals", bytes.concat(abi.encode(at_[0], at_[1], at_[2], at_[4], at_[5], chained), times), 0);
        create("Replays", abi.encode(at_[0], at_[1], at_[2], at_[3], REPLAY, PRICE), 0);
        create("Governance", abi.encode(at_[0], at_[3], uint16(5_000), uint40(1 days)), 0);
        create("Rewards", abi.encode(at_[0], at_[1], REWARD, EXIT), POOL);
        members = Members(at_[0]);
        rounds = Rounds(at_[1]);
        models = Models(at_[2]);
        withdrawals = Withdrawals(at_[3]);
        replays = Replays(at_[4]);
        governance = Governance(at_[5]);
        rewards = Rewards(at_[6]);
    }

    function create(string memory name, bytes memory arguments, uint256 value) private {
        string memory json = vm.readFile(string.concat("contracts/artifacts/", name, ".json"));
        bytes memory code = vm.parseBytes(string.concat("0x", vm.parseJsonString(json, ".bytecode")));
        code = bytes.concat(code, arguments);
        address made;
        assembly ("memory-safe") {
            made := create(value, add(code, 32), mload(code))
        }
        vm.assertTrue(made != address(0), name);
    }

    /// @dev Send a transaction, and return its gas without what it costs before its first instruction, and the bytes of its
    /// calldata.
    function send(address from, address to, bytes memory data)
        internal
        returns (uint256 execution, uint256 nonzero, uint256 zero)
    {
        for (uint256 i = 0; i < data.length; ++i) {
            if (data[i] == 0) ++zero;
        }
        nonzero = data.length - zero;
        vm.prank(from);
        (bool done, bytes memory why) = to.call(data);
        if (!done) {
            assembly ("memory-safe") {
                revert(add(why, 32), mload(why))
            }
        }
        Vm.Gas memory gas = vm.lastCallGas();
        uint256 used = gas.gasTotalUsed + uint64(gas.gasRefunded);
        uint256 standard = 21_000 + 16 * nonzero + 4 * zero;
        // Where the floor of the calldata is charged, what was executed is not known: it is less.
        execution = used > standard ? used - standard : 0;
    }
}
