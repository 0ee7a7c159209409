// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IMembers} from "./interfaces/IMembers.sol";

contract Members is IMembers, ReentrancyGuard {
    address public immutable governance;
    address public immutable aggregator;
    uint256 public immutable bond;
    bytes32 public aggregatorFingerprint;
    address public withdrawals;
    uint256 public activeCount;

    mapping(address => Member) private _members;
    mapping(bytes32 => address) public organizationOf;
    address[] private _organizations;

    modifier onlyGovernance() {
        if (msg.sender != governance) revert NotGovernance(msg.sender);
        _;
    }

    modifier onlyWithdrawals() {
        if (msg.sender != withdrawals) revert NotWithdrawals(msg.sender);
        _;
    }

    constructor(address aggregator_, bytes32 aggregatorFingerprint_, uint256 bond_) {
        if (aggregator_ == address(0) || aggregatorFingerprint_ == 0) revert EmptyValue();
        governance = msg.sender;
        aggregator = aggregator_;
        aggregatorFingerprint = aggregatorFingerprint_;
        bond = bond_;
    }

    /// @notice Name the withdrawals contract, once, at deployment.
    function wire(address withdrawals_) external onlyGovernance {
        if (withdrawals != address(0)) revert AlreadyWired();
        if (withdrawals_ == address(0)) revert EmptyValue();
        withdrawals = withdrawals_;
        emit Wired(withdrawals_);
    }

    /// @notice Record the aggregator's new certificate.
    function setAggregatorFingerprint(bytes32 fingerprint) external onlyGovernance {
        if (fingerprint == 0) revert EmptyValue();
        aggregatorFingerprint = fingerprint;
        emit AggregatorFingerprintChanged(fingerprint);
    }

    function admit(address organization, string calldata name, bytes32 fingerprint) external onlyGovernance {
        if (organization == address(0) || bytes(name).length == 0) revert EmptyValue();
        if (_members[organization].status != Status.None) revert AlreadyAdmitted(organization);
        _members[organization] = Member(organization, name, 0, 0, Status.Admitted);
        _organizations.push(organization);
        _setFingerprint(organization, fingerprint);
        emit Admitted(organization, name, fingerprint);
    }

    function join() external payable {
        Member storage who = _members[msg.sender];
        if (who.status != Status.Admitted) revert WrongStatus(msg.sender, who.status);
        if (msg.value != bond) revert WrongBond(msg.value, bond);
        who.bond = msg.value;
        ++activeCount;
        _setStatus(who, Status.Active);
        emit Joined(msg.sender, msg.value);
    }

    function rotateFingerprint(bytes32 fingerprint) external {
        Member storage who = _members[msg.sender];
        if (who.status == Status.None) revert WrongStatus(msg.sender, who.status);
        delete organizationOf[who.fingerprint];
        _setFingerprint(msg.sender, fingerprint);
        emit FingerprintRotated(msg.sender, fingerprint);
    }

    function reclaimBond() external nonReentrant {
        Member storage who = _members[msg.sender];
        if (who.status != Status.Withdrawn || who.bond == 0) revert WrongStatus(msg.sender, who.status);
        uint256 amount = who.bond;
        who.bond = 0;
        emit BondReclaimed(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    function markWithdrawing(address organization) external onlyWithdrawals {
        Member storage who = _members[organization];
        if (who.status != Status.Active) revert WrongStatus(organization, who.status);
        --activeCount;
        _setStatus(who, Status.Withdrawing);
    }

    function markWithdrawn(address organization) external onlyWithdrawals {
        Member storage who = _members[organization];
        if (who.status != Status.Withdrawing) revert WrongStatus(organization, who.status);
        _setStatus(who, Status.Withdrawn);
    }

    function member(address organization) external view returns (Member memory) {
        return _members[organization];
    }

    function statusOf(address organization) external view returns (Status) {
        return _members[organization].status;
    }

    function organizations() external view returns (address[] memory) {
        return _organizations;
    }

    function _setStatus(Member storage who, Status status) private {
        who.status = status;
        emit StatusChanged(who.organization, status);
    }

    function _setFingerprint(address organization, bytes32 fingerprint) private {
        if (fingerprint == 0) revert EmptyValue();
        if (organizationOf[fingerprint] != address(0)) revert FingerprintInUse(fingerprint);
        organizationOf[fingerprint] = organization;
        _members[organization].fingerprint = fingerprint;
    }
}
