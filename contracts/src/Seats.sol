// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IRewards} from "./interfaces/IRewards.sol";

/// @title The aggregator with its bond, the auditors, and everyone's certificates.
abstract contract Seats is IMembers, ReentrancyGuard {
    using EnumerableSet for EnumerableSet.AddressSet;

    /// @inheritdoc IMembers
    address public immutable founder;
    address public immutable governance;
    address public immutable rounds;
    IRewards public immutable rewards;
    /// @notice Terms of membership.
    Terms public terms;

    /// @inheritdoc IMembers
    address public aggregator;
    /// @inheritdoc IMembers
    mapping(address => uint256) public aggregatorBondOf;
    /// @notice When a former aggregator can take its bond, in Unix seconds.
    mapping(address => uint40) public aggregatorExitAt;
    /// @inheritdoc IMembers
    mapping(address => bytes32) public fingerprintOf;
    EnumerableSet.AddressSet private _auditors;

    modifier onlyGovernance() {
        bool founding = msg.sender == founder && _isFounding();
        if (msg.sender != governance && !founding) revert NotGovernance(msg.sender);
        _;
    }

    modifier only(address caller) {
        if (msg.sender != caller) revert NotAllowed(msg.sender);
        _;
    }

    constructor(address governance_, address rounds_, IRewards rewards_, address aggregator_, Terms memory terms_) {
        if (terms_.unavailableShare > 10_000) revert WrongTerms();
        founder = msg.sender;
        governance = governance_;
        rounds = rounds_;
        rewards = rewards_;
        terms = terms_;
        if (aggregator_ == address(0)) revert EmptyValue();
        aggregator = aggregator_;
        emit AggregatorChanged(aggregator_);
    }

    /// @inheritdoc IMembers
    function nameAuditor(address auditor) external onlyGovernance {
        if (auditor == address(0)) revert EmptyValue();
        if (_auditors.add(auditor)) emit AuditorNamed(auditor);
    }

    /// @inheritdoc IMembers
    function dismissAuditor(address auditor) external onlyGovernance {
        if (!_auditors.remove(auditor)) revert UnknownAuditor(auditor);
        emit AuditorDismissed(auditor);
    }

    /// @inheritdoc IMembers
    function setAggregator(address next) external onlyGovernance {
        _retireAggregator();
        _setAggregator(next);
    }

    /// @inheritdoc IMembers
    function resignAggregator() external only(aggregator) {
        _retireAggregator();
        aggregator = address(0);
        emit AggregatorChanged(address(0));
    }

    /// @inheritdoc IMembers
    function setFingerprint(bytes32 fingerprint, bytes calldata proof) external {
        if (!_isMember(msg.sender) && msg.sender != aggregator) revert NotAllowed(msg.sender);
        _setFingerprint(fingerprint, proof);
    }

    /// @inheritdoc IMembers
    function postAggregatorBond() external payable only(aggregator) {
        if (msg.value == 0) revert WrongBond(0, terms.aggregatorBond);
        uint256 bond = aggregatorBondOf[msg.sender] + msg.value;
        aggregatorBondOf[msg.sender] = bond;
        emit AggregatorBondPosted(msg.sender, msg.value, bond);
    }

    /// @inheritdoc IMembers
    function reclaimAggregatorBond() external nonReentrant {
        uint256 amount = aggregatorBondOf[msg.sender];
        if (msg.sender == aggregator || amount == 0) revert NothingToClaim(msg.sender);
        if (block.timestamp < aggregatorExitAt[msg.sender]) revert TooEarly(aggregatorExitAt[msg.sender]);
        aggregatorBondOf[msg.sender] = 0;
        emit AggregatorBondReclaimed(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    /// @inheritdoc IMembers
    function penalizeAggregator(address owner) external only(rounds) {
        uint256 amount = aggregatorBondOf[owner] * terms.unavailableShare / 10_000;
        aggregatorBondOf[owner] -= amount;
        emit AggregatorPenalized(owner, amount);
        rewards.fund{value: amount}();
    }

    /// @inheritdoc IMembers
    function aggregatorReady() external view returns (bool) {
        return aggregator != address(0) && aggregatorBondOf[aggregator] >= terms.aggregatorBond;
    }

    /// @inheritdoc IMembers
    function auditors() external view returns (address[] memory) {
        return _auditors.values();
    }

    /// @inheritdoc IMembers
    function isAuditor(address account) external view returns (bool) {
        return _auditors.contains(account);
    }

    function _setAggregator(address next) private {
        if (next == address(0)) revert EmptyValue();
        if (_isMember(next)) revert IsMember(next);
        aggregator = next;
        emit AggregatorChanged(next);
    }

    function _retireAggregator() private {
        aggregatorExitAt[aggregator] = uint40(block.timestamp) + terms.exitSeconds;
    }

    function _setFingerprint(bytes32 fingerprint, bytes calldata proof) internal {
        if (fingerprint == 0 || proof.length == 0) revert EmptyValue();
        fingerprintOf[msg.sender] = fingerprint;
        emit FingerprintSet(msg.sender, fingerprint, proof);
    }

    /// @dev Whether no organization has joined yet.
    function _isFounding() internal view virtual returns (bool);

    /// @dev Whether an address belongs, or belonged, to an organization that joined.
    function _isMember(address account) internal view virtual returns (bool);
}
