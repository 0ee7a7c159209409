// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {IGovernance} from "./interfaces/IGovernance.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {Bitmap} from "./libraries/Bitmap.sol";

/// @title Votes of the members.
contract Governance is IGovernance {
    using Bitmap for uint256[4];

    IMembers public immutable members;
    address public immutable withdrawals;
    /// @notice Basis points of the active members that votes must exceed.
    uint16 public immutable threshold;
    /// @notice How long a proposal stands, in seconds.
    uint40 public immutable proposalSeconds;

    /// @inheritdoc IGovernance
    uint256 public count;
    mapping(uint256 => Proposal) private _proposals;
    mapping(uint256 => uint256[4]) private _votes;

    constructor(IMembers members_, address withdrawals_, uint16 threshold_, uint40 proposalSeconds_) {
        if (threshold_ >= 10_000) revert WrongThreshold(threshold_);
        members = members_;
        withdrawals = withdrawals_;
        threshold = threshold_;
        proposalSeconds = proposalSeconds_;
    }

    /// @inheritdoc IGovernance
    function propose(address target, bytes calldata data) external returns (uint256 id) {
        if (target != address(members) && target != withdrawals) revert TargetNotGoverned(target);
        id = ++count;
        uint40 deadline = uint40(block.timestamp) + proposalSeconds;
        _proposals[id] = Proposal(msg.sender, target, deadline, false, data);
        emit Proposed(id, msg.sender, target, data, deadline);
        _vote(id);
    }

    /// @inheritdoc IGovernance
    function vote(uint256 id) external {
        _vote(id);
    }

    /// @inheritdoc IGovernance
    function execute(uint256 id) external {
        Proposal storage its = _open(id);
        uint256 votes = votesFor(id);
        uint256 active = members.activeCount();
        if (votes * 10_000 <= active * threshold) revert NotEnoughVotes(id, votes, active);
        its.executed = true;
        emit Executed(id, its.target, its.data);
        // A refusal of the governed contract is passed on; none of its functions returns what matters here.
        // slither-disable-next-line unused-return
        Address.functionCall(its.target, its.data);
    }

    /// @inheritdoc IGovernance
    function proposal(uint256 id) external view returns (Proposal memory) {
        return _proposals[id];
    }

    /// @inheritdoc IGovernance
    function votesFor(uint256 id) public view returns (uint256) {
        // A member that left keeps its number, so its vote counts no longer without anyone looking for it.
        uint256[4] memory active = members.activeMembers();
        uint256[4] memory votes = _votes[id].load(Bitmap.width(members.memberCount()));
        for (uint256 i = 0; i < Bitmap.WORDS; ++i) {
            votes[i] &= active[i];
        }
        return votes.count();
    }

    /// @inheritdoc IGovernance
    function hasVoted(uint256 id, address organization) external view returns (bool) {
        IMembers.Member memory its = members.member(organization);
        bool joined = its.status != IMembers.Status.None && its.status != IMembers.Status.Admitted;
        return joined && _votes[id].has(its.number);
    }

    function _vote(uint256 id) private {
        _open(id);
        IMembers.Member memory voter = members.member(msg.sender);
        if (voter.status != IMembers.Status.Active) revert NotActive(msg.sender);
        if (_votes[id].has(voter.number)) revert AlreadyVoted(id, msg.sender);
        _votes[id].add(voter.number);
        emit Voted(id, msg.sender);
    }

    function _open(uint256 id) private view returns (Proposal storage its) {
        its = _proposals[id];
        if (its.target == address(0)) revert UnknownProposal(id);
        if (its.executed) revert AlreadyExecuted(id);
        if (block.timestamp > its.deadline) revert Expired(id, its.deadline);
    }
}
