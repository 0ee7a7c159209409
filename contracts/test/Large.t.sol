// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ModelId, OfferId, PointHash, RoundId} from "../src/Types.sol";
import {IMembers} from "../src/interfaces/IMembers.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Weights} from "../src/libraries/Weights.sol";
import {Published} from "./Published.sol";

/// @dev The largest consortium: 1,024 members. Every transaction fits into the limits of Ethereum's nodes.
/// forge-config: default.isolate = true
/// forge-config: quick.isolate = true
contract LargeTest is Published {
    event log_named_uint(string key, uint256 value);

    OfferId private constant NONE = OfferId.wrap(0);
    uint256 private constant MOST_MEMBERS = 1_024;
    /// @dev As the client sends them.
    uint256 private constant POINTS_PER_PIECE = 500;
    /// @dev EIP-7825, and what Geth accepts of a transaction.
    uint256 private constant MOST_GAS = 1 << 24;
    uint256 private constant MOST_BYTES = 128 * 1_024;

    function fits(string memory name, address from, address to, bytes memory data) private {
        (uint256 execution, uint256 nonzero, uint256 zero) = send(from, to, data);
        uint256 used = 21_000 + 16 * nonzero + 4 * zero + execution;
        uint256 floor = 21_000 + 40 * nonzero + 10 * zero;
        uint256 gas = used > floor ? used : floor;
        emit log_named_uint(name, gas);
        vm.assertLt(gas, MOST_GAS);
        // The envelope of a transaction takes some bytes more.
        vm.assertLt(data.length + 200, MOST_BYTES);
    }

    function toRounds(string memory name, bytes memory data) private {
        fits(name, aggregator, address(rounds), data);
    }

    /// @dev Each in a call of its own, so that memory is freed.
    function commitOne(RoundId round, uint256 i) external {
        commitAs(round, orgs[i]);
    }

    function revealOne(RoundId round, uint256 i) external {
        revealAs(round, orgs[i]);
    }

    function sumOne(RoundId round) external returns (bool) {
        (uint8 part, uint16 done, PointHash carried) = models.summedOf(NONE, round);
        if (part == rules.length) return false;
        bytes memory start = done == 0 ? new bytes(128) : pointOf[PointHash.unwrap(carried)];
        bytes memory points = nextSummands(NONE, round, part, done, POINTS_PER_PIECE);
        learnSum(start, points);
        fits("sum", anyone, address(models), abi.encodeCall(IModels.sum, (NONE, round, start, points)));
        return true;
    }

    function foldOne() external returns (bool) {
        uint64 before = models.modelCount();
        ModelId source = models.head();
        (bytes memory carried, bytes memory points) = nextFold(source, POINTS_PER_PIECE);
        fits("fold", anyone, address(models), abi.encodeCall(IModels.fold, (source, carried, points)));
        return models.modelCount() == before;
    }

    function everyRound() private returns (RoundId round) {
        toRounds("open", abi.encodeCall(IRounds.open, ()));
        round = rounds.currentRound();
        for (uint256 i = 0; i < MOST_MEMBERS; ++i) {
            if (members.mayContribute(orgs[i])) this.commitOne(round, i);
        }
        toRounds("closeCommits", abi.encodeCall(IRounds.closeCommits, round));
        uint256 left = MOST_MEMBERS;
        for (uint256 i = 0; i < MOST_MEMBERS; ++i) {
            if (members.mayContribute(orgs[i])) this.revealOne(round, i);
            else --left;
        }
        toRounds("closeReveals", abi.encodeCall(IRounds.closeReveals, round));
        bytes memory scores = new bytes(2 * left);
        uint256[4] memory set = rounds.answersOf(round).revealed;
        toRounds("judge", abi.encodeCall(IRounds.judge, (round, set, scores, "")));
        while (this.sumOne(round)) {}
    }

    function remove(uint256 i) private {
        bytes memory data = abi.encodeCall(IWithdrawals.request, IWithdrawals.Method.Removal);
        fits("request", orgs[i], address(withdrawals), data);
    }

    function test_1024_members_in_blocks() public {
        deployAll(Weights.Rule.Block, MOST_MEMBERS);
        everyRound();
        while (this.foldOne()) {}
        remove(7);
        while (this.foldOne()) {}
        everyRound();
        while (this.foldOne()) {}
    }

    function test_1024_members_in_a_shared_layout() public {
        deployAll(Weights.Rule.Share, MOST_MEMBERS);
        everyRound();
        while (this.foldOne()) {}
        remove(7);
        while (this.foldOne()) {}
        everyRound();
        while (this.foldOne()) {}
    }

    /// @dev All but one leave while a round is under way.
    function test_1023_of_1024_members_leave() public {
        Weights.Rule[] memory one = new Weights.Rule[](1);
        one[0] = Weights.Rule.Share;
        deployAll(one, false, MOST_MEMBERS);
        everyRound();
        for (uint256 i = 1; i < MOST_MEMBERS; ++i) {
            vm.prank(orgs[i]);
            withdrawals.request(IWithdrawals.Method.Removal);
        }
        while (this.foldOne()) {}
        vm.assertTrue(holds(models.head(), orgs[0]));
        vm.assertFalse(holds(models.head(), orgs[1_023]));
    }
}
