// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IMembers} from "./interfaces/IMembers.sol";
import {IRounds} from "./interfaces/IRounds.sol";
import {IWithdrawals} from "./interfaces/IWithdrawals.sol";

contract Withdrawals is IWithdrawals {
    IMembers public immutable members;
    IRounds public immutable rounds;
    address public immutable aggregator;
    uint64 public immutable withdrawalSeconds;

    uint256 public count;
    mapping(uint256 => Withdrawal) private _withdrawals;

    constructor(IMembers members_, IRounds rounds_, address aggregator_, uint64 withdrawalSeconds_) {
        if (aggregator_ == address(0)) revert NotAggregator(aggregator_);
        members = members_;
        rounds = rounds_;
        aggregator = aggregator_;
        withdrawalSeconds = withdrawalSeconds_;
    }

    function request() external returns (uint256 id) {
        if (members.statusOf(msg.sender) != IMembers.Status.Active) revert NotActive(msg.sender);
        id = ++count;
        uint64 deadline = uint64(block.timestamp) + withdrawalSeconds;
        _withdrawals[id] = Withdrawal(msg.sender, State.Requested, uint64(block.timestamp), deadline, 0);
        emit WithdrawalRequested(id, msg.sender, deadline);
        members.markWithdrawing(msg.sender);
    }

    function close(uint256 id, bytes32 adapterId) external {
        if (msg.sender != aggregator) revert NotAggregator(msg.sender);
        Withdrawal storage it = _withdrawals[id];
        if (it.state != State.Requested) revert WrongState(id, it.state);
        it.state = State.Closed;
        it.closedModel = rounds.latestModel() + 1;
        emit WithdrawalClosed(id, it.organization, it.closedModel, adapterId);
        members.markWithdrawn(it.organization);
        rounds.registerRemoval(it.organization, adapterId);
    }

    function anyOverdue() external view returns (bool) {
        for (uint256 id = 1; id <= count; ++id) {
            Withdrawal storage it = _withdrawals[id];
            if (it.state == State.Requested && block.timestamp > it.deadline) return true;
        }
        return false;
    }

    function withdrawal(uint256 id) external view returns (Withdrawal memory) {
        return _withdrawals[id];
    }
}
