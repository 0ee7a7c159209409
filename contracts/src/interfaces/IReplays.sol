// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {MemberId, OfferId, RoundId, WithdrawalId} from "../Types.sol";

/// @title Replays: rounds that members train again, one after another, because what they learned from is out.
/// @notice One replay runs at a time. Requests that arrive meanwhile join the next. Each round has a deadline; a member
/// that misses it is dropped from that round on. Those who train are paid from what the requesters put down.
interface IReplays {
    /// @notice A replay.
    /// @param from First round to be trained again.
    /// @param to Last round.
    /// @param round The round that members train now; `to` + 1 once all are closed.
    /// @param deadline Until when they can offer for it, in Unix seconds.
    /// @param amendment The amendment that it became; 0 while it runs, or if it ended because no one needed it any more.
    /// @param withdrawals The withdrawals that it is for.
    struct Replay {
        RoundId from;
        RoundId to;
        RoundId round;
        uint40 deadline;
        uint32 amendment;
        WithdrawalId[] withdrawals;
    }

    error NotWithdrawals(address caller);
    error NothingQueued();
    error TooManyQueued(uint256 most);
    error ReplayRunning(OfferId replay);
    error NoReplay();
    error RoundInFlight(RoundId round);
    error StaleHead();
    error NotExpected(RoundId round, address organization);
    error OfferedBefore(RoundId round, address organization);
    error WrongRound(RoundId round, RoundId current);
    error DeadlineAhead(RoundId round, uint40 deadline);
    error DeadlinePassed(RoundId round, uint40 deadline);
    error WrongPrice(uint256 sent, uint256 required);
    error NothingToClaim(address account);

    event ReplayQueued(WithdrawalId indexed withdrawal, RoundId from, uint256 paid);
    event ReplayStarted(OfferId indexed replay, RoundId from, RoundId to, uint40 deadline);
    event ReplayRoundClosed(OfferId indexed replay, RoundId indexed round, uint256[4] offered, uint256[4] dropped);
    event ReplayFinished(OfferId indexed replay, uint32 indexed amendment);
    event ReplayPaid(address indexed account, uint256 amount);

    /// @notice Queue a withdrawal. Withdrawals contract only.
    /// @param withdrawal The withdrawal.
    /// @param payer Who put the price down, and gets back what is not used.
    /// @param from The first round that must be trained again.
    function queue(WithdrawalId withdrawal, address payer, RoundId from) external payable;

    /// @notice Take a withdrawal out of the queue, or of the running replay, which ends when it was the last. What it put
    /// down comes back, but for the price of the round that members are training. Withdrawals contract only.
    /// @param withdrawal The withdrawal.
    function drop(WithdrawalId withdrawal) external;

    /// @notice Begin the next replay with all that are queued, once the head is folded and no round is in flight. Anyone.
    function start() external;

    /// @notice Offer a contribution that was trained again. Members that the round expects, once.
    /// @param round The round of the replay.
    /// @param artifactIds SHA-256 of each part's artifact.
    /// @param points Each part's point.
    /// @param manifest Commitment to the data that was trained on.
    function offer(RoundId round, bytes32[] calldata artifactIds, bytes calldata points, bytes32 manifest) external;

    /// @notice End a round of the replay, once all expected members offered or the deadline passed. After the last one
    /// the replay takes effect. Anyone.
    function advance() external;

    /// @notice Take out what the caller earned by training again.
    /// @param replay A replay.
    /// @param rounds_ Rounds of it in which the caller offered.
    function claim(OfferId replay, RoundId[] calldata rounds_) external;

    /// @notice Take back what the caller put down and what was not used.
    function refund() external;

    /// @notice Whether a withdrawal waits for a replay, or one is under way: no round opens.
    function isPending() external view returns (bool);

    /// @notice Whether a round of a replay is closed.
    function isClosed(OfferId replay, RoundId round) external view returns (bool);

    /// @notice The running replay, or the last one.
    function current() external view returns (OfferId);

    /// @notice The replay that a withdrawal joined; 0 while it waits.
    function joined(WithdrawalId withdrawal) external view returns (OfferId);

    /// @notice What an account can take back, in wei.
    function refundOf(address account) external view returns (uint256);

    /// @notice A replay.
    function replayOf(OfferId replay) external view returns (Replay memory);

    /// @notice Withdrawals that wait for the next replay.
    function queued() external view returns (WithdrawalId[] memory);

    /// @notice Members that the current round of the replay waits for.
    function expected() external view returns (uint256[4] memory);

    /// @notice The least that a withdrawal puts down: a price for every round from one on, up to the current.
    function priceFrom(RoundId from) external view returns (uint256);
}
