// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.28;

import {Address} from "@openzeppelin/contracts/utils/Address.sol";
import {EnumerableSet} from "@openzeppelin/contracts/utils/structs/EnumerableSet.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {IMembers} from "./interfaces/IMembers.sol";
import {IRewards} from "./interfaces/IRewards.sol";

contract Members is IMembers, ReentrancyGuard {
    using EnumerableSet for EnumerableSet.AddressSet;

    /// @notice The contracts that this one answers to.
    struct Peers {
        address governance;
        address rounds;
        address lineage;
        address withdrawals;
        IRewards rewards;
    }

    address public immutable founder;
    address public immutable governance;
    address public immutable rounds;
    address public immutable lineage;
    address public immutable withdrawals;
    IRewards public immutable rewards;
    Terms public terms;

    /// @notice Whether an organization has joined: the founder has no more to say.
    bool public underWay;
    address public aggregator;
    bytes32 public aggregatorFingerprint;
    uint256 public activeCount;
    mapping(address => uint256) public aggregatorBondOf;
    mapping(address => uint64) public aggregatorExitAt;
    mapping(address => uint256) public compensation;
    mapping(bytes32 => address) public organizationOf;

    mapping(address => Member) private _members;
    address[] private _organizations;
    EnumerableSet.AddressSet private _auditors;

    modifier onlyGovernance() {
        if (msg.sender != governance && (underWay || msg.sender != founder)) revert NotGovernance(msg.sender);
        _;
    }

    modifier only(address who) {
        if (msg.sender != who) revert NotAllowed(msg.sender);
        _;
    }

    constructor(Peers memory peers, address aggregator_, bytes32 fingerprint, Terms memory terms_) {
        founder = msg.sender;
        governance = peers.governance;
        rounds = peers.rounds;
        lineage = peers.lineage;
        withdrawals = peers.withdrawals;
        rewards = peers.rewards;
        terms = terms_;
        _setAggregator(aggregator_, fingerprint);
    }

    function admit(address organization, string calldata name, bytes32 fingerprint) external onlyGovernance {
        if (organization == address(0) || bytes(name).length == 0) revert EmptyValue();
        if (_members[organization].status != Status.None) revert AlreadyAdmitted(organization);
        if (_organizations.length == terms.maxMembers) revert TooManyMembers(terms.maxMembers);
        _members[organization] = Member(organization, name, 0, 0, 0, Status.Admitted);
        _organizations.push(organization);
        _setFingerprint(organization, fingerprint);
        emit Admitted(organization, name, fingerprint);
    }

    function nameAuditor(address auditor) external onlyGovernance {
        if (auditor == address(0)) revert EmptyValue();
        if (_auditors.add(auditor)) emit AuditorNamed(auditor);
    }

    function dismissAuditor(address auditor) external onlyGovernance {
        if (!_auditors.remove(auditor)) revert UnknownAuditor(auditor);
        emit AuditorDismissed(auditor);
    }

    function setAggregator(address aggregator_, bytes32 fingerprint) external onlyGovernance {
        aggregatorExitAt[aggregator] = uint64(block.timestamp) + terms.exitSeconds;
        _setAggregator(aggregator_, fingerprint);
    }

    function join() external payable {
        Member storage who = _members[msg.sender];
        if (who.status != Status.Admitted) revert WrongStatus(msg.sender, who.status);
        if (msg.value != terms.bond) revert WrongBond(msg.value, terms.bond);
        who.bond = msg.value;
        underWay = true;
        ++activeCount;
        _setStatus(who, Status.Active);
        emit Joined(msg.sender, msg.value);
    }

    function topUp() external payable {
        Member storage who = _members[msg.sender];
        if (who.status != Status.Active) revert WrongStatus(msg.sender, who.status);
        if (msg.value == 0 || who.bond + msg.value > terms.bond) revert WrongBond(msg.value, terms.bond - who.bond);
        who.bond += msg.value;
        emit BondRaised(msg.sender, msg.value, who.bond);
    }

    function resign() external {
        Member storage who = _members[msg.sender];
        if (who.status != Status.Active) revert WrongStatus(msg.sender, who.status);
        --activeCount;
        who.exitAt = uint64(block.timestamp) + terms.exitSeconds;
        _setStatus(who, Status.Left);
    }

    function rotateFingerprint(bytes32 fingerprint) external {
        if (fingerprint == 0) revert EmptyValue();
        if (msg.sender == aggregator) {
            aggregatorFingerprint = fingerprint;
        } else {
            Member storage who = _members[msg.sender];
            if (who.status == Status.None) revert WrongStatus(msg.sender, who.status);
            delete organizationOf[who.fingerprint];
            _setFingerprint(msg.sender, fingerprint);
        }
        emit FingerprintRotated(msg.sender, fingerprint);
    }

    function reclaimBond() external nonReentrant {
        Member storage who = _members[msg.sender];
        if ((who.status != Status.Left && who.status != Status.Withdrawn) || who.bond == 0) {
            revert WrongStatus(msg.sender, who.status);
        }
        if (block.timestamp < who.exitAt) revert TooEarly(who.exitAt);
        uint256 amount = who.bond;
        who.bond = 0;
        emit BondReclaimed(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    function postAggregatorBond() external payable only(aggregator) {
        uint256 bond = aggregatorBondOf[msg.sender] + msg.value;
        if (msg.value == 0) revert WrongBond(0, terms.aggregatorBond);
        aggregatorBondOf[msg.sender] = bond;
        emit AggregatorBondPosted(msg.sender, msg.value, bond);
    }

    function reclaimAggregatorBond() external nonReentrant {
        uint256 amount = aggregatorBondOf[msg.sender];
        if (msg.sender == aggregator || amount == 0) revert NothingToClaim(msg.sender);
        if (block.timestamp < aggregatorExitAt[msg.sender]) revert TooEarly(aggregatorExitAt[msg.sender]);
        aggregatorBondOf[msg.sender] = 0;
        emit AggregatorBondReclaimed(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    function claimCompensation() external nonReentrant {
        uint256 amount = compensation[msg.sender];
        if (amount == 0) revert NothingToClaim(msg.sender);
        compensation[msg.sender] = 0;
        emit CompensationPaid(msg.sender, amount);
        Address.sendValue(payable(msg.sender), amount);
    }

    function markWithdrawing(address organization) external only(withdrawals) {
        Member storage who = _members[organization];
        if (who.status != Status.Active && who.status != Status.Left) revert WrongStatus(organization, who.status);
        if (who.status == Status.Active) --activeCount;
        _setStatus(who, Status.Withdrawing);
    }

    function markWithdrawn(address organization) external only(withdrawals) {
        Member storage who = _members[organization];
        if (who.status != Status.Withdrawing) revert WrongStatus(organization, who.status);
        who.exitAt = uint64(block.timestamp) + terms.exitSeconds;
        _setStatus(who, Status.Withdrawn);
    }

    function penalize(address organization) external only(rounds) {
        Member storage who = _members[organization];
        uint256 amount = who.bond < terms.unrevealedPenalty ? who.bond : terms.unrevealedPenalty;
        if (amount == 0) return;
        who.bond -= amount;
        emit Penalized(organization, amount);
        rewards.fund{value: amount}();
    }

    function slashAggregator(address who, address beneficiary) external {
        if (msg.sender != withdrawals && msg.sender != lineage) revert NotAllowed(msg.sender);
        uint256 bond = aggregatorBondOf[who];
        if (bond == 0) revert NothingToSlash(who);
        aggregatorBondOf[who] = 0;
        uint256 share = bond * terms.slashShare / 10_000;
        compensation[beneficiary] += share;
        emit AggregatorSlashed(who, beneficiary, share, bond - share);
        rewards.fund{value: bond - share}();
    }

    function compensate(address to) external payable only(lineage) {
        compensation[to] += msg.value;
    }

    function aggregatorReady() external view returns (bool) {
        return aggregatorBondOf[aggregator] >= terms.aggregatorBond;
    }

    function member(address organization) external view returns (Member memory) {
        return _members[organization];
    }

    function statusOf(address organization) external view returns (Status) {
        return _members[organization].status;
    }

    function mayContribute(address organization) external view returns (bool) {
        Member storage who = _members[organization];
        return who.status == Status.Active && who.bond >= terms.bond;
    }

    function organizations() external view returns (address[] memory) {
        return _organizations;
    }

    function auditors() external view returns (address[] memory) {
        return _auditors.values();
    }

    function isAuditor(address who) external view returns (bool) {
        return _auditors.contains(who);
    }

    function _setAggregator(address aggregator_, bytes32 fingerprint) private {
        if (aggregator_ == address(0) || fingerprint == 0) revert EmptyValue();
        aggregator = aggregator_;
        aggregatorFingerprint = fingerprint;
        emit AggregatorChanged(aggregator_, fingerprint);
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
