// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {IGovernance} from "./interfaces/IGovernance.sol";
import {IMembers} from "./interfaces/IMembers.sol";

contract Governance is IGovernance {
    IMembers public immutable members;
    address public immutable withdrawals;
    /// @notice Basis points of the active members that votes must exceed.
    uint16 public immutable threshold;
    uint64 public immutable proposalSeconds;

    uint256 public count;
    mapping(uint256 => Proposal) private _proposals;
    mapping(uint256 => address[]) private _voters;
    mapping(uint256 => mapping(address => bool)) public hasVoted;

    constructor(IMembers members_, address withdrawals_, uint16 threshold_, uint64 proposalSeconds_) {
        if (threshold_ >= 10_000) revert WrongThreshold(threshold_);
        members = members_;
        withdrawals = withdrawals_;
        threshold = threshold_;
        proposalSeconds = proposalSeconds_;
    }

    function propose(address target, bytes calldata data) external returns (uint256 id) {
        if (target != address(members) && target != withdrawals) revert TargetNotGoverned(target);
        id = ++count;
        uint64 deadline = uint64(block.timestamp) + proposalSeconds;
        _proposals[id] = Proposal(msg.sender, target, deadline, false, data);
        emit Proposed(id, msg.sender, target, data, deadline);
        _vote(id);
    }

    function vote(uint256 id) external {
        _vote(id);
    }

    function execute(uint256 id) external {
        Proposal storage it = _open(id);
        uint256 votes = votesFor(id);
        uint256 active = members.activeCount();
        if (votes * 10_000 <= active * threshold) revert NotEnoughVotes(id, votes, active);
        it.executed = true;
        emit Executed(id, it.target, it.data);
        // What a governed function returns is nobody's concern here; a refusal is passed on.
        // slither-disable-next-line unused-return
        Address.functionCall(it.target, it.data);
    }

    function proposal(uint256 id) external view returns (Proposal memory) {
        return _proposals[id];
    }

    function votesFor(uint256 id) public view returns (uint256 votes) {
        address[] storage voters = _voters[id];
        for (uint256 i = 0; i < voters.length; ++i) {
            if (members.statusOf(voters[i]) == IMembers.Status.Active) ++votes;
        }
    }

    function _vote(uint256 id) private {
        _open(id);
        if (members.statusOf(msg.sender) != IMembers.Status.Active) revert NotActive(msg.sender);
        if (hasVoted[id][msg.sender]) revert AlreadyVoted(id, msg.sender);
        hasVoted[id][msg.sender] = true;
        _voters[id].push(msg.sender);
        emit Voted(id, msg.sender);
    }

    function _open(uint256 id) private view returns (Proposal storage it) {
        it = _proposals[id];
        if (it.target == address(0)) revert UnknownProposal(id);
        if (it.executed) revert AlreadyExecuted(id);
        if (block.timestamp > it.deadline) revert Expired(id, it.deadline);
    }
}
