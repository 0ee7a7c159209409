// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMembers} from "../src/interfaces/IMembers.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Cheats} from "./Cheats.sol";
import {Fixture} from "./Fixture.sol";

/// @dev Drives a consortium by random steps; ghosts remember what must never go back.
contract Handler is Fixture {
    uint256 public claimed;
    uint256 public furthest;
    uint64 public seenRound;
    bool public wentBack;

    constructor() {
        deployAll(false);
    }

    function stepOpen() external {
        open();
        _note();
    }

    function stepCommit(uint256 who) external {
        commitAs(rounds.currentRound(), who % 3);
        _note();
    }

    function stepCloseCommits(uint16 wait) external {
        vm.warp(block.timestamp + wait % 200);
        rounds.closeCommits(rounds.currentRound());
        _note();
    }

    function stepReveal(uint256 who) external {
        revealAs(rounds.currentRound(), who % 3);
        _note();
    }

    function stepCloseReveals(uint16 wait) external {
        vm.warp(block.timestamp + wait % 200);
        rounds.closeReveals(rounds.currentRound());
        _note();
    }

    function stepFinalize() external {
        uint64 round = rounds.currentRound();
        uint256 count = 0;
        for (uint256 i = 0; i < 3; ++i) {
            if (_takes(round, i)) ++count;
        }
        IRounds.Contribution[] memory list = new IRounds.Contribution[](count);
        uint256 place = 0;
        for (uint256 i = 0; i < 3; ++i) {
            if (_takes(round, i)) {
                list[place++] = IRounds.Contribution(orgs[i], artifactOf(round, i), 10_000, 1 + uint16(i));
            }
        }
        vm.prank(aggregator);
        rounds.finalize(round, list, none(), bytes32(uint256(3)), bytes32(uint256(4)));
        _note();
    }

    function stepWithdraw(uint256 who) external {
        vm.prank(orgs[who % 3]);
        withdrawals.request();
    }

    function stepClose(uint256 id) external {
        vm.prank(aggregator);
        withdrawals.close(1 + id % withdrawals.count(), bytes32(uint256(9)));
    }

    function stepClaim(uint256 who) external {
        uint256 amount = rewards.pending(orgs[who % 3]);
        vm.prank(orgs[who % 3]);
        rewards.claim();
        claimed += amount;
    }

    function moneyAddsUp() external view returns (bool) {
        uint256 owed = rewards.pending(orgs[0]) + rewards.pending(orgs[1]) + rewards.pending(orgs[2]);
        return owed + rewards.pool() == address(rewards).balance && address(rewards).balance + claimed == 10 ether;
    }

    function removedStayOut() external view returns (bool) {
        uint64 latest = rounds.latestModel();
        for (uint256 id = 1; id <= withdrawals.count(); ++id) {
            IWithdrawals.Withdrawal memory it = withdrawals.withdrawal(id);
            if (it.state == IWithdrawals.State.Closed && !rounds.isClean(latest, it.organization)) return false;
        }
        return true;
    }

    function _takes(uint64 round, uint256 who) private view returns (bool) {
        return rounds.entry(round, orgs[who]).answer == IRounds.Answer.Revealed
            && members.statusOf(orgs[who]) == IMembers.Status.Active;
    }

    function _note() private {
        uint64 round = rounds.currentRound();
        uint256 state = uint256(rounds.roundOf(round).state);
        if (round == seenRound && state < furthest) wentBack = true;
        seenRound = round;
        furthest = state;
    }
}

contract InvariantsTest is Cheats {
    Handler handler;

    function setUp() public {
        handler = new Handler();
        targetContract(address(handler));
    }

    function invariant_moneyInIsMoneyOutPlusMoneyHeld() public view {
        vm.assertTrue(handler.moneyAddsUp());
    }

    function invariant_noModelContainsARemovedOrganization() public view {
        vm.assertTrue(handler.removedStayOut());
    }

    function invariant_noRoundMovesBackwards() public view {
        vm.assertFalse(handler.wentBack());
    }
}
