// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {MemberId, ModelId, OfferId, RoundId, WithdrawalId} from "./Types.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IModels} from "./interfaces/IModels.sol";
import {IReplays} from "./interfaces/IReplays.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {Bitmap} from "./libraries/Bitmap.sol";

/// @title Rounds that are trained again.
contract Replays is IReplays, ReentrancyGuard {
    using Bitmap for uint256[4];

    /// @dev What a withdrawal put down, less what was spent of it.
    struct Request {
        address payer;
        RoundId from;
        uint256 left;
    }

    /// @dev What a closed round of a replay pays, to each that offered.
    struct Pay {
        uint256 each;
        uint256[4] offered;
        uint256[4] claimed;
    }

    /// @notice Most withdrawals that wait for a replay.
    uint256 public constant MOST_QUEUED = 64;
    /// @dev So many rounds that wait for no one are passed at once; another call passes the next.
    uint256 private constant MOST_PASSED = 64;
    /// @dev Tells replays from withdrawals among the sources of offers.
    uint64 private constant REPLAY = 1 << 63;

    IMembers public immutable members;
    IRounds public immutable rounds;
    IModels public immutable models;
    address public immutable withdrawals;
    /// @notice Time to train one round again, in seconds.
    uint40 public immutable roundSeconds;
    /// @notice What a withdrawal pays for each round that is trained again for it, in wei.
    uint256 public immutable pricePerRound;

    /// @inheritdoc IReplays
    OfferId public current;
    /// @inheritdoc IReplays
    mapping(WithdrawalId => OfferId) public joined;
    /// @inheritdoc IReplays
    mapping(address => uint256) public refundOf;
    mapping(OfferId => Replay) private _replays;
    mapping(OfferId => mapping(RoundId => Pay)) private _pay;
    mapping(WithdrawalId => Request) private _requests;
    WithdrawalId[] private _queue;
    uint256[4] private _offered;
    uint256[4] private _dropped;
    /// @dev How many withdrawals the running replay is still for; none when nothing runs.
    uint64 private _needed;
    /// @dev How many amendments there were when it began.
    uint32 private _since;

    modifier onlyWithdrawals() {
        if (msg.sender != withdrawals) revert NotWithdrawals(msg.sender);
        _;
    }

    constructor(
        IMembers members_,
        IRounds rounds_,
        IModels models_,
        address withdrawals_,
        uint40 roundSeconds_,
        uint256 pricePerRound_
    ) {
        members = members_;
        rounds = rounds_;
        models = models_;
        withdrawals = withdrawals_;
        roundSeconds = roundSeconds_;
        pricePerRound = pricePerRound_;
    }

    /// @inheritdoc IReplays
    function queue(WithdrawalId withdrawal, address payer, RoundId from) external payable onlyWithdrawals {
        uint256 price = priceFrom(from);
        // A round may open before the request arrives or after its price was looked up; what is not used comes back.
        if (msg.value < price) revert WrongPrice(msg.value, price);
        if (_queue.length == MOST_QUEUED) revert TooManyQueued(MOST_QUEUED);
        _queue.push(withdrawal);
        _requests[withdrawal] = Request(payer, from, msg.value);
        emit ReplayQueued(withdrawal, from, msg.value);
    }

    /// @inheritdoc IReplays
    function drop(WithdrawalId withdrawal) external onlyWithdrawals {
        if (_unqueue(withdrawal)) return _refund(withdrawal, 0);
        if (_needed == 0 || OfferId.unwrap(joined[withdrawal]) != OfferId.unwrap(current)) return;
        joined[withdrawal] = OfferId.wrap(0);
        Replay storage its = _replays[current];
        _refund(withdrawal, its.round < _requests[withdrawal].from ? 0 : pricePerRound);
        if (--_needed != 0) return;
        _settle(its, _offered);
        _finish(its);
    }

    /// @inheritdoc IReplays
    function start() external {
        if (_needed != 0) revert ReplayRunning(current);
        if (_queue.length == 0) revert NothingQueued();
        RoundId last = rounds.currentRound();
        IRounds.State state = rounds.roundOf(last).state;
        bool idle = state == IRounds.State.None || state == IRounds.State.Final || state == IRounds.State.Abandoned;
        if (!idle) revert RoundInFlight(last);
        ModelId head = models.head();
        if (models.isStale(head)) revert StaleHead();
        current = OfferId.wrap(OfferId.unwrap(current) == 0 ? REPLAY | 1 : OfferId.unwrap(current) + 1);
        Replay storage its = _replays[current];
        its.to = models.modelOf(head).lastRound;
        its.from = _earliest();
        its.withdrawals = _queue;
        (_needed, _since) = (uint64(_queue.length), models.amendmentCount());
        delete _queue;
        delete _dropped;
        delete _offered;
        emit ReplayStarted(current, its.from, its.to, uint40(block.timestamp) + roundSeconds);
        _begin(its, its.from);
    }

    /// @inheritdoc IReplays
    function offer(RoundId round, bytes32[] calldata artifactIds, bytes calldata points, bytes32 manifest) external {
        Replay storage its = _running();
        if (round != its.round) revert WrongRound(round, its.round);
        if (block.timestamp > its.deadline) revert DeadlinePassed(round, its.deadline);
        MemberId member = members.member(msg.sender).number;
        bool isIts = members.organizationAt(member) == msg.sender;
        if (!isIts || !expected().holds(member)) revert NotExpected(round, msg.sender);
        if (_offered.has(member)) revert OfferedBefore(round, msg.sender);
        _offered.add(member);
        models.register(current, round, member, artifactIds, points, manifest);
    }

    /// @inheritdoc IReplays
    function advance() external {
        Replay storage its = _running();
        uint256[4] memory waited = expected();
        uint256[4] memory offered = _offered;
        uint256 missing = 0;
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            // Who left after offering is in the sum, and is taken out of it again by its own removal.
            if (waited[i] & ~offered[i] == 0) continue;
            missing = 1;
            _dropped[i] |= waited[i] & ~offered[i];
        }
        if (missing != 0 && block.timestamp <= its.deadline) revert DeadlineAhead(its.round, its.deadline);
        _settle(its, offered);
        emit ReplayRoundClosed(current, its.round, offered, _dropped);
        delete _offered;
        _begin(its, RoundId.wrap(RoundId.unwrap(its.round) + 1));
    }

    /// @inheritdoc IReplays
    function claim(OfferId replay, RoundId[] calldata rounds_) external nonReentrant {
        MemberId member = members.member(msg.sender).number;
        if (members.organizationAt(member) != msg.sender) revert NothingToClaim(msg.sender);
        uint256 amount = 0;
        for (uint256 i = 0; i < rounds_.length; ++i) {
            Pay storage pay = _pay[replay][rounds_[i]];
            if (!pay.offered.has(member) || pay.claimed.has(member)) revert NothingToClaim(msg.sender);
            pay.claimed.add(member);
            amount += pay.each;
        }
        _send(amount);
    }

    /// @inheritdoc IReplays
    function refund() external nonReentrant {
        uint256 amount = refundOf[msg.sender];
        refundOf[msg.sender] = 0;
        _send(amount);
    }

    /// @inheritdoc IReplays
    function isPending() external view returns (bool) {
        return _queue.length != 0 || _needed != 0;
    }

    /// @inheritdoc IReplays
    function isClosed(OfferId replay, RoundId round) external view returns (bool) {
        Replay storage its = _replays[replay];
        return its.from <= round && round < its.round;
    }

    /// @inheritdoc IReplays
    function replayOf(OfferId replay) external view returns (Replay memory) {
        return _replays[replay];
    }

    /// @inheritdoc IReplays
    function queued() external view returns (WithdrawalId[] memory) {
        return _queue;
    }

    /// @inheritdoc IReplays
    function expected() public view returns (uint256[4] memory set) {
        Replay storage its = _running();
        set = rounds.acceptedIn(its.round);
        uint256[4] memory excluded = models.excludedMembers();
        for (uint256 word = 0; word < Bitmap.WORDS; ++word) {
            if (set[word] != 0) set[word] &= ~(_dropped[word] | excluded[word]);
        }
    }

    /// @inheritdoc IReplays
    function priceFrom(RoundId from) public view returns (uint256) {
        uint64 last = RoundId.unwrap(rounds.currentRound());
        uint64 first = RoundId.unwrap(from);
        return first > last ? 0 : (last - first + 1) * pricePerRound;
    }

    /// @dev Let members train a round, or the first later one that waits for any. After the last, the replay takes effect.
    function _begin(Replay storage its, RoundId round) private {
        its.round = round;
        its.deadline = uint40(block.timestamp) + roundSeconds;
        for (uint256 i = 0; i < MOST_PASSED && its.round <= its.to && expected().count() == 0; ++i) {
            its.round = RoundId.wrap(RoundId.unwrap(its.round) + 1);
        }
        if (its.round <= its.to) return;
        its.amendment = models.amendByReplay(current, its.from, its.to, _since);
        _finish(its);
    }

    /// @dev End a replay that took effect, or that no one needs any more.
    function _finish(Replay storage its) private {
        _needed = 0;
        for (uint256 i = 0; i < its.withdrawals.length; ++i) {
            _refund(its.withdrawals[i], 0);
        }
        emit ReplayFinished(current, its.amendment);
    }

    /// @dev Every withdrawal that needed the round pays its price, in equal parts to those who offered.
    function _settle(Replay storage its, uint256[4] memory offered) private {
        uint256 count = offered.count();
        uint256 share = count == 0 ? 0 : pricePerRound / count;
        uint256 each = 0;
        for (uint256 i = 0; i < its.withdrawals.length; ++i) {
            WithdrawalId withdrawal = its.withdrawals[i];
            Request storage request = _requests[withdrawal];
            if (request.from <= its.round && request.left >= pricePerRound) {
                request.left -= share * count;
                each += share;
            }
            // What no longer needs the replay kept the price of this round, for those who train it, and no more.
            if (OfferId.unwrap(joined[withdrawal]) == 0) _refund(withdrawal, 0);
        }
        Pay storage pay = _pay[current][its.round];
        pay.each = each;
        pay.offered = offered;
    }

    /// @dev Let the payer take back what is left, but for what is kept.
    function _refund(WithdrawalId withdrawal, uint256 kept) private {
        Request storage request = _requests[withdrawal];
        if (request.left <= kept) return;
        refundOf[request.payer] += request.left - kept;
        request.left = kept;
    }

    function _earliest() private returns (RoundId from) {
        from = _requests[_queue[0]].from;
        for (uint256 i = 0; i < _queue.length; ++i) {
            RoundId its = _requests[_queue[i]].from;
            if (its < from) from = its;
            joined[_queue[i]] = current;
        }
    }

    function _send(uint256 amount) private {
        if (amount == 0) revert NothingToClaim(msg.sender);
        emit ReplayPaid(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    function _unqueue(WithdrawalId withdrawal) private returns (bool) {
        for (uint256 i = 0; i < _queue.length; ++i) {
            if (WithdrawalId.unwrap(_queue[i]) != WithdrawalId.unwrap(withdrawal)) continue;
            _queue[i] = _queue[_queue.length - 1];
            _queue.pop();
            return true;
        }
        return false;
    }

    function _running() private view returns (Replay storage its) {
        if (_needed == 0) revert NoReplay();
        its = _replays[current];
    }
}
