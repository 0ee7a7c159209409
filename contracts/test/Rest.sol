// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {ModelId, OfferId, RoundId, WithdrawalId} from "../src/Types.sol";
import {IModels} from "../src/interfaces/IModels.sol";
import {IReplays} from "../src/interfaces/IReplays.sol";
import {IRounds} from "../src/interfaces/IRounds.sol";
import {IWithdrawals} from "../src/interfaces/IWithdrawals.sol";
import {Players} from "./Players.sol";

/// @dev What must hold of money at any time, and how a stranger with patience ends whatever is under way.
abstract contract Rest is Players {
    uint256 private constant MOST_MOVES = 3_000;

    function kinds() external view returns (uint256[5] memory count) {
        for (uint64 id = 1; id <= models.modelCount(); ++id) {
            ++count[uint8(models.modelOf(ModelId.wrap(id)).kind)];
        }
    }

    // Money

    function membersHoldTheirBonds() external view returns (bool) {
        uint256 owed = 0;
        for (uint256 i = 0; i < orgs.length; ++i) {
            owed += members.member(orgs[i]).bond;
        }
        for (uint256 i = 0; i < aggregators.length; ++i) {
            owed += members.aggregatorBondOf(aggregators[i]);
        }
        return address(members).balance == owed;
    }

    function rewardsHoldWhatTheyOwe() external view returns (bool) {
        uint256 owed = rewards.pool();
        uint64 last = RoundId.unwrap(rounds.currentRound());
        RoundId[] memory all = new RoundId[](last);
        for (uint64 n = 1; n <= last; ++n) {
            all[n - 1] = RoundId.wrap(n);
        }
        for (uint256 i = 0; i < orgs.length; ++i) {
            owed += rewards.claimable(orgs[i], all);
        }
        return address(rewards).balance >= owed;
    }

    function replaysHoldTheirRefunds() external view returns (bool) {
        uint256 owed = 0;
        for (uint256 i = 0; i < orgs.length; ++i) {
            owed += replays.refundOf(orgs[i]);
        }
        return address(replays).balance >= owed;
    }

    /// @dev Once nothing is under way, what requesters paid went to those who trained, or comes back.
    function nothingIsLeftOfReplays() external returns (bool) {
        for (uint256 i = 0; i < orgs.length; ++i) {
            if (replays.refundOf(orgs[i]) != 0) {
                vm.prank(orgs[i]);
                replays.refund();
            }
            for (uint64 replay = (1 << 63) + 1; replay <= OfferId.unwrap(replays.current()); ++replay) {
                claimAll(OfferId.wrap(replay), orgs[i]);
            }
        }
        return address(replays).balance == 0;
    }

    function claimAll(OfferId replay, address organization) private {
        RoundId[] memory one = new RoundId[](1);
        for (uint64 n = 1; n <= RoundId.unwrap(rounds.currentRound()); ++n) {
            one[0] = RoundId.wrap(n);
            vm.prank(organization);
            try replays.claim(replay, one) {} catch {}
        }
    }

    // Ways on

    /// @dev End everything without any member, the aggregator or an auditor.
    function comeToRest() external returns (bool) {
        vm.warp(moment);
        for (uint256 i = 0; i < MOST_MOVES; ++i) {
            if (!moveOn()) return isAtRest() && !faults.wrongSum && !faults.outMemberCameBack;
            observe();
        }
        return false;
    }

    function isAtRest() private view returns (bool) {
        RoundId round = rounds.currentRound();
        IRounds.State state = rounds.roundOf(round).state;
        bool idle = state == IRounds.State.None || state == IRounds.State.Final || state == IRounds.State.Abandoned;
        return idle && !replays.isPending() && WithdrawalId.unwrap(anOpenOne(0)) == 0;
    }

    function moveOn() private returns (bool) {
        return moveModels() || moveRound() || moveReplay() || moveWithdrawals();
    }

    function moveModels() private returns (bool) {
        ModelId[] memory used = models.modelsInUse();
        for (uint256 i = 0; i < used.length; ++i) {
            if (!models.isStale(used[i])) continue;
            foldSome(used[i], 7);
            return true;
        }
        return false;
    }

    function moveRound() private returns (bool) {
        RoundId round = rounds.currentRound();
        IRounds.Round memory its = rounds.roundOf(round);
        if (isOrphan(round, its.state)) {
            rounds.abandon(round);
        } else if (its.state == IRounds.State.Open) {
            closeCommits(round);
        } else if (its.state == IRounds.State.Committed) {
            closeReveals(round);
        } else if (its.state == IRounds.State.Revealed) {
            late(its.deadline);
            rounds.abandon(round);
        } else if (its.state == IRounds.State.Judged) {
            finishRound(round, 7);
        } else {
            return false;
        }
        return true;
    }

    function moveReplay() private returns (bool) {
        if (!replays.isPending()) return false;
        if (isRunning()) closeReplayed(replays.replayOf(replays.current()).deadline);
        else startReplay(7);
        return true;
    }

    function moveWithdrawals() private returns (bool) {
        WithdrawalId id = anOpenOne(0);
        if (WithdrawalId.unwrap(id) == 0) return false;
        IWithdrawals.Withdrawal memory its = withdrawals.withdrawalOf(id);
        if (its.state == IWithdrawals.State.Effective) {
            withdrawals.close(id);
        } else if (its.state == IWithdrawals.State.Replaying) {
            withdrawals.replayed(id);
        } else {
            late(its.deadline);
            withdrawals.escalate(id);
        }
        return true;
    }
}
