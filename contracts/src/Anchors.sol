// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {IAnchors} from "./interfaces/IAnchors.sol";
import {IMembers} from "./interfaces/IMembers.sol";

/// @title Anchored ledgers and stated privacy budgets.
contract Anchors is IAnchors {
    IMembers public immutable members;
    mapping(address => Anchor) private _latest;
    mapping(address => Spent) private _spent;

    modifier onlyMembers() {
        IMembers.Status status = members.statusOf(msg.sender);
        if (status == IMembers.Status.None || status == IMembers.Status.Admitted) revert NotMember(msg.sender);
        _;
    }

    constructor(IMembers members_) {
        members = members_;
    }

    /// @inheritdoc IAnchors
    function anchor(uint64 size, bytes32 root) external onlyMembers {
        Anchor storage last = _latest[msg.sender];
        if (size < last.size) revert Shrunk(msg.sender, size, last.size);
        if (size == last.size && last.anchoredAt != 0) {
            if (root != last.root) revert Forked(msg.sender, size, last.root);
            return;
        }
        _latest[msg.sender] = Anchor(size, uint64(block.number), root);
        emit Anchored(msg.sender, size, root);
    }

    /// @inheritdoc IAnchors
    function stateSpent(uint64 epsilonMicro, uint64 deltaPico) external onlyMembers {
        Spent memory last = _spent[msg.sender];
        if (epsilonMicro < last.epsilonMicro || deltaPico < last.deltaPico) revert BudgetShrunk(msg.sender, last);
        _spent[msg.sender] = Spent(epsilonMicro, deltaPico, uint64(block.number));
        emit PrivacySpent(msg.sender, epsilonMicro, deltaPico);
    }

    /// @inheritdoc IAnchors
    function spentBy(address organization) external view returns (Spent memory) {
        return _spent[organization];
    }

    /// @inheritdoc IAnchors
    function latest(address organization) external view returns (Anchor memory) {
        return _latest[organization];
    }
}
