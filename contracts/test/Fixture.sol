// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Anchors} from "../src/Anchors.sol";
import {Members} from "../src/Members.sol";
import {Rewards} from "../src/Rewards.sol";
import {Rounds} from "../src/Rounds.sol";
import {Withdrawals} from "../src/Withdrawals.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {Cheats} from "./Cheats.sol";

abstract contract Fixture is Cheats {
    Members members;
    Rounds rounds;
    Withdrawals withdrawals;
    Rewards rewards;
    Anchors anchors;
    address aggregator = address(0xA66);
    address[3] orgs = [address(0x1001), address(0x1002), address(0x1003)];
    bytes32 constant SALT = bytes32(uint256(7));

    function deployAll(bool shared) internal {
        vm.deal(address(this), 100 ether);
        members = new Members(aggregator, bytes32(uint256(1)), 1 ether);
        rewards = new Rewards{value: 10 ether}(1 ether);
        Rounds.Settings memory s =
            Rounds.Settings(bytes32(uint256(1)), bytes32(uint256(2)), shared, shared, 100, 100, 100);
        rounds = new Rounds(members, rewards, aggregator, s);
        withdrawals = new Withdrawals(members, rounds, aggregator, 1000);
        anchors = new Anchors(members);
        members.wire(address(withdrawals));
        rounds.wire(withdrawals);
        rewards.wire(address(rounds));
        for (uint256 i = 0; i < orgs.length; ++i) {
            members.admit(orgs[i], "org", bytes32(uint256(100 + i)));
            vm.deal(orgs[i], 2 ether);
            vm.prank(orgs[i]);
            members.join{value: 1 ether}();
        }
    }

    function artifactOf(uint64 round, uint256 who) internal pure returns (bytes32) {
        return keccak256(abi.encode("artifact", round, who));
    }

    function open() internal returns (uint64) {
        vm.prank(aggregator);
        return rounds.openRound();
    }

    function commitAs(uint64 round, uint256 who) internal {
        vm.prank(orgs[who]);
        rounds.commit(round, keccak256(abi.encode(round, orgs[who], artifactOf(round, who), SALT)));
    }

    function revealAs(uint64 round, uint256 who) internal {
        vm.prank(orgs[who]);
        rounds.reveal(round, artifactOf(round, who), SALT);
    }

    function accepted(uint64 round, uint256 count) internal view returns (IRounds.Contribution[] memory list) {
        list = new IRounds.Contribution[](count);
        for (uint256 i = 0; i < count; ++i) {
            list[i] = IRounds.Contribution(orgs[i], artifactOf(round, i), 10_000, 5_000);
        }
    }

    function none() internal pure returns (IRounds.Rejection[] memory) {
        return new IRounds.Rejection[](0);
    }

    function toRevealed() internal returns (uint64 round) {
        round = open();
        for (uint256 i = 0; i < 3; ++i) {
            commitAs(round, i);
        }
        rounds.closeCommits(round);
        for (uint256 i = 0; i < 3; ++i) {
            revealAs(round, i);
        }
        rounds.closeReveals(round);
    }

    function finish(uint64 round, uint256 count) internal {
        vm.prank(aggregator);
        rounds.finalize(round, accepted(round, count), none(), bytes32(uint256(3)), bytes32(uint256(4)));
    }
}
